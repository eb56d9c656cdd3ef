"""One GPU for two pods."""

import json

import pytest

from e2e.kubernetes import wait_until
from e2e.tests.installation import NAMESPACE, QUICK, Installation, Values
from e2e.tests.workload import Workload

SHARED: Values = {"simulate": {"shape": "mi300x:2"}, "config": QUICK | {"sharing": {"replicas": 2}}}


@pytest.fixture
def shared_gpus(plugin: Installation) -> Installation:
    """Two MI300X, each for two."""
    plugin.ensure(SHARED)
    plugin.wait_allocatable(4)
    return plugin


def holders(plugin: Installation) -> dict[str, set[str]]:
    """Pods by the device they hold, as `status` has it."""
    devices = json.loads(plugin.run("status", "--output", "json"))["devices"]
    return {
        device["id"]: {f"{held['namespace']}/{held['pod']}" for held in device["holders"]}
        for device in devices
    }


def test_two_pods_share_a_gpu_once_each_has_one(shared_gpus: Installation, pods: Workload) -> None:
    (both,) = pods.start("both", 2)
    (one,) = pods.start("one", 1)
    (other,) = pods.start("other", 1)
    # as devices, without the replica's number: a container is given each once
    assert sorted(both.ids) == ["0000:05:00.0", "0000:27:00.0"]
    assert sorted(one.ids + other.ids) == sorted(both.ids)
    assert one.variables["AMDGPU_RENDER_NODES"] in both.variables["AMDGPU_RENDER_NODES"].split(",")
    shared = {
        f"{one.ids[0]}": {f"{NAMESPACE}/both", f"{NAMESPACE}/one"},
        f"{other.ids[0]}": {f"{NAMESPACE}/both", f"{NAMESPACE}/other"},
    }
    wait_until("the holders", lambda: holders(shared_gpus) == shared, within_s=30)
    pods.create("fifth", 1)
    pods.wait_pending("fifth")

"""A GPU fails under a running pod, and comes back."""

import json
import time

import pytest

from e2e.kubernetes import Json, wait_until
from e2e.tests.figures import Figures, seconds
from e2e.tests.installation import GPU, HOLD_S, Installation
from e2e.tests.kubelet_log import KubeletLog
from e2e.tests.workload import Workload


def says_health_in_pods(plugin: Installation) -> bool:
    """Kubernetes 1.36 is the first that fills allocatedResourcesStatus by default."""
    version = plugin.cluster.node_status(plugin.node)["nodeInfo"]["kubeletVersion"]
    return tuple(int(word) for word in version.removeprefix("v").split(".")[:2]) >= (1, 36)


def ill(plugin: Installation) -> dict[str, Json]:
    """What is unhealthy and why, as `status` has it."""
    devices = json.loads(plugin.run("status", "--output", "json"))["devices"]
    return {device["id"]: device["reason"] for device in devices if not device["healthy"]}


def transitions(plugin: Installation, *words: str) -> list[str]:
    """Lines of the log."""
    return [line for line in plugin.log().splitlines() if all(word in line for word in words)]


def test_overheated_gpu_leaves_allocatable_and_its_pod_is_told(
    whole_gpus: Installation, pods: Workload
) -> None:
    if not says_health_in_pods(whole_gpus):
        pytest.skip("allocatedResourcesStatus needs Kubernetes 1.36")
    (report,) = pods.start("holder", 1)
    (device,) = report.ids
    lives = pods.lives()
    wait_until(
        "health in the pod's status", lambda: pods.charged("holder") == {device: "Healthy"}, within_s=30
    )
    assert ill(whole_gpus) == {}

    whole_gpus.inject(device, "Overheated")
    whole_gpus.wait_allocatable(7)
    assert whole_gpus.capacity() == 8
    wait_until(
        "Unhealthy in its status", lambda: pods.charged("holder") == {device: "Unhealthy"}, within_s=30
    )
    why = ill(whole_gpus)
    assert {each: reason["condition"] for each, reason in why.items()} == {device: "Overheated"}
    assert "limit" in why[device]["detail"]
    raised = (
        "condition raised",
        f"gpu={device}",
        "condition=Overheated",
        "source=readings",
        why[device]["detail"],
    )
    assert len(transitions(whole_gpus, *raised, "effect=unhealthy")) == 1

    whole_gpus.inject(device, "clear")
    whole_gpus.wait_allocatable(8)
    wait_until("Healthy in its status", lambda: pods.charged("holder") == {device: "Healthy"}, within_s=30)
    assert ill(whole_gpus) == {}
    assert len(transitions(whole_gpus, "condition cleared", f"gpu={device}", "condition=Overheated")) == 1
    assert pods.lives() == lives


def test_kubelet_is_told_soon_and_of_recovery_after_the_hold(
    whole_gpus: Installation, kubelet_log: KubeletLog, figures: Figures
) -> None:
    log, started = kubelet_log.from_now(), time.time()
    whole_gpus.inject("0000:05:00.0", "unbind")
    gone = wait_until("7 healthy", lambda: log.reached(GPU, 7), within_s=30)
    cleared = time.time()
    whole_gpus.inject("0000:05:00.0", "clear")
    back = wait_until("8 healthy", lambda: log.reached(GPU, 8), within_s=30)
    assert gone is not None
    assert back is not None
    assert back - cleared >= HOLD_S
    figures.add("inject unbind → the kubelet has 7 GPUs", seconds([gone - started]))

"""Which GPUs a pod gets: those that are near each other, and near its CPUs."""

import json

import pytest

from e2e.kubernetes import wait_until
from e2e.local import LocalCluster
from e2e.machine import ClusterUnavailable
from e2e.numa import aligning_kubelet
from e2e.tests.installation import GPU, QUICK, Installation, Values
from e2e.tests.kubelet_log import KubeletLog
from e2e.tests.workload import Workload

# A CPU that the plugin asks a part of is none for a pod that wants a whole one, where there are only two.
TWO_HIVES: Values = {
    "simulate": {"shape": "mi210"},
    "config": QUICK,
    "resources": {"requests": {"cpu": "0"}},
}


@pytest.fixture
def two_hives(plugin: Installation) -> Installation:
    """Eight MI210, four of them on each of two NUMA nodes and in a hive of their own."""
    plugin.ensure(TWO_HIVES)
    plugin.wait_allocatable(8)
    return plugin


def hives(plugin: Installation) -> dict[str, str]:
    """By PCI address."""
    node = json.loads(plugin.run("discover", "--simulate", "mi210", "--output", "json"))
    return {gpu["pci_address"]: gpu["xgmi_hive"] for gpu in node["gpus"]}


def test_four_gpus_are_a_whole_hive_and_a_single_one_breaks_no_other(
    two_hives: Installation, pods: Workload
) -> None:
    hive = hives(two_hives)
    (single,) = pods.start("single", 1)
    (four,) = pods.start("four", 4)
    (another,) = pods.start("another", 1)
    assert len(set(hive.values())) == 2
    assert len(set(four.ids)) == 4
    (whole,) = {hive[address] for address in four.variables["AMDGPU_PCI_ADDRESSES"].split(",")}
    assert {hive[single.ids[0]], hive[another.ids[0]]} == set(hive.values()) - {whole}


def test_gpus_are_of_the_numa_node_of_the_pods_cpu(
    two_hives: Installation, pods: Workload, local: LocalCluster, kubelet_log: KubeletLog
) -> None:
    (anywhere,) = pods.start("anywhere", 4)
    assert anywhere.variables["AMDGPU_NUMA_NODES"] == "0,0,0,0"
    pods.delete("anywhere")
    log = kubelet_log.from_now()
    try:
        with aligning_kubelet(local) as (_, free):
            wait_until("8 GPUs again", lambda: log.reached(GPU, 8), within_s=60)
            # before that the kubelet takes what `anywhere` held to be held still
            mine = two_hives.pod()
            wait_until("its pods again", lambda: mine in local.kubelet_pods(local.node), within_s=30)
            (aligned,) = pods.start("aligned", 4, limits={"cpu": "1", "memory": "128Mi"})
            pods.delete("aligned")
            log = kubelet_log.from_now()
    except ClusterUnavailable as reason:
        pytest.skip(f"no two NUMA nodes: {reason}")
    wait_until("8 GPUs again", lambda: log.reached(GPU, 8), within_s=60)
    assert len(aligned.cpus) == 1
    assert set(aligned.cpus) <= free
    assert aligned.variables["AMDGPU_NUMA_NODES"] == "1,1,1,1"

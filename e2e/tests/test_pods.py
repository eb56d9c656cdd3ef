"""What pods that ask for GPUs are given, and when they have to wait."""

import json
from collections.abc import Mapping

import pytest

from e2e.tests.installation import Installation
from e2e.tests.workload import Report, Workload

NULL = "1:3"


def discovered(plugin: Installation) -> Mapping[str, Mapping[str, str]]:
    """Of each device the plugin finds: the variables of a container that has it alone."""
    node = json.loads(plugin.run("discover", "--simulate", "mi300x", "-o", "json"))
    return {
        device["id"]: {
            "AMDGPU_DEVICES": device["id"],
            "AMDGPU_PCI_ADDRESSES": gpu["pci_address"],
            "AMDGPU_RENDER_NODES": device["render_node"],
            "AMDGPU_NUMA_NODES": str(gpu["numa_node"]),
        }
        for gpu in node["gpus"]
        for device in gpu["devices"]
    }


def variables(report: Report, alone: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Those that a container with its devices should have."""
    ours = [alone[device] for device in report.ids]
    return {name: ",".join(each[name] for each in ours) for name in ours[0]} | {"AMDGPU_SIMULATED": "1"}


def device_nodes(report: Report) -> dict[str, str]:
    """Those that a container with its devices should have beside every container's."""
    render = {f"/dev/dri/{name}": NULL for name in report.variables["AMDGPU_RENDER_NODES"].split(",")}
    return {"/dev/kfd": NULL} | render


@pytest.mark.parametrize("size", [1, 2, 8])
def test_pod_has_exactly_its_device_nodes_and_variables(
    whole_gpus: Installation, pods: Workload, size: int
) -> None:
    (without,) = pods.start("without", 0)
    (report,) = pods.start(f"has-{size}", size)
    assert len(set(report.ids)) == size
    assert report.variables == variables(report, discovered(whole_gpus))
    assert dict(report.devices) == dict(without.devices) | device_nodes(report)
    assert without.variables == {}


def test_two_pods_share_nothing(whole_gpus: Installation, pods: Workload) -> None:
    (one,) = pods.start("one", 1)
    (two,) = pods.start("two", 2)
    assert set(one.ids).isdisjoint(two.ids)


def test_two_containers_of_a_pod_share_nothing(whole_gpus: Installation, pods: Workload) -> None:
    reports = pods.start("both", 1, 2)
    alone = discovered(whole_gpus)
    assert [len(report.ids) for report in reports] == [1, 2]
    assert set(reports[0].ids).isdisjoint(reports[1].ids)
    assert [report.variables for report in reports] == [variables(report, alone) for report in reports]


def test_ninth_gpu_is_waited_for_until_one_is_returned(whole_gpus: Installation, pods: Workload) -> None:
    (seven,) = pods.start("seven", 7)
    (eighth,) = pods.start("eighth", 1)
    pods.create("ninth", 1)
    pods.wait_pending("ninth")
    pods.delete("eighth")
    (ninth,) = pods.reports("ninth")
    assert ninth.ids == eighth.ids
    assert set(ninth.ids).isdisjoint(seven.ids)

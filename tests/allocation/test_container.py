import pytest

from amdgpu_plugin.allocation.container import DeviceNode, Grant, grant
from amdgpu_plugin.discovery.inventory import ComputeDevice, Gpu
from amdgpu_plugin.node import ListedDevice


def listed(address: str, render: int, *, numa: int | None = 0, partition: int | None = None) -> ListedDevice:
    name = address if partition is None else f"{address}-cpx{partition}"
    device = ComputeDevice(name, "amd.com/gpu", partition, f"renderD{render}", f"card{render - 128}", None)
    gpu = Gpu(
        pci_address=address,
        product=None,
        pci_id=None,
        unique_id=None,
        numa_node=numa,
        vram_bytes=None,
        compute_partition=None,
        memory_partition=None,
        xgmi_hive=None,
        devices=(device,),
    )
    return ListedDevice(device, gpu)


A = listed("0000:05:00.0", 128)
B = listed("0000:27:00.0", 136, numa=1)
APU = listed("0000:64:00.0", 130, numa=None)
PARTS = [listed("0000:05:00.0", 128 + number, partition=number) for number in (3, 1)]


def node(path: str, host: str | None = None) -> DeviceNode:
    return DeviceNode(path, host or path)


def test_container_gets_its_render_node_and_its_identity() -> None:
    assert grant([A], kfd=True, simulated=False) == Grant(
        (node("/dev/kfd"), node("/dev/dri/renderD128")),
        {
            "AMDGPU_DEVICES": "0000:05:00.0",
            "AMDGPU_PCI_ADDRESSES": "0000:05:00.0",
            "AMDGPU_RENDER_NODES": "renderD128",
            "AMDGPU_NUMA_NODES": "0",
        },
    )


def test_several_devices_are_told_in_the_order_asked_for_and_unknown_numa_is_empty() -> None:
    assert grant([B, APU, A], kfd=True, simulated=False) == Grant(
        (
            node("/dev/kfd"),
            node("/dev/dri/renderD136"),
            node("/dev/dri/renderD130"),
            node("/dev/dri/renderD128"),
        ),
        {
            "AMDGPU_DEVICES": "0000:27:00.0,0000:64:00.0,0000:05:00.0",
            "AMDGPU_PCI_ADDRESSES": "0000:27:00.0,0000:64:00.0,0000:05:00.0",
            "AMDGPU_RENDER_NODES": "renderD136,renderD130,renderD128",
            "AMDGPU_NUMA_NODES": "1,,0",
        },
    )


def test_partitions_of_one_gpu_repeat_its_address() -> None:
    assert grant(PARTS, kfd=True, simulated=False) == Grant(
        (node("/dev/kfd"), node("/dev/dri/renderD131"), node("/dev/dri/renderD129")),
        {
            "AMDGPU_DEVICES": "0000:05:00.0-cpx3,0000:05:00.0-cpx1",
            "AMDGPU_PCI_ADDRESSES": "0000:05:00.0,0000:05:00.0",
            "AMDGPU_RENDER_NODES": "renderD131,renderD129",
            "AMDGPU_NUMA_NODES": "0,0",
        },
    )


def test_without_kfd_there_is_no_kfd_node() -> None:
    assert grant([A], kfd=False, simulated=False).nodes == (node("/dev/dri/renderD128"),)


def test_simulated_devices_are_the_hosts_null_device_and_say_so() -> None:
    given = grant([A], kfd=True, simulated=True)
    assert given.nodes == (node("/dev/kfd", "/dev/null"), node("/dev/dri/renderD128", "/dev/null"))
    assert given.environment == {
        **grant([A], kfd=True, simulated=False).environment,
        "AMDGPU_SIMULATED": "1",
    }


@pytest.mark.parametrize("simulated", [False, True])
def test_no_device_is_no_grant(*, simulated: bool) -> None:
    assert grant([], kfd=True, simulated=simulated) == Grant((), {})


def test_no_variable_makes_the_runtime_choose_by_host_indices() -> None:
    names = grant([A, B], kfd=True, simulated=True).environment
    assert [name for name in names if not name.startswith("AMDGPU_")] == []

from dataclasses import replace

import pytest

from amdgpu_plugin.allocation.container import DeviceNode, Extras, Grant, Mount, Visible, grant
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


def test_card_nodes_come_with_their_render_nodes_and_only_where_known() -> None:
    unknown = ListedDevice(replace(B.device, card_node=None), B.gpu)
    given = grant([A, unknown], kfd=False, simulated=False, extras=Extras(card_nodes=True))
    assert given.nodes == (
        node("/dev/dri/renderD128"),
        node("/dev/dri/card0"),
        node("/dev/dri/renderD136"),
    )


def test_what_the_operator_adds_comes_after_what_is_needed() -> None:
    fuse = DeviceNode("/dev/fuse", "/dev/fuse0", "rwm")
    rocm = Mount("/opt/rocm", "/opt/rocm-7", read_only=True)
    extras = Extras(nodes=(fuse,), mounts=(rocm,), environment=(("HSA_ENABLE_SDMA", "0"),))
    plain = grant([A], kfd=True, simulated=False)
    assert grant([A], kfd=True, simulated=False, extras=extras) == Grant(
        (*plain.nodes, fuse), {**plain.environment, "HSA_ENABLE_SDMA": "0"}, (rocm,)
    )


def test_an_added_node_takes_the_place_of_none_that_is_needed() -> None:
    extras = Extras(nodes=(DeviceNode("/dev/kfd", "/dev/null"), DeviceNode("/dev/dri/card0", "/dev/null")))
    nodes = (node("/dev/kfd"), node("/dev/dri/renderD128"), node("/dev/dri/card0"))
    assert grant([A], kfd=True, simulated=False, extras=replace(extras, card_nodes=True)).nodes == nodes


def test_who_gets_no_device_gets_nothing_else() -> None:
    extras = Extras(True, (DeviceNode("/dev/fuse", "/dev/fuse"),), (), (("A", "1"),), "hip")
    assert grant([], kfd=True, simulated=False, extras=extras) == Grant((), {})


def test_simulated_pods_start_where_added_nodes_and_mounts_do_not_exist() -> None:
    extras = Extras(
        nodes=(DeviceNode("/dev/fuse", "/dev/fuse"),), mounts=(Mount("/a", "/b", read_only=True),)
    )
    given = grant([A], kfd=False, simulated=True, extras=extras)
    assert given.nodes == (node("/dev/dri/renderD128", "/dev/null"), node("/dev/fuse", "/dev/null"))
    assert given.mounts == ()


@pytest.mark.parametrize(
    ("visible", "told"),
    [
        ("none", {}),
        ("rocr", {"ROCR_VISIBLE_DEVICES": "0,1,2"}),
        ("hip", {"HIP_VISIBLE_DEVICES": "0,1,2"}),
    ],
)
def test_visible_devices_are_counted_within_the_container(visible: Visible, told: dict[str, str]) -> None:
    given = grant([B, APU, A], kfd=True, simulated=False, extras=Extras(visible_devices=visible))
    assert given.environment == {**grant([B, APU, A], kfd=True, simulated=False).environment, **told}


def test_a_variable_the_operator_sets_is_left_alone() -> None:
    extras = Extras(environment=(("HIP_VISIBLE_DEVICES", "0"),), visible_devices="hip")
    assert grant([A, B], kfd=True, simulated=False, extras=extras).environment["HIP_VISIBLE_DEVICES"] == "0"

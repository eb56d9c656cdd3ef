"""Numbers, addresses and links that are unusual, and right."""

from dataclasses import replace

import pytest

from amdgpu_plugin.discovery.inventory import Inventory, Skipped
from amdgpu_plugin.discovery.inventory import Link as GpuLink
from amdgpu_plugin.sysfs import (
    Blob,
)
from tests.discovery.odd_nodes import ABSENT, NO_GPU, READABLE, bmc_skipped, put_radeon, radeon, whole_node
from tests.discovery.trees import (
    ADDRESSES,
    KFD,
    NODES,
    Tree,
    amdgpu_files,
    gone,
    inventory_of,
    lines,
    mi300x,
    mi300x_links,
    mi300x_node,
    pci_path,
    put,
    put_kfd_cpus,
    put_kfd_gpu,
    put_minors,
    put_pci,
    put_xcp,
)

# --- numbers and addresses


def test_card0_of_a_bmc_shifts_cards_against_render_nodes() -> None:
    # eight GPUs with their xcp devices: card1 to card64, of which two-digit ones are compared whole
    assert inventory_of(mi300x_node(bmc=True)) == Inventory(
        READABLE, tuple(mi300x(index, bmc=True) for index in range(8)), mi300x_links(), (bmc_skipped(),)
    )


def test_minors_from_192_up_are_minors_like_any_other() -> None:
    # since Linux 6.12 both kinds go on from 192 when their 64 are taken
    tree = mi300x_node()
    put_radeon(tree, "0000:f3:00.0", render=192, card=193)
    put_radeon(tree, "0000:f6:00.0", render=1023, card=1022)
    assert inventory_of(tree).gpus == (
        *whole_node(),
        radeon("0000:f3:00.0", 192, 193),
        radeon("0000:f6:00.0", 1023, 1022),
    )


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        ("radeon", "AMD GPU on driver radeon, not amdgpu"),
        ("vfio-pci", "AMD GPU on driver vfio-pci, not amdgpu"),
        (None, "AMD GPU bound to no driver"),
    ],
)
@pytest.mark.parametrize("pci_class", [0x030000, 0x038000, 0x120000])
def test_amd_gpu_that_amdgpu_does_not_drive_is_skipped(
    driver: str | None, pci_class: int, reason: str
) -> None:
    tree = mi300x_node(count=1)
    put_pci(tree, "0000:03:00.0", driver=driver, device=0x6818, pci_class=pci_class)
    inventory = inventory_of(tree)
    assert (inventory.gpus, inventory.skipped) == (
        (mi300x(0),),
        (Skipped("bus/pci/devices/0000:03:00.0", reason),),
    )


def test_amd_gpu_on_radeon_with_minors_is_skipped_once() -> None:
    tree: Tree = {}
    path = put_pci(tree, "0000:03:00.0", driver="radeon", device=0x6818, pci_class=0x030000)
    put_minors(tree, path, card=0, render=128)
    assert inventory_of(tree) == Inventory(
        ABSENT, (), (), (NO_GPU, Skipped("class/drm/card0", "AMD GPU on driver radeon, not amdgpu"))
    )


def test_amd_functions_that_are_no_gpu_are_not_spoken_of() -> None:
    tree = mi300x_node(count=1)
    put_pci(tree, "0000:03:00.1", driver="snd_hda_intel", device=0xAB30, pci_class=0x040300)
    put_pci(tree, "0000:03:00.2", driver=None, device=0x1479, pci_class=0x060400, vendor=0x1022)
    assert inventory_of(tree).skipped == ()


@pytest.mark.parametrize("unknown", ["", "0000000000000000\n", None])
def test_apu_is_served_and_what_it_does_not_tell_is_none(unknown: str | None) -> None:
    address = "0000:64:00.0"
    tree: Tree = {}
    files = {"numa_node": "-1\n", "unique_id": unknown, "mem_info_vram_total": "536870912\n"}
    path = put_pci(tree, address, files, device=0x15BF, pci_class=0x030000)
    put_minors(tree, path, card=1, render=128)
    put_kfd_cpus(tree, 1)
    put_kfd_gpu(tree, 1, address, render=128, unique_id=0, hive_id=0, links=[(0, 2, 20, 0)])
    assert inventory_of(tree) == Inventory(
        READABLE,
        (
            replace(
                radeon(address, 128, 1, kfd_node=1),
                pci_id="1002:15bf",
                numa_node=None,
                vram_bytes=536870912,
            ),
        ),
        (),
        (),
    )


def test_pci_domains_and_functions_are_part_of_the_address() -> None:
    # a MI300A in each of domains 0-3, all at 02:00.0, and a virtual function beside another
    addresses = [f"{domain:04x}:02:00.0" for domain in range(4)] + ["0001:05:02.1", "0001:05:02.3"]
    tree: Tree = {}
    put_kfd_cpus(tree, 1)
    for index, address in enumerate(addresses):
        put_radeon(tree, address, render=128 + index, card=index)
        put_kfd_gpu(tree, 1 + index, address, render=128 + index, unique_id=0, hive_id=0, vram_bytes=0)
    inventory = inventory_of(tree)
    found = {gpu.pci_address: gpu for gpu in inventory.gpus}
    assert list(found) == [
        "0000:02:00.0",
        "0001:02:00.0",
        "0001:05:02.1",
        "0001:05:02.3",
        "0002:02:00.0",
        "0003:02:00.0",
    ]
    assert found == {
        address: radeon(address, 128 + index, index, kfd_node=1 + index)
        for index, address in enumerate(addresses)
    }
    assert inventory.skipped == ()


def test_partition_of_a_missing_function_zero_is_not_given_to_its_neighbour() -> None:
    # partitions are located at their parent's bus and device; functions share both
    tree: Tree = {}
    put_kfd_cpus(tree, 1)
    for function in (0, 1):
        address = f"0000:05:02.{function}"
        put_minors(
            tree,
            put_pci(tree, address, amdgpu_files("DPX", ADDRESSES[0])),
            card=function,
            render=128 + function,
        )
    put_xcp(tree, 0, card=2, render=130)
    put_kfd_gpu(tree, 1, "0000:05:02.0", render=128)
    put_kfd_gpu(tree, 2, "0000:05:02.0", render=130, partition=1)
    put_kfd_gpu(tree, 3, "0000:05:02.1", render=129)
    unbound = gone(tree, f"{pci_path('0000:05:02.0')}/driver", f"{pci_path('0000:05:02.0')}/uevent")
    gpus = {gpu.pci_address: [d.render_node for d in gpu.devices] for gpu in inventory_of(unbound).gpus}
    assert gpus == {"0000:05:02.1": ["renderD129"]}


def test_partitions_with_ids_of_their_own_tell_no_id_of_their_gpu() -> None:
    # from Linux 6.17 on KFD gives each partition an id
    tree = gone(mi300x_node("DPX", count=1), f"{pci_path(ADDRESSES[0])}/unique_id")
    for number, partition in ((2, 0), (3, 1)):
        put_kfd_gpu(
            tree,
            number,
            ADDRESSES[0],
            render=128 + partition,
            partition=partition,
            unique_id=7 + partition,
            num_xcc=4,
        )
    assert inventory_of(tree).gpus == (replace(mi300x(0, "DPX"), unique_id=None),)


# --- old kernels and odd links


def test_old_kernel_without_domain_hive_and_gfx_version_keeps_its_links() -> None:
    tree = mi300x_node(count=2)
    for number, other in ((2, 3), (3, 2)):
        put_kfd_gpu(
            tree,
            number,
            ADDRESSES[number - 2],
            render=128 + 8 * (number - 2),
            domain=None,
            hive_id=None,
            gfx_target_version=None,
            num_xcc=None,
            unique_id=None,
            links=[(0, 2, 20, 64000), (other, 11, 15, 64000)],
        )
    assert inventory_of(tree) == Inventory(READABLE, (mi300x(0), mi300x(1)), mi300x_links(count=2), ())


def test_link_folders_count_and_not_the_counts_in_properties() -> None:
    tree = mi300x_node()
    for number in range(2, 10):
        text = tree[f"{NODES}/{number}/properties"]
        assert isinstance(text, Blob)
        wrong = text.value.replace(b"io_links_count 8", b"io_links_count 1")
        assert wrong != text.value
        tree[f"{NODES}/{number}/properties"] = Blob(wrong)
    assert inventory_of(tree) == Inventory(READABLE, whole_node(), mi300x_links(), ())


def test_link_to_a_node_that_does_not_exist_is_dropped_and_said() -> None:
    tree = mi300x_node()
    put(tree, f"{NODES}/4/io_links/9", {"properties": lines({"type": 11, "node_to": 99, "weight": 15})})
    assert inventory_of(tree) == Inventory(
        READABLE,
        whole_node(),
        mi300x_links(),
        (Skipped(f"{KFD}/4/io_links/9/properties", "a link to node 99, which does not exist"),),
    )


def test_bandwidth_zero_is_not_known() -> None:
    tree = mi300x_node(count=2)
    for number, other in ((2, 3), (3, 2)):
        put_kfd_gpu(
            tree, number, ADDRESSES[number - 2], render=120 + 8 * (number - 1), links=[(other, 11, 15, 0)]
        )
    links = {path for path in tree if "/io_links/1/" in path}
    assert inventory_of(gone(tree, *links)).links == (GpuLink(ADDRESSES[0], ADDRESSES[1], "xgmi", 15, None),)

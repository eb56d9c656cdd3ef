"""Nodes in a bad way: what is wrong with one GPU costs that GPU, is said, and hides no other."""

import asyncio
import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path as FilePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amdgpu_plugin.capture_file import Entry, Folder, Link
from amdgpu_plugin.discovery import discover
from amdgpu_plugin.discovery.build import _located
from amdgpu_plugin.discovery.inventory import ComputeDevice, Driver, Gpu, Inventory, Skipped
from amdgpu_plugin.discovery.inventory import Link as GpuLink
from amdgpu_plugin.discovery.kfd import KfdNode
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.sysfs import (
    Absent,
    Blob,
    DirectorySysfs,
    Garbled,
    Names,
    Path,
    Refused,
    Sysfs,
    Text,
    Unreadable,
    decoded,
)
from tests.discovery.trees import (
    ADDRESSES,
    KFD,
    NO_NAMES,
    NODES,
    Tree,
    amdgpu_files,
    below,
    denied,
    gone,
    in_memory,
    inventory_of,
    lines,
    mi300x,
    mi300x_links,
    mi300x_node,
    on_disk,
    pci_path,
    put,
    put_kfd_cpus,
    put_kfd_gpu,
    put_minors,
    put_pci,
    put_xcp,
    scanned,
    without_kfd_nodes,
)

READABLE = Driver("amdgpu", None, "readable")
DENIED = Driver("amdgpu", None, "denied")
ABSENT = Driver("amdgpu", None, "absent")
ILL = 3
"""The GPU of `mi300x_node` that a test damages."""
ILL_PATH = pci_path(ADDRESSES[ILL])
NO_GPU = Skipped("bus/pci/drivers/amdgpu", "no GPU is bound to amdgpu")
NOT_LOADED = Skipped("class/drm", "no DRM: the amdgpu module is not loaded, or has no GPU")
NO_ACCESS = "denied: no device-cgroup access to its render node"


def whole_node(mode: str = "SPX", **changed: Gpu) -> tuple[Gpu, ...]:
    """The GPUs of `mi300x_node`; `gpu3=` replaces one."""
    return tuple(changed.get(f"gpu{index}", mi300x(index, mode)) for index in range(8))


def skipped_nodes(numbers: range, reason: str = NO_ACCESS) -> tuple[Skipped, ...]:
    return tuple(sorted(Skipped(f"{KFD}/{number}", reason) for number in numbers))


# --- partitions and their minors


@pytest.mark.parametrize("spelling", ["_", "."])
def test_both_spellings_of_xcp_devices_give_the_same_partitions(spelling: str) -> None:
    assert inventory_of(mi300x_node("DPX", spelling=spelling)) == Inventory(
        READABLE, whole_node("DPX"), mi300x_links("DPX"), ()
    )


@pytest.mark.parametrize("spelling", ["_", "."])
def test_both_spellings_of_xcp_devices_prove_partitions_without_kfd(spelling: str) -> None:
    assert inventory_of(mi300x_node("CPX", spelling=spelling, kfd=False)) == Inventory(
        ABSENT,
        tuple(mi300x(index, "CPX", kfd=False) for index in range(8)),
        mi300x_links("CPX", kfd=False),
        (),
    )


def test_idle_xcp_devices_in_spx_are_no_devices() -> None:
    assert inventory_of(mi300x_node("SPX")) == Inventory(READABLE, whole_node(), mi300x_links(), ())


def test_partition_without_a_minor_is_absent_and_no_error() -> None:
    # as in the public capture of 63 partitions: a BMC took card0, and e5:00 has no eighth minor
    tree = gone(
        unlinked(mi300x_node("CPX", bmc=True), 65),
        f"{NODES}/65",
        "devices/platform/amdgpu_xcp_55",
        "class/drm/renderD191",
        "class/drm/card64",
    )
    seven = replace(mi300x(7, "CPX", bmc=True), devices=mi300x(7, "CPX", bmc=True).devices[:7])
    assert inventory_of(tree) == Inventory(
        READABLE,
        (*(mi300x(index, "CPX", bmc=True) for index in range(7)), seven),
        mi300x_links("CPX"),
        (bmc_skipped(),),
    )


def test_gpu_whose_compute_mode_is_not_known_offers_no_partition() -> None:
    tree = mi300x_node("DPX")
    tree[f"{ILL_PATH}/current_compute_partition"] = Refused(errno.EPERM)
    ill = replace(mi300x(ILL, "DPX"), compute_partition=None, devices=())
    inventory = inventory_of(tree)
    assert (inventory.gpus, inventory.skipped) == (
        whole_node("DPX", gpu3=ill),
        (
            Skipped(ILL_PATH, "compute partition mode not known (EPERM)"),
            Skipped(f"{ILL_PATH}/current_compute_partition", "EPERM"),
        ),
    )


def test_compute_mode_file_missing_from_a_partitioned_gpu_makes_it_no_whole_gpu() -> None:
    # half a GPU must not be handed out as a whole one, least of all where KFD cannot contradict
    tree = gone(
        denied(mi300x_node("DPX"), range(2, 18), errno.EPERM), f"{ILL_PATH}/current_compute_partition"
    )
    ill = replace(mi300x(ILL, "DPX"), compute_partition=None, devices=())
    inventory = inventory_of(tree)
    assert inventory.gpus == tuple(map(without_kfd_nodes, whole_node("DPX", gpu3=ill)))
    assert Skipped(ILL_PATH, "compute partition mode not known (absent)") in inventory.skipped


# --- KFD denied, absent, empty


@pytest.mark.parametrize("code", [errno.EPERM, errno.EACCES])
@pytest.mark.parametrize(("mode", "nodes"), [("SPX", 8), ("DPX", 16), ("CPX", 64)])
def test_kfd_denied_leaves_the_same_devices_without_kfd_nodes(mode: str, nodes: int, code: int) -> None:
    tree = denied(mi300x_node(mode), range(2, 2 + nodes), code)
    assert inventory_of(tree) == Inventory(
        DENIED,
        tuple(mi300x(index, mode, kfd=False) for index in range(8)),
        mi300x_links(mode, kfd=False),
        skipped_nodes(range(2, 2 + nodes)),
    )


def test_kfd_denied_and_partition_count_not_provable_skips_the_partitions() -> None:
    tree = gone(
        denied(mi300x_node("CPX"), range(2, 66), errno.EPERM), f"{ILL_PATH}/available_compute_partition"
    )
    ill = replace(mi300x(ILL, "CPX"), devices=())
    inventory = inventory_of(tree)
    assert inventory.gpus == tuple(map(without_kfd_nodes, whole_node("CPX", gpu3=ill)))
    assert inventory.skipped == tuple(
        sorted(
            (
                *skipped_nodes(range(2, 66)),
                Skipped(ILL_PATH, "parent not provable without KFD"),
            )
        )
    )


def test_kfd_listing_denied_is_denied_not_absent() -> None:
    # /dev/kfd is there, and a container needs it
    tree: Tree = {path: entry for path, entry in mi300x_node().items() if not path.startswith(f"{NODES}/")}
    tree[NODES] = Folder(errno.EACCES)
    assert inventory_of(tree) == Inventory(
        DENIED,
        tuple(map(without_kfd_nodes, whole_node())),
        mi300x_links(kfd=False),
        (Skipped(KFD, "EACCES"),),
    )


@pytest.mark.parametrize("missing", [*range(1, 8), *range(25, 32), 57, 63])
def test_kfd_denied_and_an_xcp_minor_missing_costs_that_gpu_alone(missing: int) -> None:
    tree = gone(
        denied(mi300x_node("DPX"), range(2, 18), errno.EPERM),
        f"class/drm/renderD{128 + missing}",
        f"class/drm/card{missing}",
        f"devices/platform/amdgpu_xcp_{7 * (missing // 8) + missing % 8 - 1}",
    )
    ill = missing // 8
    changed = {f"gpu{ill}": replace(mi300x(ill, "DPX"), devices=())}
    assert inventory_of(tree) == Inventory(
        DENIED,
        tuple(map(without_kfd_nodes, whole_node("DPX", **changed))),
        tuple(
            found for found in mi300x_links("DPX", kfd=False) if (found.a, found.b) != (ADDRESSES[ill],) * 2
        ),
        tuple(
            sorted(
                (
                    *skipped_nodes(range(2, 18)),
                    Skipped(pci_path(ADDRESSES[ill]), "parent not provable without KFD"),
                )
            )
        ),
    )


def test_partitions_whose_minors_are_out_of_order_are_not_guessed() -> None:
    # Two Radeons had 128 and 129. A GPU took 128 and 130-136, a third Radeon 137, another GPU 129 and
    # 138-144: the seven minors behind 129 are the first GPU's.
    tree: Tree = {}
    first, second = (put_pci(tree, address, amdgpu_files("CPX", address)) for address in ADDRESSES[:2])
    for path, own, xcps in ((first, 128, range(130, 137)), (second, 129, range(138, 145))):
        put_minors(tree, path, card=own - 128, render=own)
        for minor in xcps:
            put_xcp(tree, minor, card=minor - 128, render=minor)
    put_radeon(tree, "0000:f3:00.0", render=137, card=9)
    inventory = inventory_of(tree)
    assert [gpu.devices for gpu in inventory.gpus] == [(), (), radeon("0000:f3:00.0", 137, 9).devices]
    assert inventory.skipped == tuple(
        Skipped(path, "parent not provable without KFD") for path in (first, second)
    )


def test_kfd_absent_serves_what_drm_tells() -> None:
    assert inventory_of(mi300x_node(kfd=False)) == Inventory(
        ABSENT, tuple(map(without_kfd_nodes, whole_node())), mi300x_links(kfd=False), ()
    )


def test_module_loaded_without_a_gpu_gives_an_empty_inventory() -> None:
    tree: Tree = {}
    put_kfd_cpus(tree)
    put(tree, "class/drm", {"version": "drm 1.1.0 20060810\n"})
    put(tree, "bus/pci/drivers/amdgpu", {"new_id": ""})
    put(tree, "module/amdgpu", {"version": "6.12.12\n"})
    assert inventory_of(tree) == Inventory(Driver("amdgpu", "6.12.12", "readable"), (), (), (NO_GPU,))


def test_no_drm_at_all_gives_an_empty_inventory_with_reasons() -> None:
    assert inventory_of({}) == Inventory(ABSENT, (), (), (NO_GPU, NOT_LOADED))


def test_gpus_bound_but_no_drm_class_are_skipped_with_the_reason() -> None:
    tree = gone(mi300x_node(count=1, kfd=False), "class/drm")
    bare = replace(mi300x(0), devices=())
    assert inventory_of(tree) == Inventory(
        ABSENT, (bare,), (), tuple(sorted((NOT_LOADED, Skipped(pci_path(ADDRESSES[0]), "no render node"))))
    )


# --- numbers and addresses


def bmc_skipped() -> Skipped:
    return Skipped("class/drm/card0", "not an amdgpu device (vendor 0x1a03)")


def test_card0_of_a_bmc_shifts_cards_against_render_nodes() -> None:
    # eight GPUs with their xcp devices: card1 to card64, of which two-digit ones are compared whole
    assert inventory_of(mi300x_node(bmc=True)) == Inventory(
        READABLE, tuple(mi300x(index, bmc=True) for index in range(8)), mi300x_links(), (bmc_skipped(),)
    )


def radeon(address: str, render: int, card: int, *, kfd_node: int | None = None) -> Gpu:
    """What is known of a bare PCI function that amdgpu drives."""
    return Gpu(
        pci_address=address,
        product=None,
        pci_id="1002:744c",
        unique_id=None,
        numa_node=0,
        vram_bytes=None,
        compute_partition=None,
        memory_partition=None,
        xgmi_hive=None,
        devices=(ComputeDevice(address, "amd.com/gpu", None, f"renderD{render}", f"card{card}", kfd_node),),
    )


def put_radeon(tree: Tree, address: str, *, render: int, card: int) -> None:
    put_minors(tree, put_pci(tree, address, device=0x744C, pci_class=0x030000), card=card, render=render)


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


# --- bad contents


BAD_PROPERTIES: Mapping[str, tuple[Entry, str]] = {
    "empty": (Blob(b""), "empty"),
    "only NULs": (Blob(bytes(4096)), "empty"),
    "cut short": (Blob(b"simd_count 1216\nlocation_id 25"), "cut short: its last line has no end"),
    "cut at a line": (Blob(b"simd_count 1216\nlocation_id 25856\n"), "no drm_render_minor"),
    "not UTF-8": (Blob(b"\xff\xfe\x00\x01"), "not UTF-8 text"),
    "2 MB": (Blob(b"simd_count 1216\n" * 131072), "longer than 65536 bytes"),
    "negative": (
        Blob(b"location_id 25856\ndrm_render_minor -1\n"),
        "drm_render_minor is not a number: '-1'",
    ),
    "text": (Blob(b"location_id 0x6500\ndrm_render_minor 152\n"), "location_id is not a number: '0x6500'"),
    "no value": (Blob(b"location_id\ndrm_render_minor 152\n"), "location_id is not a number: ''"),
    "a number of 5000 digits": (
        Blob(b"location_id " + b"1" * 5000 + b"\ndrm_render_minor 152\n"),
        f"location_id is not a number: {'1' * 40!r}",
    ),
    "EIO": (Refused(errno.EIO), "EIO"),
    "absent": (Absent(), "vanished"),
    "a loop": (Garbled("a loop of symbolic links"), "a loop of symbolic links"),
}


@pytest.mark.parametrize(("entry", "reason"), BAD_PROPERTIES.values(), ids=BAD_PROPERTIES.keys())
def test_bad_properties_leave_a_whole_gpu_without_its_kfd_node(entry: Entry, reason: str) -> None:
    tree = mi300x_node()
    tree[f"{NODES}/5/properties"] = entry
    assert inventory_of(tree) == Inventory(
        READABLE,
        whole_node(gpu3=without_kfd_nodes(mi300x(ILL))),
        tuple(told_by_hive(found) for found in mi300x_links()),
        (Skipped(f"{KFD}/5/properties", reason),),
    )


@pytest.mark.parametrize(("entry", "reason"), BAD_PROPERTIES.values(), ids=BAD_PROPERTIES.keys())
def test_bad_properties_cost_a_partitioned_gpu_that_partition(entry: Entry, reason: str) -> None:
    tree = mi300x_node("DPX")
    tree[f"{NODES}/9/properties"] = entry
    ill = mi300x(ILL, "DPX")
    inventory = inventory_of(tree)
    assert (inventory.gpus, inventory.skipped) == (
        whole_node("DPX", gpu3=replace(ill, devices=ill.devices[:1])),
        (Skipped(f"{KFD}/9/properties", reason),),
    )


def told_by_hive(found: GpuLink) -> GpuLink:
    """A pair of which KFD does not tell is known by its hive alone."""
    return replace(found, weight=None, bandwidth_mb_s=None) if ADDRESSES[ILL] in (found.a, found.b) else found


def test_padding_with_nuls_changes_nothing() -> None:
    tree = {
        path: Blob(entry.value.ljust(4096, b"\0"))
        if isinstance(entry, Blob) and path.startswith((ILL_PATH, f"{NODES}/5/"))
        else entry
        for path, entry in mi300x_node().items()
    }
    assert inventory_of(tree) == Inventory(READABLE, whole_node(), mi300x_links(), ())


GARBAGE: Mapping[str, tuple[Entry, str]] = {
    "not UTF-8": (Blob(b"\xff\xfe\n"), "not UTF-8 text"),
    "2 MB": (Blob(b"7" * 2_000_000), "longer than 65536 bytes"),
    "text": (Blob(b"many\n"), "not a number: 'many'"),
    "negative": (Blob(b"-2\n"), "not a number: '-2'"),
    "5000 digits": (Blob(b"9" * 5000), f"not a number: {'9' * 40!r}"),
    "EPERM": (Refused(errno.EPERM), "EPERM"),
}


@pytest.mark.parametrize(
    ("file", "degraded"),
    [
        ("device", replace(mi300x(ILL), pci_id=None)),
        ("numa_node", replace(mi300x(ILL), numa_node=None)),
        ("revision", mi300x(ILL)),
    ],
)
@pytest.mark.parametrize(("entry", "reason"), GARBAGE.values(), ids=GARBAGE.keys())
def test_bad_number_in_a_pci_file_is_not_known_and_said(
    file: str, degraded: Gpu, entry: Entry, reason: str
) -> None:
    tree = mi300x_node()
    tree[f"{ILL_PATH}/{file}"] = entry
    assert inventory_of(tree) == Inventory(
        READABLE,
        whole_node(gpu3=degraded),
        mi300x_links(),
        (Skipped(f"{ILL_PATH}/{file}", reason),),
    )


@pytest.mark.parametrize("file", ["unique_id", "mem_info_vram_total"])
@pytest.mark.parametrize(("entry", "reason"), GARBAGE.values(), ids=GARBAGE.keys())
def test_bad_number_that_kfd_knows_as_well_is_taken_from_there(file: str, entry: Entry, reason: str) -> None:
    tree = mi300x_node()
    tree[f"{ILL_PATH}/{file}"] = entry
    inventory = inventory_of(tree)
    assert (inventory.gpus, [said.path for said in inventory.skipped]) == (
        whole_node(),
        [f"{ILL_PATH}/{file}"],
    )


@pytest.mark.parametrize("entry", [Blob(b"\x01\x02\n"), Blob(b"NPS1 or NPS4?\n"), Refused(errno.EPERM), None])
@pytest.mark.parametrize("mode", ["SPX", "DPX"])
def test_bad_memory_mode_of_one_gpu_renames_no_other_gpus_resource(mode: str, entry: Entry | None) -> None:
    tree = mi300x_node(mode)
    tree[f"{ILL_PATH}/current_memory_partition"] = entry or Absent()
    found = inventory_of(tree).gpus
    assert found[:ILL] + found[ILL + 1 :] == whole_node(mode)[:ILL] + whole_node(mode)[ILL + 1 :]
    assert found[ILL].memory_partition is None


# --- things that are not what they should be


class Vanishing:
    """A Sysfs in which what was listed is not there any more when it is read."""

    def __init__(self, tree: Tree, *vanished: str) -> None:
        self._listed = in_memory(tree)
        self._left = in_memory(gone(tree, *vanished))

    def list(self, path: str) -> Names | Unreadable:
        return self._listed.list(path)

    def read_bytes(self, path: str) -> Blob | Unreadable:
        return self._left.read_bytes(path)

    def read(self, path: str) -> Text | Unreadable:
        return self._left.read(path)

    def resolve(self, path: str) -> Path | Unreadable:
        return self._left.resolve(path)

    def link(self, path: str) -> Text | Unreadable:
        return self._left.link(path)


def test_gpu_vanishing_between_listing_and_reading_costs_itself() -> None:
    minors = [f"class/drm/{kind}{number}" for kind, number in (("card", 24), ("renderD", 152))]
    vanished = (
        *minors,
        ILL_PATH,
        f"{NODES}/5",
        f"bus/pci/devices/{ADDRESSES[ILL]}",
        f"bus/pci/drivers/amdgpu/{ADDRESSES[ILL]}",
    )
    inventory = scanned(Vanishing(mi300x_node(), *vanished))
    assert (inventory.gpus, inventory.skipped) == (
        tuple(mi300x(index) for index in range(8) if index != ILL),
        tuple(
            sorted(
                (
                    *(Skipped(minor, "its device cannot be followed: absent") for minor in minors),
                    Skipped(f"bus/pci/devices/{ADDRESSES[ILL]}", "vanished"),
                    Skipped(f"{KFD}/5/properties", "vanished"),
                )
            )
        ),
    )


@pytest.mark.parametrize(
    "file", ["current_memory_partition", "mem_info_vram_total", "unique_id", "product_name", "numa_node"]
)
def test_file_vanishing_between_listing_and_reading_is_not_known(file: str) -> None:
    inventory = scanned(Vanishing(mi300x_node(), f"{ILL_PATH}/{file}"))
    healthy = [index for index in range(8) if index != ILL]
    assert [inventory.gpus[index] for index in healthy] == [mi300x(index) for index in healthy]
    assert inventory.gpus[ILL].devices == mi300x(ILL).devices


def test_link_vanishing_between_listing_and_reading_is_dropped_in_silence() -> None:
    tree = mi300x_node()
    put(tree, f"{NODES}/4/io_links/9", {"properties": lines({"type": 11, "node_to": 3, "weight": 15})})
    assert scanned(Vanishing(tree, f"{NODES}/4/io_links/9")) == Inventory(
        READABLE, whole_node(), mi300x_links(), ()
    )


def test_loop_of_links_in_class_drm_costs_that_minor() -> None:
    tree = mi300x_node()
    tree["class/drm/card24"] = Link("card24")
    ill = mi300x(ILL)
    assert inventory_of(tree) == Inventory(
        READABLE,
        whole_node(gpu3=replace(ill, devices=(replace(ill.devices[0], card_node=None),))),
        mi300x_links(),
        (Skipped("class/drm/card24", "its device cannot be followed: a loop of symbolic links"),),
    )


def test_loop_in_place_of_the_render_nodes_link_skips_that_gpu() -> None:
    tree = mi300x_node()
    tree["class/drm/renderD152"] = Link("renderD152")
    inventory = inventory_of(tree)
    assert (inventory.gpus, inventory.skipped) == (
        whole_node(gpu3=replace(mi300x(ILL), devices=())),
        tuple(
            sorted(
                (
                    Skipped(
                        "class/drm/renderD152", "its device cannot be followed: a loop of symbolic links"
                    ),
                    Skipped(ILL_PATH, "no render node"),
                    Skipped(f"{KFD}/5", "its render node renderD152 does not exist"),
                )
            )
        ),
    )


def loop(path: str) -> None:
    os.unlink(path)
    os.symlink(os.path.basename(path), path)


def folder(path: str) -> None:
    os.unlink(path)
    os.mkdir(path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(loop, "a loop of symbolic links"), (folder, "a folder where a file should be")],
)
def test_loop_or_folder_in_place_of_a_file_degrades_that_gpu(
    tmp_path: FilePath, damage: Callable[[str], None], reason: str
) -> None:
    sysfs = on_disk(mi300x_node(count=4), tmp_path)
    damage(f"{sysfs.root}/{ILL_PATH}/device")
    damage(f"{sysfs.root}/{NODES}/5/properties")
    ill = without_kfd_nodes(replace(mi300x(ILL), pci_id=None))
    assert scanned(sysfs) == Inventory(
        READABLE,
        whole_node(gpu3=ill)[:4],
        tuple(told_by_hive(found) for found in mi300x_links(count=4)),
        (Skipped(f"{KFD}/5/properties", reason), Skipped(f"{ILL_PATH}/device", reason)),
    )


@pytest.mark.parametrize("name", ["io_links", "mem_banks"])
def test_file_in_place_of_a_folder_degrades_that_node(name: str) -> None:
    tree = gone(mi300x_node(), f"{NODES}/5/{name}")
    tree[f"{NODES}/5/{name}"] = Blob(b"odd\n")
    inventory = inventory_of(tree)
    assert inventory.gpus == whole_node()


@pytest.mark.parametrize("path", ["class/drm", NODES, "bus/pci/drivers/amdgpu", "bus/pci/devices"])
def test_file_in_place_of_a_folder_of_the_node_crashes_nothing(path: str) -> None:
    tree = gone(mi300x_node(), path)
    tree[path] = Blob(b"odd\n")
    found = inventory_of(tree).gpus
    assert [gpu.pci_address for gpu in found] == list(ADDRESSES)


# --- claims


def test_two_nodes_claiming_one_render_minor_are_both_said_and_neither_guessed() -> None:
    tree = mi300x_node()
    put_kfd_gpu(tree, 6, ADDRESSES[4], render=152)
    reason = "nodes 5, 6 all claim renderD152"
    inventory = inventory_of(tree)
    assert (inventory.gpus, inventory.skipped) == (
        whole_node(gpu3=replace(mi300x(3), devices=()), gpu4=without_kfd_nodes(mi300x(4))),
        tuple(
            sorted(
                (
                    Skipped(f"{KFD}/5", reason),
                    Skipped(f"{KFD}/6", reason),
                    Skipped(ILL_PATH, "several KFD nodes claim renderD152"),
                )
            )
        ),
    )


def test_two_nodes_claiming_one_partitions_minor_cost_both_their_partitions() -> None:
    tree = mi300x_node("DPX")
    put_kfd_gpu(tree, 11, ADDRESSES[4], render=153, partition=1, num_xcc=4)
    reason = "nodes 9, 11 all claim renderD153"
    a, b = mi300x(3, "DPX"), mi300x(4, "DPX")
    inventory = inventory_of(tree)
    assert (inventory.gpus, inventory.skipped) == (
        whole_node("DPX", gpu3=replace(a, devices=a.devices[:1]), gpu4=replace(b, devices=b.devices[:1])),
        tuple(sorted((Skipped(f"{KFD}/11", reason), Skipped(f"{KFD}/9", reason)))),
    )


def test_node_claiming_the_minor_of_another_gpu_alone_is_not_believed() -> None:
    # the node of GPU 4 is gone, and the node of GPU 3 claims its minor
    tree = gone(unlinked(mi300x_node(), 6), f"{NODES}/6")
    put_kfd_gpu(tree, 5, ADDRESSES[3], render=160)
    inventory = inventory_of(tree)
    assert (inventory.gpus, inventory.skipped) == (
        whole_node(gpu3=without_kfd_nodes(mi300x(3)), gpu4=without_kfd_nodes(mi300x(4))),
        (Skipped(f"{KFD}/5", "it claims renderD160 of 0000:85:00.0, but its location is another device's"),),
    )


def unlinked(tree: Tree, number: int) -> Tree:
    """Without the links to a node."""
    to = f"\nnode_to {number}\n".encode()
    return {
        path: entry for path, entry in tree.items() if not (isinstance(entry, Blob) and to in entry.value)
    }


# --- any one file of one GPU

SHORT = 1.6
"""Seconds that a hung read is waited for here: KFD's nodes get an eighth of it."""
AT_ONCE = 4
"""More scans at once would make each other wait for the GIL, as if KFD hung."""
OTHERS = tuple(index for index in range(8) if index != ILL)


def files_of_a_gpu(tree: Tree, mode: str) -> dict[str, tuple[str, ...]]:
    """All files below the folders of GPU `ILL`, by what they belong to."""
    count = len(mi300x(ILL, mode).devices)
    xcps = [f"devices/platform/amdgpu_xcp_{7 * ILL + number}" for number in range(7)]
    nodes = [f"{NODES}/{2 + count * ILL + partition}" for partition in range(count)]
    return {
        "pci": below(tree, ILL_PATH),
        "drm": below(tree, f"{ILL_PATH}/drm", *xcps),
        "kfd": below(tree, *nodes),
    }


class Hanging:
    """The Sysfs of a tree in which one file's reading hangs: in its place is a FIFO nobody writes to."""

    def __init__(self, tree: Tree, path: str, fifo: str) -> None:
        os.mkfifo(fifo)
        self._tree = in_memory(tree)
        self._path = path
        self._fifo = fifo

    def let_go(self) -> None:
        with suppress(OSError):  # nobody reads it
            os.close(os.open(self._fifo, os.O_WRONLY | os.O_NONBLOCK))

    def read_bytes(self, path: str) -> Blob | Unreadable:
        if self._tree.resolve(path) == Path(self._path):
            folder, name = os.path.split(self._fifo)
            return DirectorySysfs(folder).read_bytes(name)
        return self._tree.read_bytes(path)

    def read(self, path: str) -> Text | Unreadable:
        return decoded(self.read_bytes(path))

    def list(self, path: str) -> Names | Unreadable:
        return self._tree.list(path)

    def resolve(self, path: str) -> Path | Unreadable:
        return self._tree.resolve(path)

    def link(self, path: str) -> Text | Unreadable:
        return self._tree.link(path)


async def scan_past(sysfs: Hanging, lanes: Lanes) -> tuple[Inventory, tuple[str, ...]]:
    """What is found around a read that hangs, and which lanes it held."""
    inventory = await discover(sysfs, lanes, names=NO_NAMES, deadline=SHORT)
    stuck = lanes.stuck
    while lanes.stuck:
        sysfs.let_go()
        await asyncio.sleep(0.001)
    return inventory, stuck


def without_the_ill(inventory: Inventory) -> tuple[tuple[Gpu, ...], tuple[GpuLink, ...]]:
    gpus = tuple(gpu for gpu in inventory.gpus if gpu.pci_address != ADDRESSES[ILL])
    return gpus, tuple(found for found in inventory.links if ADDRESSES[ILL] not in (found.a, found.b))


@pytest.mark.parametrize(("family", "mode"), [("pci", "SPX"), ("drm", "DPX"), ("kfd", "DPX")])
async def test_fifo_in_place_of_any_file_of_a_gpu_leaves_the_other_seven_as_they_are(
    family: str, mode: str, tmp_path: FilePath
) -> None:
    whole = mi300x_node(mode)
    tree = gone(whole, *(path for path in whole if re.search("/io_links/([3-9]|1[0-9])/", path)))
    undamaged = await discover(in_memory(tree), Lanes(), names=NO_NAMES)
    assert undamaged.gpus == whole_node(mode)
    lanes = [Lanes() for _ in range(AT_ONCE)]
    files = files_of_a_gpu(tree, mode)[family]
    hung: set[str] = set()
    for start in range(0, len(files), AT_ONCE):
        batch = files[start : start + AT_ONCE]
        odd = [Hanging(tree, path, f"{tmp_path}/{start + at}") for at, path in enumerate(batch)]
        answers = await asyncio.gather(*map(scan_past, odd, lanes[: len(batch)]))
        for path, (inventory, stuck) in zip(batch, answers, strict=True):
            assert (path, without_the_ill(inventory)) == (path, without_the_ill(undamaged))
            if stuck:
                hung.add(path)
                assert is_skipped_for_silence(inventory, mode), path
            else:
                assert (path, inventory) == (path, undamaged)
    assert bool(hung) == (family != "drm"), "which families hold files that are read"


def is_skipped_for_silence(inventory: Inventory, mode: str) -> bool:
    """The GPU offers less than it has, and it is said that something did not answer."""
    found = [gpu for gpu in inventory.gpus if gpu.pci_address == ADDRESSES[ILL]]
    offered = found[0].devices if found else ()
    return set(offered) < set(mi300x(ILL, mode).devices) and any(
        said.reason.startswith("no answer in ") for said in inventory.skipped
    )


async def test_fifo_in_place_of_the_hives_file_costs_no_gpu(tmp_path: FilePath) -> None:
    # one GPU has the hive's folder, and all others have links to it
    folder = f"{pci_path(ADDRESSES[0])}/xgmi_hive_info"
    sysfs = Hanging(mi300x_node(), f"{folder}/xgmi_hive_id", f"{tmp_path}/fifo")
    assert await scan_past(sysfs, Lanes()) == (
        Inventory(READABLE, whole_node(), mi300x_links(), (Skipped(folder, f"no answer in {SHORT} s"),)),
        (f"hive {folder}",),
    )


@pytest.mark.parametrize(
    ("path", "gpu", "said"),
    [
        (
            f"{ILL_PATH}/numa_node",
            None,
            (
                Skipped("class/drm/card24", f"no answer in {SHORT} s"),
                Skipped(f"{KFD}/5", "renderD152 belongs to no usable GPU"),
            ),
        ),
        (
            f"{NODES}/5/properties",
            replace(mi300x(ILL), devices=()),
            (
                Skipped(f"{KFD}/5", f"no answer in {SHORT / 8} s"),
                Skipped(ILL_PATH, "no answer from KFD node 5"),
            ),
        ),
        (f"{ILL_PATH}/drm/renderD152/dev", mi300x(ILL), ()),
    ],
)
def test_fifo_on_disk_skips_that_gpu_with_the_reason(
    path: str, gpu: Gpu | None, said: tuple[Skipped, ...], tmp_path: FilePath
) -> None:
    sysfs = on_disk(mi300x_node(count=4), tmp_path)
    os.unlink(f"{sysfs.root}/{path}")
    os.mkfifo(f"{sysfs.root}/{path}")
    inventory = scanned(sysfs, deadline=SHORT)
    with suppress(OSError):
        os.close(os.open(f"{sysfs.root}/{path}", os.O_WRONLY | os.O_NONBLOCK))
    expected = (*whole_node()[:ILL], *([gpu] if gpu else []))
    assert (inventory.gpus, inventory.skipped) == (expected, said)


def test_only_gpu_hanging_is_not_said_to_be_bound_to_nothing(tmp_path: FilePath) -> None:
    sysfs = on_disk(mi300x_node(count=1, kfd=False), tmp_path)
    fifo = f"{sysfs.root}/{pci_path(ADDRESSES[0])}/device"
    os.unlink(fifo)
    os.mkfifo(fifo)
    inventory = scanned(sysfs, deadline=0.2)
    os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    assert inventory == Inventory(ABSENT, (), (), (Skipped("class/drm/card0", "no answer in 0.2 s"),))


ENDING = """
import asyncio, sys
from amdgpu_plugin.discovery import discover
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.product_names import ProductNames
from amdgpu_plugin.sysfs import DirectorySysfs

lanes = Lanes()
names = ProductNames(amdgpu_ids=None, pci_ids=None)
found = asyncio.run(discover(DirectorySysfs(sys.argv[1]), lanes, names=names, deadline=0.8))
print(len(found.gpus), *lanes.stuck, sep=", ")
"""


@pytest.mark.parametrize(
    ("path", "printed"),
    [
        (f"{ILL_PATH}/unique_id", f"3, gpu {ADDRESSES[ILL]}\n"),
        (f"{NODES}/5/gpu_id", "4, kfd\n"),
        ("module/amdgpu/version", "4, bus\n"),
    ],
)
def test_process_whose_scan_hung_ends(path: str, printed: str, tmp_path: FilePath) -> None:
    sysfs = on_disk(gone(mi300x_node(count=4), path), tmp_path)
    os.makedirs(os.path.dirname(f"{sysfs.root}/{path}"), exist_ok=True)
    os.mkfifo(f"{sysfs.root}/{path}")
    ended = subprocess.run(
        [sys.executable, "-c", ENDING, sysfs.root], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, printed, "")


# --- random damage to one GPU


def emptied(content: bytes) -> bytes:
    return b""


def binary(content: bytes) -> bytes:
    return b"\x00\xff\xfe" + content


def two_megabytes(content: bytes) -> bytes:
    return (content or b"7").ljust(2_000_000, b"7")


def padded(content: bytes) -> bytes:
    return content.ljust(4096, b"\0")


def cut(length: int, content: bytes) -> bytes:
    return content[:length]


def replaced(new: bytes, content: bytes) -> bytes:
    return new


REWRITES = [emptied, binary, two_megabytes, padded]
DAMAGES = st.one_of(
    st.sampled_from(["delete", "loop", "folder"]),
    st.sampled_from(REWRITES),
    st.builds(partial, st.just(cut), st.integers(0, 600)),
    st.builds(partial, st.just(replaced), st.binary(max_size=20)),
)
Damage = str | Callable[[bytes], bytes]


class DamagedNode:
    """A node on disk whose GPU `ILL` is damaged and repaired again and again."""

    def __init__(self, directory: FilePath, mode: str) -> None:
        self.tree = mi300x_node(mode)
        self.sysfs = on_disk(self.tree, directory)
        count = len(mi300x(ILL, mode).devices)
        minors = [f"class/drm/{kind}{base + 8 * ILL + at}" for kind, base in MINORS for at in range(8)]
        folders = (
            ILL_PATH,
            *(f"devices/platform/amdgpu_xcp_{7 * ILL + number}" for number in range(7)),
            *(f"{NODES}/{2 + count * ILL + partition}" for partition in range(count)),
        )
        inside = tuple(f"{folder}/" for folder in folders)
        self.targets = sorted(
            path
            for path in self.tree
            if path.startswith(inside) or path in minors or path.endswith(f"/{ADDRESSES[ILL]}")
        )
        self.folders = [*folders, f"{folders[-1]}/io_links", f"{folders[-1]}/mem_banks", f"{ILL_PATH}/drm"]
        self._lanes = Lanes()
        self._runner = asyncio.Runner()

        self.undamaged = without_the_ill(self.scan(self.sysfs))
        self.undamaged_if_denied = without_the_ill(self.scan(DeniedKfd(self.sysfs)))

    def scan(self, sysfs: Sysfs) -> Inventory:
        return self._runner.run(discover(sysfs, self._lanes, names=NO_NAMES))

    @contextmanager
    def damaged(self, path: str, damage: Damage) -> Iterator[None]:
        place = f"{self.sysfs.root}/{path}"
        aside = f"{self.sysfs.root}/../aside"
        os.rename(place, aside)
        if damage == "loop":
            os.symlink(os.path.basename(place), place)
        elif damage == "folder":
            os.mkdir(place)
        elif callable(damage):
            entry = self.tree.get(path)
            FilePath(place).write_bytes(damage(entry.value if isinstance(entry, Blob) else b""))
        yield
        if os.path.isdir(place) and not os.path.islink(place):
            os.rmdir(place)
        elif os.path.lexists(place):
            os.unlink(place)
        os.rename(aside, place)

    def close(self) -> None:
        self._runner.close()


MINORS = (("card", 0), ("renderD", 128))


@pytest.fixture(scope="module", params=["SPX", "DPX"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DamagedNode]:
    node = DamagedNode(tmp_path_factory.mktemp("node") / "sys", request.param)
    yield node
    node.close()


@settings(max_examples=50)
@given(data=st.data(), damage=DAMAGES)
def test_random_damage_to_one_gpu_changes_no_other(
    node: DamagedNode, data: st.DataObject, damage: Damage
) -> None:
    path = data.draw(st.sampled_from(node.targets + node.folders))
    with node.damaged(path, damage):
        inventory = node.scan(node.sysfs)
    assert without_the_ill(inventory) == node.undamaged


class DeniedKfd:
    """A Sysfs whose KFD nodes of GPUs may not be read."""

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self.list = sysfs.list
        self.resolve = sysfs.resolve
        self.link = sysfs.link

    def read_bytes(self, path: str) -> Blob | Unreadable:
        if path.startswith(f"{KFD}/") and not path.startswith((f"{KFD}/0/", f"{KFD}/1/")):
            return Refused(errno.EPERM)
        return self._sysfs.read_bytes(path)

    def read(self, path: str) -> Text | Unreadable:
        return decoded(self.read_bytes(path))


@settings(max_examples=50)
@given(data=st.data(), damage=DAMAGES)
def test_random_damage_to_one_gpu_with_kfd_denied_gives_no_other_a_foreign_minor(
    node: DamagedNode, data: st.DataObject, damage: Damage
) -> None:
    # minors that cannot be followed may make others' not provable: less is offered then, nothing else
    path = data.draw(st.sampled_from(node.targets + node.folders))
    with node.damaged(path, damage):
        inventory = node.scan(DeniedKfd(node.sysfs))
    for gpu, was in zip(without_the_ill(inventory)[0], node.undamaged_if_denied[0], strict=True):
        assert gpu == was or (path.startswith("class/drm") and gpu == replace(was, devices=()))


# --- what an attacker found


def test_a_numa_node_beyond_the_kernels_range_costs_that_gpu_its_numa_node_alone() -> None:
    tree = mi300x_node()
    path = next(path for path in tree if path.endswith("0000:05:00.0/numa_node"))
    inventory = inventory_of(tree | {path: Blob(b"9223372036854775808\n")})
    assert inventory.gpus == (replace(mi300x(0), numa_node=None), *whole_node()[1:])
    assert inventory.skipped == (Skipped(path, "not a number: '9223372036854775808'"),)


def test_a_chain_of_links_too_long_to_follow_is_a_loop(tmp_path: FilePath) -> None:
    for number in range(1500):
        (tmp_path / str(number)).symlink_to(str(number + 1))
    assert DirectorySysfs(str(tmp_path)).resolve("0") == Garbled("a loop of symbolic links")


def test_a_location_without_a_domain_is_that_of_every_domain() -> None:
    places: dict[tuple[int, ...], frozenset[str]] = {
        (0, 5, 0): frozenset({"0000:05:00.0"}),
        (1, 5, 0): frozenset({"0001:05:00.0"}),
        (0, 6, 0): frozenset(),
    }
    node = KfdNode(8, 137, None, 0x501, 0, 0, None, None, (), ())
    assert _located(node, places) == {"0000:05:00.0", "0001:05:00.0"}
    assert _located(replace(node, domain=1), places) == {"0001:05:00.0"}

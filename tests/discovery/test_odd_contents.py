"""Files that hold nonsense, or are not what they should be: it costs their GPU, is said, and hides no other."""

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path as FilePath

import pytest

from amdgpu_plugin.capture_file import Entry, Link
from amdgpu_plugin.discovery.build import _located
from amdgpu_plugin.discovery.inventory import Gpu, Inventory, Skipped
from amdgpu_plugin.discovery.inventory import Link as GpuLink
from amdgpu_plugin.discovery.kfd import KfdNode
from amdgpu_plugin.sysfs import (
    Absent,
    Blob,
    DirectorySysfs,
    Garbled,
    Names,
    Path,
    Refused,
    Text,
    Unreadable,
)
from tests.discovery.odd_nodes import ILL, ILL_PATH, READABLE, whole_node
from tests.discovery.trees import (
    ADDRESSES,
    KFD,
    NODES,
    Tree,
    gone,
    in_memory,
    inventory_of,
    lines,
    mi300x,
    mi300x_links,
    mi300x_node,
    on_disk,
    put,
    scanned,
    without_kfd_nodes,
)

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

"""Partitions, their minors and KFD, where something is missing or may not be read."""

import errno
from dataclasses import replace

import pytest

from amdgpu_plugin.capture_file import Folder
from amdgpu_plugin.discovery.inventory import Driver, Inventory, Skipped
from amdgpu_plugin.sysfs import (
    Blob,
    Refused,
)
from tests.discovery.odd_nodes import (
    ABSENT,
    DENIED,
    ILL,
    ILL_PATH,
    NO_GPU,
    NOT_LOADED,
    READABLE,
    bmc_skipped,
    put_radeon,
    radeon,
    skipped_nodes,
    whole_node,
)
from tests.discovery.trees import (
    ADDRESSES,
    KFD,
    NODES,
    Tree,
    amdgpu_files,
    denied,
    gone,
    inventory_of,
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
    without_kfd_nodes,
)

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

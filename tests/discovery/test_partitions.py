import errno
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amdgpu_plugin.discovery.drm import DrmMinors, Minor
from amdgpu_plugin.discovery.inventory import ComputeDevice
from amdgpu_plugin.discovery.kfd import KfdNode
from amdgpu_plugin.discovery.partitions import Unproven, minors_in_order, whole_or_partitions
from amdgpu_plugin.discovery.pci import PciGpu
from amdgpu_plugin.sysfs import Garbled, Refused

ADDRESS = "0000:05:00.0"
PATH = f"devices/pci0000:00/{ADDRESS}"
OTHER = "devices/pci0000:20/0000:27:00.0"
ALL_MODES = ("SPX", "DPX", "QPX", "CPX")
GPU = PciGpu(
    address=ADDRESS,
    path=PATH,
    device_id=0x74A1,
    revision=0,
    subsystem=None,
    numa_node=0,
    unique_id=None,
    vram_bytes=None,
    product=None,
    compute_partition="SPX",
    available_partitions=ALL_MODES,
    memory_partition="NPS1",
    skipped=(),
)
UNPROVABLE = Unproven("parent not provable without KFD")


def gpu(mode: str | Refused | Garbled | None, available: tuple[str, ...] = ALL_MODES) -> PciGpu:
    return replace(GPU, compute_partition=mode, available_partitions=available)


def minors(*devices: tuple[int, str]) -> DrmMinors:
    """Render nodes by number and device, with cards 100 below."""
    renders = [Minor(f"renderD{number}", "render", number, device) for number, device in devices]
    cards = [Minor(f"card{number - 100}", "card", number - 100, device) for number, device in devices]
    return DrmMinors((*cards, *renders), ())


def block(first: int, path: str, xcps: Iterable[int] = range(1, 8)) -> list[tuple[int, str]]:
    """A GPU's own minor and those of its xcp devices."""
    return [
        (first, path),
        *((first + xcp, f"devices/platform/amdgpu_xcp_{first + xcp}") for xcp in xcps),
    ]


OWN = minors(*block(128, PATH))


def node(number: int, minor: int, partition: int = 0, num_xcc: int | None = 1) -> KfdNode:
    return KfdNode(
        number=number,
        render_minor=minor,
        domain=0,
        location_id=0x0500 | partition,
        hive_id=0,
        unique_id=0,
        num_xcc=num_xcc,
        vram_bytes=None,
        links=(),
        skipped=(),
    )


def nodes(count: int, num_xcc: int | None = 1) -> tuple[KfdNode, ...]:
    return tuple(node(2 + partition, 128 + partition, partition, num_xcc) for partition in range(count))


def device(
    name: str = "", partition: int | None = None, render: int = 128, kfd_node: int | None = None
) -> ComputeDevice:
    return ComputeDevice(
        f"{ADDRESS}{name}", "", partition, f"renderD{render}", f"card{render - 100}", kfd_node
    )


def partitions(mode: str, count: int, *, kfd: bool) -> tuple[ComputeDevice, ...]:
    return tuple(
        device(f"-{mode.lower()}{number}", number, 128 + number, 2 + number if kfd else None)
        for number in range(count)
    )


@pytest.mark.parametrize(("mode", "available"), [("SPX", ALL_MODES), (None, ())])
@pytest.mark.parametrize("complete", [True, False])
def test_gpu_that_is_not_partitioned_is_one_device(
    mode: str | None, available: tuple[str, ...], *, complete: bool
) -> None:
    whole = gpu(mode, available)
    assert whole_or_partitions(whole, OWN, nodes(1), kfd_complete=complete, in_order=True) == (
        device(kfd_node=2),
    )
    assert whole_or_partitions(whole, OWN, (), kfd_complete=complete, in_order=True) == (device(),)


def test_gpu_without_a_render_node_is_no_device() -> None:
    drm = minors(*block(128, OTHER))
    assert whole_or_partitions(gpu("SPX"), drm, (), kfd_complete=True, in_order=True) == Unproven(
        "no render node"
    )


def test_gpu_without_a_card_is_a_device_all_the_same() -> None:
    drm = DrmMinors((Minor("renderD128", "render", 128, PATH),), ())
    expected = (replace(device(), card_node=None),)
    assert whole_or_partitions(gpu("SPX"), drm, (), kfd_complete=True, in_order=True) == expected


@pytest.mark.parametrize(("mode", "count"), [("DPX", 2), ("QPX", 4), ("CPX", 8), ("CPX", 6), ("TPX", 3)])
def test_partitions_are_those_kfd_lists(mode: str, count: int) -> None:
    found = whole_or_partitions(gpu(mode), OWN, nodes(count), kfd_complete=True, in_order=True)
    assert found == partitions(mode, count, kfd=True)


def test_partition_keeps_its_number_when_another_is_missing() -> None:
    left = (nodes(4)[0], nodes(4)[3])
    found = whole_or_partitions(gpu("QPX"), OWN, left, kfd_complete=False, in_order=True)
    assert found == (device("-qpx0", 0, 128, 2), device("-qpx3", 3, 131, 5))


def test_partitions_all_at_one_location_are_numbered_by_their_minors() -> None:
    same = (node(3, 129), node(2, 128))
    assert whole_or_partitions(gpu("DPX"), OWN, same, kfd_complete=True, in_order=True) == partitions(
        "DPX", 2, kfd=True
    )


def test_partitions_of_a_virtual_function_are_numbered_by_their_minors() -> None:
    # the kernel ORs the partition's number into the function's
    function = replace(gpu("DPX"), address="0000:05:00.2")
    located = (node(2, 128, 2 | 0), node(3, 129, 2 | 1))
    found = whole_or_partitions(function, OWN, located, kfd_complete=True, in_order=True)
    assert isinstance(found, tuple)
    assert [(each.id, each.partition) for each in found] == [
        ("0000:05:00.2-dpx0", 0),
        ("0000:05:00.2-dpx1", 1),
    ]


@pytest.mark.parametrize(
    ("mode", "listed", "reason"),
    [
        ("SPX", nodes(2), "KFD lists 2 nodes, but the GPU is not partitioned: not settled"),
        ("DPX", nodes(4), "the mode is DPX, but KFD lists 4 nodes: not settled"),
        ("QPX", nodes(8), "the mode is QPX, but KFD lists 8 nodes: not settled"),
        ("CPX", nodes(9), "the mode is CPX, but KFD lists 9 nodes: not settled"),
        ("CPX", nodes(1, num_xcc=8), "the mode is CPX, but KFD still lists one whole node: not settled"),
        ("CPX", (), "no KFD node yet"),
    ],
)
def test_mode_and_kfd_that_disagree_are_not_settled(
    mode: str, listed: tuple[KfdNode, ...], reason: str
) -> None:
    assert whole_or_partitions(gpu(mode), OWN, listed, kfd_complete=True, in_order=True) == Unproven(reason)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (Refused(errno.EPERM), "EPERM"),
        (Garbled("not UTF-8 text"), "not UTF-8 text"),
        (None, "absent"),
    ],
)
def test_unknown_mode_is_whole_only_where_kfd_proves_it(mode: Refused | Garbled | None, said: str) -> None:
    unknown = Unproven(f"compute partition mode not known ({said})")
    drm = minors(*block(128, PATH), *block(136, OTHER))
    for listed, complete, expected in [
        (nodes(1), True, (device(kfd_node=2),)),
        (nodes(1), False, unknown),
        (nodes(2), True, unknown),
        ((node(2, 129),), True, unknown),
        ((), True, unknown),
        ((), False, unknown),
    ]:
        assert whole_or_partitions(gpu(mode), drm, listed, kfd_complete=complete, in_order=True) == expected


@pytest.mark.parametrize(
    ("mode", "available", "count"),
    [
        ("DPX", (), 2),
        ("TPX", (), 3),
        ("QPX", (), 4),
        ("CPX", ("SPX", "DPX", "QPX", "CPX"), 8),
        ("CPX", ("SPX", "TPX", "CPX"), 6),
        ("CPX", ("SPX", "DPX", "CPX"), 4),
    ],
)
def test_without_kfd_partitions_are_the_first_of_eight_minors_in_a_row(
    mode: str, available: tuple[str, ...], count: int
) -> None:
    found = whole_or_partitions(gpu(mode, available), OWN, (), kfd_complete=False, in_order=True)
    assert found == partitions(mode, count, kfd=False)


@pytest.mark.parametrize("available", [(), ("SPX", "CPX")])
def test_without_kfd_cpx_of_unknown_count_is_not_provable(available: tuple[str, ...]) -> None:
    assert (
        whole_or_partitions(gpu("CPX", available), OWN, (), kfd_complete=False, in_order=True) == UNPROVABLE
    )


@pytest.mark.parametrize(
    "around",
    [
        block(128, PATH),
        [*block(128, PATH), *block(136, OTHER)],
        [*block(128, OTHER), *block(136, PATH)],
        [*block(128, PATH), (136, "devices/pci0000:20/0000:2a:00.0")],
        [(128, OTHER), *block(129, PATH)],
        [*block(128, PATH), *block(192, OTHER)],
    ],
    ids=["alone", "first", "second", "before a Radeon", "after a Radeon", "others overflow"],
)
def test_without_kfd_seven_minors_up_to_the_next_pci_device_prove_the_parent(
    around: list[tuple[int, str]],
) -> None:
    own = next(number for number, path in around if path == PATH)
    found = whole_or_partitions(gpu("DPX"), minors(*around), (), kfd_complete=False, in_order=True)
    assert isinstance(found, tuple)
    assert [each.render_node for each in found] == [f"renderD{own}", f"renderD{own + 1}"]


@pytest.mark.parametrize(
    "around",
    [
        [(128, PATH)],
        block(128, PATH, range(1, 7)),
        block(128, PATH, range(2, 8)),
        block(128, PATH, [1, 2, 3, 5, 6, 7, 8]),
        block(128, PATH, range(2, 9)),
        block(128, PATH, range(1, 9)),
        [*block(128, PATH, range(1, 7)), *block(135, OTHER)],
        [(128, PATH), (129, OTHER), *block(128, PATH)[2:]],
        block(128, OTHER),
        [],
    ],
    ids=[
        "none follows",
        "last missing",
        "first missing",
        "a gap",
        "a gap before them",
        "eight",
        "six before the next GPU",
        "another GPU between",
        "no minor of its own",
        "no minor at all",
    ],
)
def test_without_kfd_anything_else_proves_nothing(around: list[tuple[int, str]]) -> None:
    assert (
        whole_or_partitions(gpu("DPX"), minors(*around), (), kfd_complete=False, in_order=True) == UNPROVABLE
    )


def test_without_kfd_minors_out_of_order_prove_nothing() -> None:
    assert whole_or_partitions(gpu("DPX"), OWN, (), kfd_complete=False, in_order=False) == UNPROVABLE


def test_with_kfd_the_order_of_minors_does_not_matter() -> None:
    found = whole_or_partitions(gpu("DPX"), OWN, nodes(2), kfd_complete=True, in_order=False)
    assert found == partitions("DPX", 2, kfd=True)


PARTITIONABLE = replace(GPU, path=PATH, compute_partition="CPX")
RADEON = replace(GPU, path=OTHER, compute_partition=None, available_partitions=())
UNKNOWN = "devices/pci0000:40/0000:47:00.0"
FOREIGN = "devices/pci0000:00/0000:00:02.0"


@pytest.mark.parametrize(
    ("around", "in_order"),
    [
        ([], True),
        (block(128, PATH), True),
        ([*block(128, PATH), (136, OTHER), *block(137, UNKNOWN)], True),
        ([(128, OTHER), *block(129, PATH)], True),
        ([(128, UNKNOWN), *block(129, PATH)], False),
        ([(128, FOREIGN), *block(129, PATH)], True),
        (block(128, PATH, [1, 2, 4, 7]), True),
        ([(128, PATH), (129, OTHER), *block(129, OTHER)[1:]], False),
        ([(128, PATH), (135, OTHER)], False),
        ([(128, PATH), (136, OTHER)], True),
        (block(128, OTHER), False),
        (block(128, PATH, range(1, 9)), False),
        (block(128, PATH)[1:], False),
    ],
)
def test_minors_are_in_order_when_each_xcp_is_near_a_gpu_that_may_have_it(
    around: list[tuple[int, str]], *, in_order: bool
) -> None:
    assert minors_in_order((PARTITIONABLE, RADEON), minors(*around), frozenset({FOREIGN})) == in_order


def path_of(number: int) -> str:
    return f"devices/pci{number:04x}:00/{number:04x}:01:00.0"


def inferred(owners: dict[int, list[int]], missing: set[int]) -> dict[int, list[int]]:
    """The minors each GPU is taken to have without KFD. GPUs up to 3 are in CPX, others not partitionable."""
    there = [
        (number, path_of(owner) if place == 0 else f"devices/platform/amdgpu_xcp_{number}")
        for owner, numbers in owners.items()
        for place, number in enumerate(numbers)
    ]
    drm = minors(*sorted(each for each in there if each[0] not in missing))
    gpus = {owner: replace(PARTITIONABLE if owner < 4 else RADEON, path=path_of(owner)) for owner in owners}
    in_order = minors_in_order(gpus.values(), drm)
    found = {
        owner: whole_or_partitions(each, drm, (), kfd_complete=False, in_order=in_order)
        for owner, each in gpus.items()
        if owner < 4
    }
    return {
        owner: [int(device.render_node[7:]) for device in devices]
        for owner, devices in found.items()
        if not isinstance(devices, Unproven)
    }


BOUND_IN_TURN = {owner: list(range(128 + 8 * owner, 136 + 8 * owner)) for owner in range(4)}


@given(missing=st.sets(st.integers(128, 159)))
def test_without_kfd_a_missing_minor_costs_its_gpu_and_gives_none_to_another(missing: set[int]) -> None:
    own_minors_are_there = not missing & {128, 136, 144, 152}
    found = inferred(BOUND_IN_TURN, missing)
    whole = {owner: numbers for owner, numbers in BOUND_IN_TURN.items() if not missing & set(numbers)}
    assert found == whole if own_minors_are_there else found.items() <= whole.items()


def bound(orders: Sequence[int]) -> dict[int, list[int]]:
    """Each GPU's minors after binding them in this order, and unbinding what was bound already.

    The kernel gives the lowest free minors (drm_minor_alloc), to a GPU first and then to its partitions.
    """
    owners: dict[int, list[int]] = {}
    for owner in orders:
        if owner in owners:
            del owners[owner]
            continue
        used = {number for numbers in owners.values() for number in numbers}
        free = (number for number in range(128, 400) if number not in used)
        owners[owner] = [next(free) for _ in range(8 if owner < 4 else 1)]
    return owners


@given(st.lists(st.integers(0, 7), max_size=20))
@example([4, 5, 4, 1, 6, 5, 0])
@example([3, 5, 3, 1, 3, 5, 0, 4])
@example([1, 6, 5, 6, 0, 6, 5, 2])
def test_without_kfd_no_order_of_binding_gives_one_gpus_partition_to_another(orders: list[int]) -> None:
    owners = bound(orders)
    assert inferred(owners, set()).items() <= owners.items()

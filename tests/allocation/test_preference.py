from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amdgpu_plugin.allocation.preference import NoPreference, prefer
from amdgpu_plugin.discovery.inventory import ComputeDevice, Gpu, Link
from amdgpu_plugin.node import ListedDevice, Verdict


def address(index: int) -> str:
    return f"0000:{index:02x}:00.0"


def gpu(index: int, *, numa: int = 0, partitions: int = 0) -> list[ListedDevice]:
    """A GPU's devices: itself, or its partitions."""
    ids = [f"{address(index)}-cpx{number}" for number in range(partitions)] or [address(index)]
    devices = tuple(ComputeDevice(name, "amd.com/gpu", None, "renderD128", None, None) for name in ids)
    board = Gpu(
        pci_address=address(index),
        product=None,
        pci_id=None,
        unique_id=None,
        numa_node=numa,
        vram_bytes=None,
        compute_partition=None,
        memory_partition=None,
        xgmi_hive=None,
        devices=devices,
    )
    return [ListedDevice(device, board) for device in devices]


def ids(*indices: int) -> tuple[str, ...]:
    return tuple(map(address, indices))


def links(*pairs: tuple[int, int], weight: int = 15) -> list[Link]:
    return [Link(address(a), address(b), "xgmi", weight, None) for a, b in pairs]


# two bridges of four, as on MI210: 15 within, PCIe across
TWO_HIVES = [device for index in range(8) for device in gpu(index, numa=index // 4)]
IN_HIVES = [
    Link(address(a), address(b), "xgmi", 15, None)
    if a // 4 == b // 4
    else Link(address(a), address(b), "pcie", 72, None)
    for a, b in combinations(range(8), 2)
]
PARTITIONED = [device for index in range(4) for device in gpu(index, partitions=4)]


@pytest.mark.parametrize(
    ("available", "must", "size", "chosen"),
    [
        (range(8), (), 1, (0,)),
        (range(8), (), 4, (0, 1, 2, 3)),
        ((0, 1, 4, 5, 6, 7), (), 4, (4, 5, 6, 7)),
        ((0, 3, 4, 7), (), 2, (0, 3)),
        ((0, 4, 5), (), 2, (4, 5)),
        (range(8), (6,), 4, (4, 5, 6, 7)),
        (range(8), (1, 6), 2, (1, 6)),
        ((0, 1, 2, 5), (5,), 2, (0, 5)),
        (range(8), (), 8, tuple(range(8))),
    ],
)
def test_devices_of_one_hive_are_preferred(
    available: Sequence[int], must: Sequence[int], size: int, chosen: tuple[int, ...]
) -> None:
    answer = prefer(TWO_HIVES, IN_HIVES, available=ids(*available), must_include=ids(*must), size=size)
    assert answer == ids(*chosen)


def test_of_equal_links_those_on_one_numa_node_are_preferred() -> None:
    devices = [device for index in range(4) for device in gpu(index, numa=index % 2)]
    mesh = links(*combinations(range(4), 2))
    assert prefer(devices, mesh, available=ids(0, 1, 2, 3), must_include=(), size=2) == ids(0, 2)


def test_of_links_of_one_kind_the_lightest_is_preferred() -> None:
    devices = [device for index in range(3) for device in gpu(index)]
    ring = links((0, 1), (1, 2), weight=30) + links((0, 2))
    assert prefer(devices, ring, available=ids(0, 1, 2), must_include=(), size=2) == ids(0, 2)


def test_gpus_without_a_link_are_the_last_choice() -> None:
    devices = [device for index in range(3) for device in gpu(index)]
    assert prefer(devices, links((1, 2)), available=ids(0, 1, 2), must_include=(), size=2) == ids(1, 2)


def test_partitions_of_one_gpu_are_preferred() -> None:
    mesh = links(*combinations(range(4), 2), weight=41)
    free = [listed.id for listed in PARTITIONED if listed.id != f"{address(0)}-cpx0"]
    assert prefer(PARTITIONED, mesh, available=free, must_include=(), size=4) == tuple(
        f"{address(1)}-cpx{number}" for number in range(4)
    )
    assert prefer(PARTITIONED, mesh, available=free, must_include=[free[0]], size=3) == tuple(free[:3])


def test_unhealthy_devices_are_the_kubelets_to_leave_out() -> None:
    (ill,) = gpu(0)
    devices = [ListedDevice(ill.device, ill.gpu, Verdict("DeviceLost", "gone", 0.0)), *gpu(1)]
    assert prefer(devices, (), available=ids(1), must_include=(), size=1) == ids(1)


@pytest.mark.parametrize(
    ("available", "must", "size", "reason"),
    [
        (ids(0, 1), (), 0, "a size of 0"),
        (ids(0, 1), (), -3, "a size of -3"),
        (ids(0, 1), (), 99, "99 asked for, 2 known and available"),
        ((*ids(0), "GPU-7", address(0)), (), 2, "2 asked for, 1 known and available"),
        ((), (), 1, "1 asked for, 0 known and available"),
        (ids(0, 1), ("GPU-7",), 1, "must-include devices that are not available: GPU-7"),
        (ids(0, 1), ids(2), 1, f"must-include devices that are not available: {address(2)}"),
        (ids(0, 1), ids(0, 1), 1, "2 devices must be included in 1"),
    ],
)
def test_what_cannot_be_met_gets_no_preference_and_a_reason(
    available: Sequence[str], must: Sequence[str], size: int, reason: str
) -> None:
    answer = prefer(TWO_HIVES, IN_HIVES, available=available, must_include=must, size=size)
    assert answer == NoPreference(reason)


def test_must_include_named_twice_counts_once() -> None:
    answer = prefer(TWO_HIVES, IN_HIVES, available=ids(5, 4), must_include=ids(5, 5), size=1)
    assert answer == ids(5)


SOME_IDS = st.lists(st.sampled_from([*ids(*range(8)), "GPU-7", ""]), max_size=10)


@given(
    available=SOME_IDS,
    must=SOME_IDS,
    size=st.integers(-3, 12),
    told=st.lists(st.sampled_from(IN_HIVES), max_size=6),
    order=st.randoms(use_true_random=False),
)
def test_any_request_gets_that_many_of_the_available_or_none_and_always_the_same(
    available: list[str], must: list[str], size: int, told: list[Link], order: object
) -> None:
    answer = prefer(TWO_HIVES, told, available=available, must_include=must, size=size)
    if isinstance(answer, NoPreference):
        usable = set(available) & set(ids(*range(8)))
        assert size <= 0 or size > len(usable) or not set(must) <= usable or len(set(must)) > size
    else:
        assert len(set(answer)) == len(answer) == size
        assert set(must) <= set(answer) <= set(available)
    turned = prefer(TWO_HIVES[::-1], told, available=available[::-1], must_include=must[::-1], size=size)
    assert turned == answer

"""Distances are held to docs/allocation.md, which gives the same numbers."""

from collections.abc import Callable

import pytest

from amdgpu_plugin.allocation.distance import distances
from amdgpu_plugin.discovery.inventory import Gpu
from tests.allocation.nodes import FIXTURES, Joint, gpu, inventory_of, node

SWITCHED = gpu(0, bridges="0000:00:01.1/0000:01:00.0"), gpu(1, bridges="0000:00:01.1/0000:02:00.0")


@pytest.mark.parametrize(
    ("gpus", "joint", "distance"),
    [
        ((gpu(0), gpu(1)), ("xgmi", 15, 50000), 100),
        ((gpu(0), gpu(1, numa=1)), ("xgmi", 15, 50000), 200),
        (SWITCHED, ("pcie", 40, 32000), 300),
        ((gpu(0, bridges="0000:00:01.1"), gpu(1, bridges="0000:00:02.1")), ("pcie", 40, 32000), 400),
        ((gpu(0), gpu(1, numa=1)), ("pcie", 72, None), 500),
        ((gpu(0), gpu(1)), None, 1000),
        ((gpu(0), gpu(1, numa=1)), None, 1100),
        (SWITCHED, None, 1000),
        ((gpu(0), gpu(1)), ("xgmi", None, None), 100),
        ((gpu(0), gpu(1)), ("pcie", None, None), 400),
        ((gpu(0, numa=None), gpu(1, numa=None)), ("pcie", 40, None), 400),
        ((gpu(0, numa=None), gpu(1)), ("pcie", 40, None), 500),
    ],
)
def test_a_pair_is_as_far_as_its_link_and_numa_nodes_tell(
    gpus: tuple[Gpu, Gpu], joint: Joint | None, distance: int
) -> None:
    inventory = node(gpus, lambda _a, _b: joint)
    assert distances(inventory.gpus, inventory.links) == ((0, distance), (distance, 0))


def first_row(*joints: Joint | None, numa: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The distances of GPU 0 to the others, joined so; all others are joined by nothing."""
    gpus = [gpu(0), *(gpu(number, numa=node) for number, node in enumerate(numa or [0] * len(joints), 1))]
    inventory = node(gpus, lambda a, b: joints[b - 1] if a == 0 else None)
    return distances(inventory.gpus, inventory.links)[0]


def test_weights_order_links_of_a_kind_and_are_never_added() -> None:
    assert first_row(("xgmi", 41, None), ("xgmi", 13, None), ("xgmi", 28, None)) == (0, 120, 100, 110)


def test_of_equal_weights_the_wider_is_nearer_and_an_unknown_weight_is_last() -> None:
    joints: list[Joint] = [("xgmi", 15, 50000), ("xgmi", 15, 200000), ("xgmi", None, 999999), ("xgmi", 30, 1)]
    assert first_row(*joints) == (0, 110, 100, 130, 120)


def test_however_many_weights_there_are_no_class_reaches_the_next() -> None:
    weights = range(15, 15 + 30)
    near = first_row(*(("xgmi", weight, None) for weight in weights))
    assert max(near) < first_row(("pcie", 40, None))[1]
    assert near == (0, *(100 + min(10 * rank, 90) for rank in range(30)))


def test_weight_of_a_way_through_the_cpus_does_not_count_the_numa_step_twice() -> None:
    joints: list[Joint] = [("pcie", 40, None), ("pcie", 52, None), ("pcie", 72, None)]
    assert first_row(*joints, numa=(0, 1, 2)) == (0, 400, 500, 510)


def test_dies_of_a_module_are_nearest_on_mi250x(tree: Callable[[str], str]) -> None:
    inventory = inventory_of(tree("mi250x"))
    assert distances(inventory.gpus, inventory.links) == (
        (0, 100, 220, 230, 230, 230, 210, 230),
        (100, 0, 230, 220, 230, 220, 230, 230),
        (220, 230, 0, 100, 210, 230, 230, 230),
        (230, 220, 100, 0, 230, 230, 230, 220),
        (230, 230, 210, 230, 0, 100, 220, 230),
        (230, 220, 230, 230, 100, 0, 230, 220),
        (210, 230, 230, 230, 220, 230, 0, 100),
        (230, 230, 230, 220, 230, 220, 100, 0),
    )


def test_without_kfd_the_pci_tree_tells_the_dies_of_a_module() -> None:
    inventory = inventory_of(str(FIXTURES / "rccl-16p1h.capture"))
    rows = distances(inventory.gpus, inventory.links)
    assert rows[0] == (0, 100, 110, 110, *[220] * 12)
    assert [row.index(100) for row in rows] == [place ^ 1 for place in range(16)]


def test_without_kfd_pcie_below_one_switch_is_nearer_than_below_two() -> None:
    inventory = inventory_of(str(FIXTURES / "rccl-8p-pcie.capture"))
    assert distances(inventory.gpus, inventory.links)[0] == (0, 300, 300, 300, 400, 400, 400, 400)

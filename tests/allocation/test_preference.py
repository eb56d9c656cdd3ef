"""The choice among devices: the documented order, against all sets there are."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amdgpu_plugin.allocation import preference
from amdgpu_plugin.allocation.layout import Layout, layout_of
from amdgpu_plugin.allocation.preference import (
    Choice,
    NoPreference,
    Ranked,
    Request,
    prefer,
    prefer_at_once,
)
from amdgpu_plugin.allocation.shares import Spread
from amdgpu_plugin.discovery.inventory import Inventory, Link
from amdgpu_plugin.node import Verdict
from tests.allocation.nodes import (
    FIXTURES,
    by_trying_all,
    gpu,
    hives,
    ids,
    inventory_of,
    listed,
    node,
    served,
    shared,
    total,
)

MI210 = hives(2, 4)
"""As MI210: two bridges of four, 15 within, PCIe across."""
TWO_PARTITIONED_HIVES = hives(2, 2, devices=4)


def chosen(inventory: Inventory, request: Request, spread: Spread = "distinct") -> Choice:
    choice = prefer(layout_of(inventory), listed(inventory), request, spread=spread)
    assert isinstance(choice, Choice)
    return choice


def of_two_hives(available: Sequence[int], must: Sequence[int], size: int) -> tuple[str, ...]:
    return chosen(MI210, Request(ids(*available), ids(*must), size)).best.devices


@pytest.mark.parametrize(
    ("available", "must", "size", "best"),
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
    available: Sequence[int], must: Sequence[int], size: int, best: tuple[int, ...]
) -> None:
    assert of_two_hives(available, must, size) == ids(*best)


def test_hive_already_broken_into_is_used_up_first() -> None:
    assert of_two_hives((0, 1, 2, 3, 4, 5, 6), (), 2) == ids(4, 5)


def test_gpu_already_broken_into_is_used_up_first() -> None:
    free = served(TWO_PARTITIONED_HIVES)
    available = [each for each in free if each != "0000:03:00.0-cpx1"]
    best = chosen(TWO_PARTITIONED_HIVES, Request(available, (), 2)).best
    assert best.devices == ("0000:03:00.0-cpx0", "0000:03:00.0-cpx2")
    assert (best.cost, best.gpus_left_whole, best.hives_left_whole) == (0, 3, 1)


def test_gpu_with_an_unhealthy_device_counts_as_broken_into() -> None:
    devices = listed(MI210)
    devices[7] = replace(devices[7], verdict=Verdict("DriverUnbound", "", since=1.0))
    choice = prefer(layout_of(MI210), devices, Request(ids(*range(8)), (), 1))
    assert choice == Choice(Ranked(ids(4), 0, 6, 1), None, exact=True)


def test_gpu_that_is_gone_leaves_its_hive_broken_into() -> None:
    gone = replace(MI210, gpus=MI210.gpus[:4] + MI210.gpus[5:])
    lost = [each for each in listed(MI210) if each.id == ids(4)[0]]
    choice = prefer(layout_of(gone, lost), listed(gone), Request(served(gone), (), 1))
    assert choice == Choice(Ranked(ids(5), 0, 6, 1), None, exact=True)


def test_order_of_ids_is_that_of_addresses_as_numbers() -> None:
    low, high = (
        replace(each, pci_address=name, devices=(replace(each.devices[0], id=name),))
        for each, name in ((gpu(0), "ffff:01:00.0"), (gpu(1), "10000:01:00.0"))
    )
    inventory = node([low, high], lambda _a, _b: None)
    names = low.pci_address, high.pci_address
    assert chosen(inventory, Request(names, (), 1)).best.devices == names[:1]
    assert chosen(inventory, Request(names[::-1], (), 2)).best.devices == names


def test_without_any_link_there_is_still_a_choice() -> None:
    assert chosen(node([gpu(1), gpu(2)], lambda _a, _b: None), Request(ids(1, 2), (), 2)).best.devices == ids(
        1, 2
    )


@pytest.mark.parametrize(
    ("available", "must", "size", "reason"),
    [
        (ids(0, 1), (), 0, "a size of 0"),
        (ids(0, 1), (), -3, "a size of -3"),
        (ids(0, 1), (), 3, "3 asked for, 2 known, healthy and available"),
        ((), (), 1, "1 asked for, 0 known, healthy and available"),
        ((*ids(0), "GPU-7"), (), 2, "2 asked for, 1 known, healthy and available"),
        (ids(0, 0), (), 2, "2 asked for, 1 known, healthy and available"),
        (ids(0), ("GPU-7",), 1, "must-include devices that are not available: GPU-7"),
        (ids(0, 1), ids(2), 1, f"must-include devices that are not available: {ids(2)[0]}"),
        (ids(0, 1), ids(0, 1), 1, "2 devices must be included in 1"),
    ],
)
def test_what_cannot_be_met_gets_no_preference_and_a_reason(
    available: Sequence[str], must: Sequence[str], size: int, reason: str
) -> None:
    asked = Request(available, must, size)
    assert prefer(layout_of(MI210), listed(MI210), asked) == NoPreference(reason)
    assert prefer_at_once(layout_of(MI210), listed(MI210), asked) == NoPreference(reason)


def test_what_the_node_does_not_serve_is_not_chosen() -> None:
    devices = [each for each in listed(MI210) if each.id not in ids(0, 1)]
    choice = prefer(layout_of(MI210), devices, Request(ids(0, 1, 2, 7), (), 2))
    assert isinstance(choice, Choice)
    assert choice.best.devices == ids(2, 7)


SOME_IDS = st.lists(st.sampled_from([*ids(*range(8)), "GPU-7", ""]), max_size=10)


@given(
    available=SOME_IDS,
    must=SOME_IDS,
    size=st.integers(-3, 12),
    told=st.lists(st.sampled_from(MI210.links), max_size=6),
)
def test_any_request_gets_that_many_of_the_available_or_none_and_always_the_same(
    available: list[str], must: list[str], size: int, told: list[Link]
) -> None:
    inventory = replace(MI210, links=tuple(told))
    answer = prefer(layout_of(inventory), listed(inventory), Request(available, must, size))
    if isinstance(answer, Choice):
        devices = set(answer.best.devices)
        assert len(devices) == len(answer.best.devices) == size
        assert set(must) <= devices <= set(available)
    else:
        usable = set(available) & set(ids(*range(8)))
        assert size <= 0 or size > len(usable) or not set(must) <= usable or len(set(must)) > size
    turned = replace(MI210, links=tuple(told[::-1]), gpus=MI210.gpus[::-1])
    again = prefer(layout_of(turned), listed(turned), Request(available[::-1], must[::-1], size))
    assert again == answer


# ---- Against all sets ----

SHAPES = (
    "mi210",
    "mi300x",
    "mi300a",
    "mi250x",
    "mixed:2",
    "mixed:3",
    "mi300x-dpx:4",
    "radeon:6",
    "mi300x-cpx:1",
)


@pytest.fixture(scope="module")
def shapes(tree: Callable[[str], str]) -> Callable[[str], Inventory]:
    return cache(lambda shape: inventory_of(tree(shape)))


def some_requests(inventory: Inventory, random: Random, count: int, most: int = 11) -> Iterator[Request]:
    everything = served(inventory)
    for _ in range(count):
        chance = random.choice([0.3, 0.6, 0.9, 1.0])
        free = [each for each in everything if random.random() < chance] or everything
        free = sorted(random.sample(free, min(most, len(free))))
        size = random.randint(1, len(free))
        must = random.sample(free, random.randint(0, min(3, size))) if random.random() < 0.4 else []
        yield Request(free, must, size)


@pytest.mark.parametrize("shape", SHAPES)
def test_choice_is_that_of_trying_all(shape: str, shapes: Callable[[str], Inventory]) -> None:
    inventory = shapes(shape)
    everything = served(inventory)[:10]
    every_size = [Request(everything, (), size) for size in range(1, len(everything) + 1)]
    for request in (*every_size, *some_requests(inventory, Random(shape), 120)):
        assert chosen(inventory, request) == Choice(by_trying_all(inventory, request), None, exact=True), (
            request
        )


@pytest.mark.parametrize(
    "capture", ["rccl-16p1h", "rccl-4p4h", "rccl-8p-rome", "mi300x-cpx-63", "mi210-2hives"]
)
def test_choice_on_a_real_node_is_that_of_trying_all(capture: str) -> None:
    inventory = inventory_of(str(FIXTURES / f"{capture}.capture"))
    for request in some_requests(inventory, Random(capture), 25, most=10):
        assert chosen(inventory, request) == Choice(by_trying_all(inventory, request), None, exact=True), (
            request
        )


@pytest.mark.parametrize("spread", ["distinct", "packed"])
def test_choice_among_replicas_is_that_of_trying_all(spread: Spread) -> None:
    inventory = hives(2, 2, devices=1, replicas=3)
    for request in some_requests(inventory, Random(spread), 120):
        best = by_trying_all(inventory, request, spread)
        assert chosen(inventory, request, spread) == Choice(best, None, exact=True), request


# ---- Sharing ----

SHARED = shared(MI210, 2)


def replicas(number: int, *indices: int) -> tuple[str, ...]:
    return tuple(f"{each}::{number}" for each in ids(*indices))


def test_distinct_devices_go_before_replicas_however_far() -> None:
    free = (*replicas(0, 0, 4), *replicas(1, 0))
    assert chosen(SHARED, Request(free, (), 2)).best.devices == replicas(0, 0, 4)


def test_more_than_there_are_devices_takes_each_once_before_any_twice() -> None:
    free = (*replicas(0, 0, 1), *replicas(1, 0, 1))
    best = chosen(SHARED, Request(free, replicas(1, 1), 3)).best
    assert best.devices == ("0000:00:00.0::0", "0000:00:00.0::1", "0000:01:00.0::1")


@pytest.mark.parametrize(("spread", "index"), [("distinct", 3), ("packed", 0)])
def test_spread_says_whether_the_least_or_the_most_shared_is_preferred(spread: Spread, index: int) -> None:
    free = (*replicas(1, 0, 1, 2), *replicas(0, 3), *replicas(1, 3))
    device = chosen(SHARED, Request(free, (), 1), spread).best.devices
    assert device == (replicas(0, index) if index == 3 else replicas(1, index))


def test_gpu_with_a_replica_held_is_broken_into() -> None:
    free = [each for each in served(SHARED) if each != replicas(0, 6)[0]]
    assert chosen(SHARED, Request(free, (), 1), "packed").best == Ranked(replicas(1, 6), 0, 7, 1)


# ---- In AMD's own terms ----


def amd_rows(inventory: Inventory) -> list[list[int]]:
    """AMD's plugin: same GPU 10, else 20; XGMI 10, PCIe 40, else 50; one NUMA node 10, else 20; added up."""
    kinds = {
        frozenset((link.a, link.b)): {"xgmi": 10, "pcie": 40}.get(link.kind, 50) for link in inventory.links
    }
    return [
        [
            (10 + 10 if a is b else 20 + kinds.get(frozenset((a.pci_address, b.pci_address)), 50))
            + (10 if a.numa_node == b.numa_node else 20)
            for b in inventory.gpus
        ]
        for a in inventory.gpus
    ]


def amd_total(inventory: Inventory, devices: Sequence[str]) -> int:
    place = {device.id: index for index, gpu in enumerate(inventory.gpus) for device in gpu.devices}
    return total(amd_rows(inventory), [place[device] for device in devices])


def test_mi210_totals_are_those_of_amds_weights(shapes: Callable[[str], Inventory]) -> None:
    inventory = shapes("mi210")
    best = [chosen(inventory, Request(served(inventory), (), size)).best.devices for size in range(2, 8)]
    totals = [amd_total(inventory, devices) for devices in best]
    assert totals == [40, 120, 240, 560, 920, 1320]


@pytest.mark.parametrize("shape", ["mi300x", "mi300a", "mi250x", "mi300x:3"])
def test_on_fully_linked_nodes_no_set_is_better_by_amds_weights(
    shape: str, shapes: Callable[[str], Inventory]
) -> None:
    inventory = shapes(shape)
    everything, rows = served(inventory), amd_rows(inventory)
    for size in range(2, len(everything) + 1):
        optimum = min(total(rows, places) for places in combinations(range(len(rows)), size))
        best = chosen(inventory, Request(everything, (), size)).best.devices
        assert amd_total(inventory, best) == optimum


def test_on_mi300x_partitions_the_choice_is_the_best_by_amds_weights(
    shapes: Callable[[str], Inventory], monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory = shapes("mi300x-cpx")
    ours = layout_of(inventory)
    # Three tens less for each pair, which differs for no choice of that size: what is on one GPU costs nothing.
    rows = [[cost - 30 for cost in row] for row in amd_rows(inventory)]
    monkeypatch.setattr("amdgpu_plugin.allocation.layout.distances", lambda _gpus, _links: rows)
    amds, devices = layout_of(inventory), listed(inventory)

    def cost(layout: Layout, request: Request) -> int:
        choice = prefer(layout, devices, request)
        assert isinstance(choice, Choice)
        return amd_total(inventory, choice.best.devices)

    for request in some_requests(inventory, Random(7), 60, most=64):
        assert cost(ours, request) == cost(amds, request)


# ---- Time ----


def mesh(gpus: int, devices: int) -> Inventory:
    return node(
        [gpu(index, numa=index * 4 // gpus, hive="0", devices=devices) for index in range(gpus)],
        lambda _a, _b: ("xgmi", 15, 50000),
    )


@pytest.mark.parametrize("inventory", [mesh(16, 8), hives(4, 4, devices=8), mesh(8, 8), hives(2, 8)])
def test_no_regular_node_of_up_to_128_devices_needs_more_than_the_brief_budget(inventory: Inventory) -> None:
    layout, devices = layout_of(inventory), listed(inventory)
    for request in some_requests(inventory, Random(1), 12, most=128):
        choice = prefer_at_once(layout, devices, request)
        assert isinstance(choice, Choice)
        assert choice.exact


def test_irregular_node_of_128_partitions_is_weighed_to_the_end(shapes: Callable[[str], Inventory]) -> None:
    dies = shapes("mi250x").links
    told = {(link.a, link.b): (link.kind, link.weight, link.bandwidth_mb_s) for link in dies}
    names = sorted({link.a for link in dies} | {link.b for link in dies})
    inventory = node(
        [gpu(index, numa=index // 2, hive=str(index // 8), devices=8) for index in range(16)],
        lambda a, b: told[names[a % 8], names[b % 8]] if a // 8 == b // 8 else ("pcie", 72, None),
    )
    layout, devices = layout_of(inventory), listed(inventory)
    for request in some_requests(inventory, Random(2), 4, most=128):
        choice = prefer(layout, devices, request)
        assert isinstance(choice, Choice)
        assert choice.exact


@pytest.mark.parametrize(("size", "budget", "known"), [(1, 640, True), (1, 639, False), (32, 700, False)])
def test_many_ids_or_a_long_search_are_not_weighed_at_once(
    size: int, budget: int, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    inventory = mesh(8, 8)
    layout, devices = layout_of(inventory), listed(inventory)
    monkeypatch.setattr(preference, "BRIEF_BUDGET", budget)
    answer = prefer_at_once(layout, devices, Request(served(inventory), (), size))
    assert isinstance(answer, Choice) == known


def test_choice_not_proven_at_once_is_none(
    shapes: Callable[[str], Inventory], monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory = shapes("mi250x")
    layout, devices, request = layout_of(inventory), listed(inventory), Request(served(inventory), (), 4)
    monkeypatch.setattr(preference, "BRIEF_BUDGET", 300)
    assert prefer_at_once(layout, devices, request) is None
    monkeypatch.setattr(preference, "BRIEF_BUDGET", preference.BUDGET)
    assert prefer_at_once(layout, devices, request) == prefer(layout, devices, request)


def test_many_replicas_are_spread_over_all_devices() -> None:
    inventory = shared(MI210, 256)
    best = chosen(inventory, Request(served(inventory), (), 20)).best
    counts = [sum(each.startswith(gpu.pci_address) for each in best.devices) for gpu in inventory.gpus]
    assert sorted(counts) == [2] * 4 + [3] * 4

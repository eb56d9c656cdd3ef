from dataclasses import replace

import pytest

from amdgpu_plugin.allocation.explanation import explain
from amdgpu_plugin.allocation.layout import layout_of
from amdgpu_plugin.allocation.preference import Choice, Request, prefer
from amdgpu_plugin.discovery.inventory import Inventory
from tests.allocation.nodes import gpu, hives, ids, listed, node, served

MI210 = hives(2, 4)
RADEON = node([gpu(0, numa=None), gpu(1)], lambda _a, _b: ("pcie", None, None))
ALONE = node([gpu(0), gpu(1)], lambda _a, _b: None)


@pytest.mark.parametrize(
    ("inventory", "request_", "reasons"),
    [
        (
            MI210,
            Request(ids(*range(8)), ids(3), 4),
            (
                "on 4 GPUs of one hive, joined by 6 × XGMI weight 15; NUMA node 0",
                "0000:03:00.0 had to be included",
                "total distance 600: no choice has less",
                "leaves 4 GPUs and 1 hive whole",
                "next best: total distance 1800",
            ),
        ),
        (
            MI210,
            Request(ids(0, 3, 4, 5, 6, 7), (), 2),
            (
                "on 2 GPUs of one hive, joined by 1 × XGMI weight 15; NUMA node 0",
                "total distance 100: no choice has less",
                "leaves 4 GPUs and 1 hive whole",
                "next best: as near, but leaves 4 GPUs and no hive whole",
            ),
        ),
        (
            MI210,
            Request(ids(3, 4, 5), (), 3),
            (
                "on 3 GPUs, joined by 1 × XGMI weight 15, 2 × PCIe weight 72; NUMA nodes 0, 1",
                "total distance 1100: no choice has less",
                "leaves no GPU and no hive whole",
                "it is all that is available",
            ),
        ),
        (
            hives(1, 2, devices=2),
            Request(("0000:00:00.0-cpx0", "0000:01:00.0-cpx0", "0000:01:00.0-cpx1"), (), 1),
            (
                "on one GPU, 0000:00:00.0; NUMA node 0",
                "one device: no distance to weigh",
                "leaves 1 GPU and no hive whole",
                "next best: as near, but leaves no GPU and no hive whole",
            ),
        ),
        (
            RADEON,
            Request(ids(0, 1), (), 2),
            (
                "on 2 GPUs, joined by 1 × PCIe; NUMA nodes unknown, 0",
                "total distance 500: no choice has less",
                "leaves no GPU whole",
                "it is all that is available",
            ),
        ),
        (
            ALONE,
            Request(ids(0, 1), (), 1),
            (
                "on one GPU, 0000:00:00.0; NUMA node 0",
                "one device: no distance to weigh",
                "leaves 1 GPU whole",
                "any other choice is at most as good: the lowest IDs are taken",
            ),
        ),
        (
            hives(1, 2, replicas=2),
            Request(served(hives(1, 2, replicas=2)), (), 3),
            (
                "on 2 GPUs of one hive, joined by 1 × XGMI weight 15; NUMA node 0",
                "distinct devices first, and of those the least shared; there are only 2",
                "total distance 200: no choice has less",
                "leaves no GPU and no hive whole",
                "any other choice is at most as good: the lowest IDs are taken",
            ),
        ),
    ],
)
def test_each_thing_that_was_weighed_is_a_sentence(
    inventory: Inventory, request_: Request, reasons: tuple[str, ...]
) -> None:
    layout = layout_of(inventory)
    choice = prefer(layout, listed(inventory), request_, runner_up=True)
    assert isinstance(choice, Choice)
    assert explain(layout, request_, choice) == reasons


def test_choice_that_is_not_proven_says_so() -> None:
    layout, request = layout_of(MI210), Request(ids(0, 1), (), 2)
    choice = prefer(layout, listed(MI210), request)
    assert isinstance(choice, Choice)
    told = explain(layout, request, replace(choice, exact=False))
    assert told[1] == "total distance 100: the least found before the search was ended"


def test_gpus_that_kfd_joins_by_nothing_are_said_to_have_no_link() -> None:
    layout, request = layout_of(ALONE), Request(ids(0, 1), (), 2)
    choice = prefer(layout, listed(ALONE), request)
    assert isinstance(choice, Choice)
    assert explain(layout, request, choice)[0] == "on 2 GPUs, joined by 1 × no known link; NUMA node 0"

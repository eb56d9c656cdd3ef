from dataclasses import replace

from amdgpu_plugin.allocation.layout import Layouts, layout_of
from amdgpu_plugin.node import Verdict
from tests.allocation.nodes import hives, ids, listed


def test_layout_is_made_once_for_an_inventory() -> None:
    layouts, inventory = Layouts(), hives(2, 2)
    first = layouts.of(inventory, listed(inventory))
    ill = [replace(each, verdict=Verdict("Hot", "", since=1.0)) for each in listed(inventory)]
    assert layouts.of(inventory, ill) is first
    assert layouts.of(replace(inventory), ill) is not first


def test_layout_is_made_anew_when_a_gpu_that_is_gone_is_listed_no_more() -> None:
    layouts, inventory = Layouts(), hives(2, 2)
    left = replace(inventory, gpus=inventory.gpus[1:])
    gone = layouts.of(left, listed(inventory))
    assert gone == layout_of(left, listed(inventory)[:1])
    assert [gpu.pci_address for gpu in gone.gpus] == list(ids(0, 1, 2, 3))
    assert layouts.of(left, listed(left)) == layout_of(left)

from amdgpu_plugin.allocation.distance import distances
from amdgpu_plugin.allocation.graph import Graph, Join, graph_of
from amdgpu_plugin.discovery.inventory import Inventory
from tests.allocation.nodes import gpu, hives, node


def graph(inventory: Inventory) -> Graph:
    rows = distances(inventory.gpus, inventory.links)
    return graph_of(rows, [gpu.xgmi_hive for gpu in inventory.gpus])


def test_gpus_of_a_hive_are_joined_first_and_then_the_hives() -> None:
    assert graph(hives(2, 2)) == Graph(
        hives=(0, 0, 1, 1),
        joins=(Join(0, 1, 100), Join(2, 3, 100), Join(4, 5, 500)),
        completes=(None, None, None, None, 0, 1, None),
        tops=(6,),
        top_hives=(None,),
        between=((0,),),
    )


def test_gpus_of_a_mesh_over_two_numa_nodes_are_joined_by_node() -> None:
    mesh = node([gpu(index, numa=index % 2, hive="h") for index in range(4)], lambda _a, _b: ("xgmi", 15, 1))
    found = graph(mesh)
    assert found.joins == (Join(0, 2, 100), Join(1, 3, 100), Join(4, 5, 200))
    assert found.completes == (None,) * 6 + (0,)


def test_gpu_alone_in_its_hive_completes_it() -> None:
    assert graph(node([gpu(0, hive="h")], lambda _a, _b: None)).completes == (0,)


def test_ring_joins_nothing_but_what_is_opposite() -> None:
    ring = node(
        [gpu(index, hive="h") for index in range(5)],
        lambda a, b: ("xgmi", 15 if (b - a) % 5 in {1, 4} else 30, 1),
    )
    found = graph(ring)
    assert (found.joins, found.tops) == ((), (0, 1, 2, 3, 4))
    assert found.top_hives == (0,) * 5
    assert found.between[0] == (0, 100, 110, 110, 100)


def test_hive_is_complete_before_it_is_joined_with_another() -> None:
    alike = [gpu(0, hive="a"), gpu(1, hive="b"), gpu(2, hive="a"), gpu(3, hive="b"), gpu(4)]
    assert graph(node(alike, lambda _a, _b: ("xgmi", 15, 1))) == Graph(
        hives=(0, 1, 0, 1, None),
        joins=(Join(0, 2, 100), Join(1, 3, 100), Join(5, 6, 100), Join(7, 4, 100)),
        completes=(None,) * 5 + (0, 1, None, None),
        tops=(8,),
        top_hives=(None,),
        between=((0,),),
    )


def test_256_gpus_are_joined_as_those_of_a_small_node() -> None:
    found = graph(hives(32, 8))
    assert (len(found.joins), len(found.tops)) == (255, 1)
    assert sorted(hive for hive in found.completes if hive is not None) == list(range(32))

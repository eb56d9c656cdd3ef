"""What the tie-breaks are for; benchmarks/fragmentation.md has the whole study."""

from benchmarks.fragmentation import found_whole, nodes, pods, policies


def test_leaving_gpus_and_hives_whole_lets_more_pods_find_one() -> None:
    by_name = {node.name: node for node in nodes()}
    for name, load in (("MI210, 8 devices", 0.9), ("MI300X CPX, 64 devices", 0.9)):
        node = by_name[name]
        arriving = list(pods(node, load, seed=9))[:2000]
        first_fit, nearest, whole = (found_whole(node, way, arriving) for way in policies(node).values())
        assert first_fit < nearest < whole

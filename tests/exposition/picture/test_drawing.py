"""The topology picture, by what stands in it and where."""

from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest

from amdgpu_plugin.commands.look import inventory_of
from amdgpu_plugin.config import default_config
from amdgpu_plugin.discovery.inventory import ComputeDevice, Driver, Gpu, Inventory, Link
from amdgpu_plugin.exposition.picture.drawing import Scene, Stand, picture, scene_of, svg_file
from amdgpu_plugin.exposition.picture.layout import Layout, Rectangle, arrange
from amdgpu_plugin.simulation.shapes import SHAPE_NAMES

FIXTURES = Path(__file__).parents[2] / "fixtures" / "sysfs"


def gpu(number: int, *, hive: str | None = "1", numa: int | None = 0, parts: int = 1) -> Gpu:
    address = f"0000:{number:02x}:00.0"
    devices = tuple(
        ComputeDevice(
            f"{address}-cpx{part}" if parts > 1 else address, "amd.com/gpu", part, "renderD128", None, None
        )
        for part in range(parts)
    )
    return Gpu(address, None, None, None, numa, None, None, None, hive, devices)


def mesh(gpus: tuple[Gpu, ...], kind: str = "xgmi", weight: int = 15) -> tuple[Link, ...]:
    pairs = combinations([each.pci_address for each in gpus], 2)
    return tuple(Link(a, b, kind, weight, 64000) for a, b in pairs)  # type: ignore[arg-type]


def texts(drawn: Element) -> list[str]:
    return [each.text or "" for each in drawn.iter("text")]


def lines(drawn: Element) -> Counter[str]:
    return Counter(each.get("class", "") for each in drawn.iter("line"))


def overlap(a: Rectangle, b: Rectangle) -> bool:
    return a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height


def inside(inner: Rectangle, outer: Rectangle) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width
        and inner.y + inner.height <= outer.y + outer.height
    )


def check(layout: Layout) -> None:
    """Nothing lies on anything else, and all is within what it belongs to."""
    assert not [pair for pair in combinations(layout.boxes.values(), 2) if overlap(*pair)]
    assert not [pair for pair in combinations(layout.clusters, 2) if overlap(pair[0].area, pair[1].area)]
    for cluster in layout.clusters:
        assert inside(cluster.area, Rectangle(0, 0, layout.width + 0.001, layout.height + 0.001))
        for member in cluster.gpus:
            assert inside(layout.boxes[member.pci_address], cluster.area)
        for zone in cluster.zones:
            assert inside(zone.area, cluster.area)
            of_node = [each for each in cluster.gpus if each.numa_node == zone.numa_node]
            assert of_node
            assert all(inside(layout.boxes[each.pci_address], zone.area) for each in of_node)


@pytest.mark.parametrize("parts", [1, 2, 8, 64])
@pytest.mark.parametrize("count", range(1, 18))
def test_boxes_never_overlap(count: int, parts: int) -> None:
    check(arrange(gpu(number, parts=parts, numa=number * 2 // count) for number in range(count)))


def test_many_gpus_of_many_partitions_have_room() -> None:
    check(arrange(gpu(number, parts=64) for number in range(25)))


@pytest.mark.parametrize("hives", [1, 2, 3, 4, 5, 9])
def test_clusters_never_overlap(hives: int) -> None:
    check(arrange(gpu(number, hive=str(number % hives) if number % hives else None) for number in range(16)))


@pytest.mark.parametrize("shape", SHAPE_NAMES)
def test_every_shape_is_drawn_whole(shape: str) -> None:
    inventory = inventory_of(replace(default_config(), simulate=shape))
    check(arrange(inventory.gpus))
    drawn = fromstring(svg_file(inventory))
    assert len([each for each in drawn.iter() if each.get("data-gpu")]) == len(inventory.gpus)


def test_numa_halves_and_quarters_of_a_ring_are_zones() -> None:
    two = arrange(gpu(number, numa=number // 4) for number in range(8)).clusters[0]
    assert [zone.numa_node for zone in two.zones] == [0, 1]
    four = arrange(gpu(number, numa=number // 2) for number in range(8)).clusters[0]
    assert [zone.numa_node for zone in four.zones] == [0, 1, 2, 3]
    mixed = arrange(gpu(number, numa=number % 2) for number in range(8)).clusters[0]
    assert [zone.numa_node for zone in mixed.zones] == [0, 1]
    for uneven in ((0, 1, None), (0, 0, 0, 1), (0, 1, 2, None), (0, 0, 0, 0), (None, None, None, None)):
        gpus = (gpu(number, numa=numa) for number, numa in enumerate(uneven))
        assert arrange(gpus).clusters[0].zones == ()


def test_a_full_mesh_is_drawn_link_by_link_and_told_once() -> None:
    gpus = tuple(gpu(number) for number in range(8))
    drawn = picture(Scene(gpus, mesh(gpus)))
    assert lines(drawn) == {"link xgmi": 29}
    assert texts(drawn)[0] == "XGMI hive 1"
    assert texts(drawn)[-1] == "XGMI, weight 15, 64 GB/s: 28 links"


def test_two_hives_are_joined_by_one_trunk() -> None:
    left, right = tuple(gpu(n) for n in range(4)), tuple(gpu(n, hive="2", numa=1) for n in range(4, 8))
    between = tuple(Link(a.pci_address, b.pci_address, "pcie", 72, None) for a in left for b in right)
    drawn = picture(Scene((*left, *right), (*mesh(left), *mesh(right), *between)))
    assert lines(drawn) == {"link xgmi": 12 + 1, "link pcie": 1 + 1}
    assert "every pair: PCIe, weight 72" in texts(drawn)
    assert texts(drawn)[-2:] == ["XGMI, weight 15, 64 GB/s: 12 links", "PCIe, weight 72: 16 links"]


def test_links_of_several_sorts_between_two_hives_are_drawn_each() -> None:
    a, b, c = gpu(0), gpu(1, hive="2"), gpu(2, hive="2")
    links = (
        Link(a.pci_address, b.pci_address, "pcie", 72, None),
        Link(a.pci_address, c.pci_address, "pcie", 40, None),
    )
    assert lines(picture(Scene((a, b, c), links))) == {"link pcie": 2, "link pcie far": 2}


def test_a_link_within_a_gpu_is_told_and_not_drawn() -> None:
    parted = gpu(0, parts=8)
    drawn = picture(Scene((parted,), (Link(parted.pci_address, parted.pci_address, "internal", 13, None),)))
    assert lines(drawn) == {"link internal": 1}
    assert texts(drawn)[-1] == "inside the GPU, weight 13: 1 GPU"


def test_wider_links_are_drawn_wider_and_far_ones_faint() -> None:
    gpus = tuple(gpu(number) for number in range(3))
    a, b, c = (each.pci_address for each in gpus)
    links = (Link(a, b, "xgmi", 15, 200_000), Link(b, c, "xgmi", 15, 50_000), Link(a, c, "xgmi", 30, 50_000))
    drawn = [
        (each.get("class"), float(each.get("stroke-width", 0)))
        for each in picture(Scene(gpus, links)).iter("line")
    ]
    far, thin, wide = sorted(drawn[:3], key=lambda each: each[1])
    assert (far[0], thin[0], wide[0]) == ("link xgmi far", "link xgmi", "link xgmi")
    assert far[1] < thin[1] < wide[1]


def test_without_health_nothing_is_said_of_it() -> None:
    gpus = (gpu(0, parts=2),)
    drawn = picture(scene_of(Inventory(Driver("amdgpu", None, "readable"), gpus, (), ())))
    assert not list(drawn.iter("path"))
    assert texts(drawn) == ["XGMI hive 1", "00:00.0", "NUMA 0"]


def test_health_is_told_by_shape_and_word() -> None:
    gpus = (gpu(0), gpu(1, parts=2), gpu(2, numa=None))
    a, b, c = (each.pci_address for each in gpus)
    stands = {
        a: Stand("bad", "UncorrectableErrors"),
        b: Stand("warn", "Hot"),
        c: Stand("good", "healthy"),
        f"{b}-cpx0": Stand("good", "healthy"),
        f"{b}-cpx1": Stand("bad", "HeldElsewhere"),
    }
    drawn = picture(Scene(gpus, (), stands, frozenset({b, c})))
    boxes = {each.get("data-gpu"): each for each in drawn.iter("g") if each.get("data-gpu")}
    assert {address: each.get("class") for address, each in boxes.items()} == {
        a: "gpu bad gone",
        b: "gpu warn",
        c: "gpu good",
    }
    assert texts(boxes[a]) == ["00:00.0", "UncorrectableErrors"]
    assert texts(boxes[c]) == ["02:00.0", "NUMA not known"]
    assert [each.get("class") for each in boxes[b].iter("path")] == ["warn", "bad"]
    assert [each.text for each in boxes[b].iter("title")] == [
        f"{b}: Hot, NUMA 0",
        f"{b}-cpx0: healthy",
        f"{b}-cpx1: HeldElsewhere",
    ]
    assert texts(drawn)[-3:] == ["healthy", "healthy, with something to look at", "unhealthy"]
    assert drawn.findtext("desc") == (
        f"3 GPUs in 1 XGMI hive on NUMA node 0. {a}: UncorrectableErrors. {b}: Hot. {b}-cpx1: HeldElsewhere."
    )


def test_an_address_of_another_domain_is_told_whole() -> None:
    gpus = tuple(replace(gpu(number), pci_address=f"000{number}:02:00.0") for number in range(2))
    assert texts(picture(Scene(gpus, ())))[1:] == ["0000:02:00.0", "NUMA 0", "0001:02:00.0", "NUMA 0"]


def test_a_file_is_whole_by_itself_whatever_a_node_says() -> None:
    odd = replace(gpu(0), pci_address="0000:01:00.0", xgmi_hive='<script>\x00\udcff"')
    drawn = fromstring(svg_file(Inventory(Driver("amdgpu", None, "readable"), (odd,), (), ())))
    names = {each.tag.removeprefix("{http://www.w3.org/2000/svg}") for each in drawn.iter()}
    assert names == {"svg", "title", "desc", "style", "rect", "g", "text"}
    assert 'XGMI hive <script>\ufffd\ufffd"' in [each.text for each in drawn.iter() if each.text]


def test_no_gpu_is_a_picture_too() -> None:
    drawn = picture(Scene((), ()))
    assert drawn.findtext("desc") == "0 GPUs."

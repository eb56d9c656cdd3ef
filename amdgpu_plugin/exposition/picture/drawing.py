"""The topology picture: hives, NUMA nodes, GPUs and partitions, links by kind, and health where it is known.

Pure: the same picture for the same values. Health is told by shape and word as well as by colour.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from xml.etree.ElementTree import Element

from amdgpu_plugin.discovery.inventory import Gpu, Inventory, Link
from amdgpu_plugin.exposition.markup import MARKS, Level, element, fill, xml
from amdgpu_plugin.exposition.picture.layout import (
    BOX_HEIGHT,
    HEAD,
    PARTS_HEIGHT,
    PARTS_IN_ROW,
    Cluster,
    Layout,
    Rectangle,
    arrange,
)
from amdgpu_plugin.exposition.picture.strokes import Drawn, Sort, Stroke, strokes_of
from amdgpu_plugin.exposition.words import counted, link_key, link_words

MARGIN = 6.0
ROW = 20.0
SHORT_DOMAIN = "0000:"
TIGHT_FROM, TIGHTEST_FROM = 13, 17
"""From so many letters on a condition's name needs a smaller size to fit its box."""


@dataclass(frozen=True, slots=True)
class Stand:
    """How it stands with a GPU or a partition: its level, and the word for it."""

    level: Level
    word: str


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn. `stands` are by PCI address and by partition's ID; empty where health is not known.

    `present` are the addresses of the GPUs that are there: others are drawn as they last were.
    """

    gpus: tuple[Gpu, ...]
    links: tuple[Link, ...]
    stands: Mapping[str, Stand] = field(default_factory=dict)
    present: frozenset[str] = frozenset()


def scene_of(inventory: Inventory) -> Scene:
    """Of an inventory alone, which knows of no health."""
    return Scene(
        inventory.gpus, inventory.links, present=frozenset(gpu.pci_address for gpu in inventory.gpus)
    )


def svg_file(inventory: Inventory) -> bytes:
    """The picture as a file of its own, with its style in it."""
    drawn = picture(scene_of(inventory))
    drawn.set("xmlns", "http://www.w3.org/2000/svg")
    style = element("style", stylesheet())
    canvas = element("rect", class_="canvas", width="100%", height="100%")
    drawn.insert(2, style)
    drawn.insert(3, canvas)
    return xml(drawn)


def stylesheet() -> str:
    """What gives the picture its colours, also on the page."""
    return files("amdgpu_plugin.exposition.picture").joinpath("picture.css").read_text("utf-8")


def picture(scene: Scene) -> Element:
    """An `svg` element; its first two children are its title and its description in words."""
    layout = arrange(scene.gpus)
    drawn = strokes_of(scene.links, layout.clusters)
    legend = [*_legend(drawn), *_legend_of_stands(scene)]
    width = max(layout.width, 300.0) + 2 * MARGIN
    height = layout.height + 2 * MARGIN + ROW * len(legend) + (MARGIN if legend else 0)
    body = element("g", transform=f"translate({(width - layout.width) / 2:g} {MARGIN:g})")
    fill(body, _body(scene, layout, drawn))
    below = layout.height + 2 * MARGIN + ROW / 2
    rows = (
        element("g", *row, transform=f"translate({MARGIN:g} {below + ROW * number:g})")
        for number, row in enumerate(legend)
    )
    return element(
        "svg",
        element("title", "Topology of this node's GPUs"),
        element("desc", described(scene, drawn)),
        body,
        *rows,
        class_="topology",
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
    )


def described(scene: Scene, drawn: Drawn) -> str:
    """The picture in words."""
    hives = {gpu.xgmi_hive for gpu in scene.gpus if gpu.xgmi_hive}
    numa = sorted({gpu.numa_node for gpu in scene.gpus if gpu.numa_node is not None})
    told = [counted(len(scene.gpus), "GPU")]
    if hives:
        told.append(f"in {counted(len(hives), 'XGMI hive')}")
    if numa:
        told.append(f"on NUMA node{'s' * (len(numa) > 1)} {', '.join(map(str, numa))}")
    sentences = [" ".join(told)]
    sentences += [f"{link_words(*sort)}: {_times(sort, number)}" for sort, number in drawn.sorts.items()]
    sentences += [
        f"{name}: {stand.word}" for name, stand in scene.stands.items() if stand.level not in {"good", "none"}
    ]
    return ". ".join(sentences) + "."


def _body(scene: Scene, layout: Layout, drawn: Drawn) -> Iterator[Element]:
    for trunk in drawn.trunks:
        yield _line(trunk.a.area.middle, trunk.b.area.middle, drawn.strokes[trunk.sort], extra=2.0)
    for cluster in layout.clusters:
        yield from _cluster(cluster)
    if len(layout.clusters) == 2:  # noqa: PLR2004 - one trunk at most, with room for its name
        for trunk in drawn.trunks:
            yield from _trunk_name(trunk.a, trunk.b, trunk.sort)
    ordered = sorted(drawn.lines, key=lambda link: drawn.strokes[link_key(link)].width)
    for link in ordered:
        stroke = drawn.strokes[link_key(link)]
        yield _line(layout.boxes[link.a].middle, layout.boxes[link.b].middle, stroke)
    short = all(gpu.pci_address.startswith(SHORT_DOMAIN) for gpu in scene.gpus)
    for gpu in scene.gpus:
        yield _gpu(gpu, layout.boxes[gpu.pci_address], scene, short=short)


def _cluster(cluster: Cluster) -> Iterator[Element]:
    area = cluster.area
    yield _rect(area, "cluster", rounded=10)
    name = "in no XGMI hive" if cluster.hive is None else f"XGMI hive {cluster.hive}"
    yield element("text", name, class_="soft", x=area.x + 10, y=area.y + 16)
    for zone in cluster.zones:
        yield _rect(zone.area, "zone", rounded=6)
        y = zone.area.y + (zone.area.height - 8 if zone.label_below else HEAD - 8)
        yield element("text", f"NUMA {zone.numa_node}", class_="soft", x=zone.area.x + 8, y=y)


def _trunk_name(a: Cluster, b: Cluster, sort: Sort) -> Iterator[Element]:
    upper, lower = sorted((a.area, b.area), key=lambda area: area.y)
    x = (upper.middle[0] + lower.middle[0]) / 2
    y = (upper.y + upper.height + lower.y) / 2
    words = f"every pair: {link_words(*sort)}"
    half = 3.4 * len(words) + 8
    yield element("rect", class_="over", x=x - half, y=y - 11, width=2 * half, height=22.0, rx=11.0)
    yield element("text", words, x=x, y=y + 4, text_anchor="middle")


def _line(a: tuple[float, float], b: tuple[float, float], stroke: Stroke, extra: float = 0.0) -> Element:
    far = " far" if stroke.far else ""
    return element(
        "line",
        class_=f"link {stroke.kind}{far}",
        x1=a[0], y1=a[1], x2=b[0], y2=b[1],
        stroke_width=stroke.width + extra,
    )  # fmt: skip


def _gpu(gpu: Gpu, box: Rectangle, scene: Scene, *, short: bool) -> Element:
    stand = scene.stands.get(gpu.pci_address)
    gone = "" if gpu.pci_address in scene.present else " gone"
    name = gpu.pci_address.removeprefix(SHORT_DOMAIN) if short else gpu.pci_address
    numa = "NUMA not known" if gpu.numa_node is None else f"NUMA {gpu.numa_node}"
    told = stand is not None and stand.level in {"bad", "warn"}
    second = stand.word if stand is not None and told else numa
    tight = " tightest" if len(second) >= TIGHTEST_FROM else " tight" if len(second) >= TIGHT_FROM else ""
    inset = 0 if stand is None else 20
    return element(
        "g",
        element("title", f"{gpu.pci_address}{'' if stand is None else ': ' + stand.word}, {numa}"),
        _rect(box, "box", rounded=7),
        None if stand is None else _mark(stand.level, box.x + 8, box.y + 7),
        element("text", name, class_="name", x=box.x + 9 + inset, y=box.y + 20),
        element("text", second, class_=f"{'state' if told else 'soft'}{tight}", x=box.x + 9, y=box.y + 36),
        *_parts(gpu, box, scene),
        class_=f"gpu {'' if stand is None else stand.level}{gone}{'' if short else ' long'}",
        data_gpu=gpu.pci_address,
    )


def _parts(gpu: Gpu, box: Rectangle, scene: Scene) -> Iterator[Element]:
    """A cell for each partition; one that is ill is crossed out."""
    if len(gpu.devices) <= 1:
        return
    in_row = min(len(gpu.devices), PARTS_IN_ROW)
    step = (box.width - 14) / in_row
    for number, device in enumerate(gpu.devices):
        row, column = divmod(number, in_row)
        stand = scene.stands.get(device.id)
        cell = Rectangle(
            box.x + 7 + column * step + 1,
            box.y + BOX_HEIGHT - 2 + row * PARTS_HEIGHT,
            step - 2,
            PARTS_HEIGHT - 4,
        )
        level = "" if stand is None else stand.level
        told = element("title", device.id if stand is None else f"{device.id}: {stand.word}")
        yield element("g", told, _rect(cell, f"part {level}", rounded=2.5))
        if stand is not None and stand.level != "good":
            middle = cell.middle
            yield _mark(stand.level, middle[0] - 4.8, middle[1] - 4.8, scale=0.6)


def _mark(level: Level, x: float, y: float, scale: float = 1.0) -> Element:
    scaled = "" if scale == 1 else f" scale({scale:g})"
    return element(
        "path", d=MARKS[level], class_=level, fill_rule="evenodd", transform=f"translate({x:g} {y:g}){scaled}"
    )


def _rect(area: Rectangle, class_: str, rounded: float) -> Element:
    return element(
        "rect", class_=class_.strip(), x=area.x, y=area.y, width=area.width, height=area.height, rx=rounded
    )


def _legend(drawn: Drawn) -> Iterator[Sequence[Element]]:
    for sort, number in drawn.sorts.items():
        yield (
            _line((0, -4), (34, -4), drawn.strokes[sort]),
            element("text", f"{link_words(*sort)}: {_times(sort, number)}", x=44.0),
        )


def _times(sort: Sort, number: int) -> str:
    return counted(number, "GPU" if sort[0] == "internal" else "link")


def _legend_of_stands(scene: Scene) -> Iterator[Sequence[Element]]:
    found = {stand.level for stand in scene.stands.values()}
    words: Mapping[Level, str] = {
        "good": "healthy",
        "warn": "healthy, with something to look at",
        "bad": "unhealthy",
        "none": "not offered",
    }
    for level, word in words.items():
        if level in found:
            yield (_mark(level, 9, -12), element("text", word, x=44.0))

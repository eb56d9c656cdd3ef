"""Curves of a few ways over a load, one panel beside the other, as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

_WIDTH, _HEIGHT, _GAP = 250, 190, 50
_LEFT, _TOP, _BOTTOM = 50, 60, 60
_STYLES = (("#b35806", "6 4"), ("#7f7f7f", "2 3"), ("#2166ac", ""))
_LABEL = {"font-family": "sans-serif", "font-size": "12", "fill": "#333333"}


@dataclass(frozen=True, slots=True)
class Panel:
    """`curves` hold percents, one for each of `loads`."""

    title: str
    loads: Sequence[float]
    curves: Mapping[str, Sequence[float]]


def picture(panels: Sequence[Panel]) -> str:
    width = _LEFT + len(panels) * (_WIDTH + _GAP)
    height = _TOP + _HEIGHT + _BOTTOM
    size = {"viewBox": f"0 0 {width} {height}", "width": str(width), "height": str(height)}
    svg = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, "role": "img"})
    ET.SubElement(svg, "title").text = "Share of pods that find a whole hive or GPU, by load"
    ET.SubElement(svg, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    _legend(svg, list(panels[0].curves))
    for number, panel in enumerate(panels):
        _panel(svg, panel, _LEFT + number * (_WIDTH + _GAP))
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


def _legend(svg: ET.Element, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        x = _LEFT + number * 200
        _line(svg, (x, 18), (x + 30, 18), number)
        _text(svg, x + 36, 22, name)


def _panel(svg: ET.Element, panel: Panel, left: float) -> None:
    low, high = min(panel.loads), max(panel.loads)

    def at(load: float, percent: float) -> tuple[float, float]:
        return left + (load - low) / (high - low) * _WIDTH, _TOP + (1 - percent / 100) * _HEIGHT

    _text(svg, left, _TOP - 12, panel.title, weight="bold")
    for percent in (0, 25, 50, 75, 100):
        _, y = at(low, percent)
        ends = {"x1": f"{left}", "x2": f"{left + _WIDTH}", "y1": f"{y:.1f}", "y2": f"{y:.1f}"}
        ET.SubElement(svg, "line", {**ends, "stroke": "#dddddd"})
        _text(svg, left - 6, y + 4, f"{percent} %", anchor="end")
    for load in panel.loads[::2]:
        _text(svg, at(load, 0)[0], _TOP + _HEIGHT + 18, f"{load:g}", anchor="middle")
    _text(svg, left + _WIDTH / 2, _TOP + _HEIGHT + 38, "load", anchor="middle")
    for number, curve in enumerate(panel.curves.values()):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, panel.loads, curve))
        ET.SubElement(svg, "polyline", {"points": points, "fill": "none", **_stroke(number)})


def _line(svg: ET.Element, start: tuple[float, float], end: tuple[float, float], number: int) -> None:
    ends = {"x1": f"{start[0]}", "y1": f"{start[1]}", "x2": f"{end[0]}", "y2": f"{end[1]}"}
    ET.SubElement(svg, "line", {**ends, **_stroke(number)})


def _stroke(number: int) -> dict[str, str]:
    colour, dashes = _STYLES[number]
    return {"stroke": colour, "stroke-width": "2", **({"stroke-dasharray": dashes} if dashes else {})}


def _text(
    svg: ET.Element, x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal"
) -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "font-weight": weight}
    ET.SubElement(svg, "text", {**_LABEL, **place}).text = text

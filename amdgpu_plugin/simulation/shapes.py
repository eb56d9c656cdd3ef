"""Shapes: the short names of simulated nodes, as in `mi300x:4`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from amdgpu_plugin.simulation import boards
from amdgpu_plugin.simulation.parts import Board


class ShapeError(ValueError):
    """The text names no shape, or the shape cannot have that many GPUs."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of node and how many GPUs it has. `str()` gives the text it is parsed from."""

    name: str
    count: int

    def __str__(self) -> str:
        """As in `mi300x:4`."""
        return f"{self.name}:{self.count}"


Modes = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class _Kind:
    board: Board
    modes: Callable[[int], Modes]
    least: int = 1

    @property
    def most(self) -> int:
        return len(self.board.slots)


def _all(mode: str | None) -> Callable[[int], Modes]:
    return lambda count: (mode,) * count


def _half_spx_half_cpx(count: int) -> Modes:
    return ("SPX",) * ((count + 1) // 2) + ("CPX",) * (count // 2)


_KINDS: Mapping[str, _Kind] = {
    "mi300x": _Kind(boards.MI300X, _all("SPX")),
    "mi300x-cpx": _Kind(boards.MI300X, _all("CPX")),
    "mi300x-dpx": _Kind(boards.MI300X, _all("DPX")),
    "mi210": _Kind(boards.MI210, _all(None)),
    "mi250x": _Kind(boards.MI250X, _all(None)),
    "mi300a": _Kind(boards.MI300A, _all("SPX")),
    "radeon": _Kind(boards.RADEON, _all(None)),
    "apu": _Kind(boards.APU, _all(None)),
    "mixed": _Kind(boards.MI300X, _half_spx_half_cpx, least=2),
}
_DEFAULT_COUNTS = {"radeon": 1}

SHAPE_NAMES = tuple(_KINDS)


def parse_shape(text: str) -> Shape:
    """`name` or `name:count`, count in GPUs (on MI250X in dies, each a PCI device of its own).

    Without a count a board is full, except that `radeon` has one card. Raises ShapeError.
    """
    name, colon, digits = text.partition(":")
    kind = _KINDS.get(name)
    if kind is None:
        raise ShapeError(
            f"unknown shape {text!r}; known are {', '.join(SHAPE_NAMES)}, each with a count as in mi300x:4"
        )
    if not colon:
        return Shape(name, _DEFAULT_COUNTS.get(name, kind.most))
    # int() would take " 4", "+4" and "08" as well
    count = next((count for count in range(kind.least, kind.most + 1) if digits == str(count)), None)
    if count is None:
        allowed = "1 GPU" if kind.most == 1 else f"{kind.least} to {kind.most} GPUs"
        raise ShapeError(
            f"bad count in shape {text!r}: {name} has {allowed}; known shapes are {', '.join(SHAPE_NAMES)}"
        )
    return Shape(name, count)


def board_of(shape: Shape) -> Board:
    """The machine with only the first `count` slots filled. A GPU alone on its bridge is in no hive."""
    board = _KINDS[shape.name].board
    hives = {
        hive: tuple(slot for slot in members if slot < shape.count) for hive, members in board.hives.items()
    }
    return replace(
        board,
        slots=board.slots[: shape.count],
        hives={hive: members for hive, members in hives.items() if len(members) > 1},
        xgmi_links={pair: links for pair, links in board.xgmi_links.items() if max(pair) < shape.count},
    )


def modes_of(shape: Shape) -> Modes:
    """The compute partition mode each GPU starts in; None for one that cannot be partitioned."""
    return _KINDS[shape.name].modes(shape.count)

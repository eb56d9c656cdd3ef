"""What our dashboards are made of: panels, rows, variables, links. Values only; `document.py` writes them down."""

from dataclasses import dataclass, replace
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["stat", "timeseries", "state-timeline", "table", "bargauge"]
Steps = tuple[tuple[str, float | None], ...]
"""Colours, and the value from which on each holds; None for the first."""

SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}

PLAIN: Steps = (("text", None),)
GOOD: Steps = (("green", None),)
ANY_IS_BAD: Steps = (("green", None), ("red", 1))
ANY_IS_ODD: Steps = (("green", None), ("orange", 1))
ANY_IS_BLUE: Steps = (("text", None), ("blue", 1))
ONE_IS_GOOD: Steps = (("red", None), ("green", 1))

Names = tuple[tuple[float, str, str], ...]
"""Values, the words shown for them, and their colours."""
YES_NO: Names = ((0, "no", "text"), (1, "yes", "blue"))
HEALTH: Names = ((0, "unhealthy", "red"), (1, "healthy", "green"))


@dataclass(frozen=True, slots=True)
class Query:
    """`legend` names a series. In a table `column` heads the values, which are in `unit`, coloured by `steps`."""

    expr: str
    legend: str = ""
    column: str = ""
    unit: str = "short"
    steps: Steps = PLAIN
    names: Names = ()
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """Where a click leads to; in a table it is a click into that `column`."""

    title: str
    url: str
    column: str

    @property
    def document(self) -> Json:
        """As the file holds it."""
        return {"targetBlank": False, "title": self.title, "url": self.url}


@dataclass(frozen=True, slots=True)
class Panel:
    """`told` says what it shows and where to look next; `empty` what is shown where there is nothing.

    `now` panels ask for this moment, others for the whole time shown. `order` are a table's columns that it is
    sorted by, the largest first. `width` is in 24ths. `points` bounds how many moments of time are asked for.
    """

    kind: Kind
    title: str
    told: str
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 12
    height: int = 8
    steps: Steps = PLAIN
    names: Names = ()
    empty: str = "no data"
    links: tuple[Link, ...] = ()
    labels: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    stacked: bool = False
    bars: bool = False
    top: float | None = None
    text: bool = False
    points: int | None = None

    @property
    def now(self) -> bool:
        """Whether an instant query serves it."""
        return self.kind in {"stat", "table", "bargauge"}


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and what is below it; a folded one asks nothing until it is opened."""

    title: str
    panels: tuple[Panel, ...]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """One that asks Prometheus for the values of a label. `every`: several can be chosen, or all."""

    name: str
    label: str
    series: str
    told: str
    every: bool = True


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A whole one. `links` are the names of others in its head."""

    uid: str
    title: str
    told: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    links: tuple[Json, ...] = ()
    annotations: tuple[Json, ...] = ()
    since: str = "now-6h"


def stat(title: str, told: str, *queries: Query, **more: Any) -> Panel:
    """One number now."""
    return replace(Panel("stat", title, told, queries, width=3, height=4), **more)


def series(title: str, told: str, *queries: Query, **more: Any) -> Panel:
    """Lines over time."""
    return replace(Panel("timeseries", title, told, queries), **more)


def timeline(title: str, told: str, *queries: Query, **more: Any) -> Panel:
    """Bands of states over time."""
    return replace(Panel("state-timeline", title, told, queries), **more)


def table(title: str, told: str, *queries: Query, labels: str, **more: Any) -> Panel:
    """A line for each set of `labels` (with blanks between), a column for each query."""
    return replace(Panel("table", title, told, queries, width=24, labels=tuple(labels.split())), **more)


def bars(title: str, told: str, *queries: Query, **more: Any) -> Panel:
    """Horizontal bars now."""
    return replace(Panel("bargauge", title, told, queries), **more)

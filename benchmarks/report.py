"""Figures as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `goal` as text for people; `met` None where there is no goal."""

    what: str
    figure: str
    goal: str = ""
    met: bool | None = None


def table(rows: Sequence[Row]) -> str:
    lines = ["| what | figure | goal | met |", "|---|---|---|---|"]
    verdicts = {None: "", True: "yes", False: "**no**"}
    lines += [f"| {row.what} | {row.figure} | {row.goal} | {verdicts[row.met]} |" for row in rows]
    return "\n".join(lines)


def spread(values: Sequence[float], unit: str, *, digits: int = 1) -> str:
    """`12.3 ms (11.9–14.0, 9 runs)`."""
    low, high = min(values), max(values)
    return f"{median(values):.{digits}f} {unit} ({low:.{digits}f}–{high:.{digits}f}, {len(values)} runs)"


def percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100)[percent - 1]

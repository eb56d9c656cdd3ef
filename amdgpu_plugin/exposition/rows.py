"""What a row of the table of metrics is: a metric as it is documented, and how it is taken from a view."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from amdgpu_plugin.exposition.view import View
from amdgpu_plugin.instruments import Family, MetricType

Values = tuple[str, ...]
Sample = tuple[Values, float | None]
"""The values of the family's labels in their order, and the value; None where it is not known."""


@dataclass(frozen=True, slots=True)
class Row:
    """A metric and its samples."""

    family: Family
    samples: Callable[[View], Iterable[Sample]]


def row(name: str, labels: str, told: str, source: str, samples: Callable[[View], Iterable[Sample]]) -> Row:
    """`name` without the prefix `amdgpu_`; its suffix tells the type. `labels` with blanks between."""
    return Row(Family(f"amdgpu_{name}", _type_of(name), tuple(labels.split()), told, source), samples)


def _type_of(name: str) -> MetricType:
    if name.endswith("_total"):
        return "counter"
    return "info" if name.endswith("_info") else "gauge"


def shown(*values: object) -> Values:
    """Label values; what is not known is empty, which is to Prometheus as if the label was not there."""
    return tuple("" if value is None else str(value) for value in values)

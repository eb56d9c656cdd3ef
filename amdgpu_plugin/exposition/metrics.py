"""The node's metrics out of a snapshot, by the one table. Pure."""

from collections.abc import Iterator

from prometheus_client import Metric

from amdgpu_plugin.exposition import reading_rows, state_rows
from amdgpu_plugin.exposition.snapshot import Snapshot
from amdgpu_plugin.exposition.view import view
from amdgpu_plugin.instruments import Family

TABLE = state_rows.ROWS + reading_rows.ROWS


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Those that have a sample, in the order of the table."""
    seen = view(snapshot)
    for row in TABLE:
        family = row.family
        metric = _empty(family)
        for values, value in row.samples(seen):
            if value is not None:
                labels = dict(zip(family.labels, map(_sendable, values), strict=True))
                metric.add_sample(family.name, labels, value)
        if metric.samples:
            yield metric


def _empty(family: Family) -> Metric:
    # prometheus-client wants the name that OpenMetrics gives the family, without the sample's suffix.
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    return Metric(family.name.removesuffix(suffix), family.help, family.type)


def _sendable(text: str) -> str:
    """What cannot be written as UTF-8, such as half a surrogate pair out of a file name, becomes `?`."""
    return text if text.isascii() else text.encode(errors="replace").decode()

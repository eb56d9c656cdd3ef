"""A dashboard in Grafana's classic JSON model. Pure.

https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from tests.monitoring.dashboards.model import (
    GOOD,
    PLAIN,
    SOURCE,
    Dashboard,
    Json,
    Kind,
    Names,
    Panel,
    Row,
    Steps,
    Variable,
)

SCHEMA_VERSION = 39
"""Of Grafana 11; later ones migrate it when they load it."""
COLUMNS = 24


def document(dashboard: Dashboard) -> Json:
    """As the file holds it."""
    return {
        "annotations": {"list": [_BUILT_IN, *dashboard.annotations]},
        "description": dashboard.told,
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": list(dashboard.links),
        "panels": list(_placed(dashboard.rows)),
        "refresh": "1m",
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["amdgpu-plugin", "gpu"],
        "templating": {"list": [_DATASOURCE, *map(_variable, dashboard.variables)]},
        "time": {"from": dashboard.since, "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": dashboard.title,
        "uid": dashboard.uid,
        "version": 1,
        "weekStart": "",
    }


_BUILT_IN: Json = {
    "builtIn": 1,
    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    "enable": True,
    "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)",
    "name": "Annotations & Alerts",
    "type": "dashboard",
}
_DATASOURCE: Json = {
    "current": {},
    "description": "The Prometheus that scrapes the plugin",
    "hide": 0,
    "includeAll": False,
    "label": "Data source",
    "multi": False,
    "name": "datasource",
    "options": [],
    "query": "prometheus",
    "refresh": 1,
    "regex": "",
    "skipUrlSync": False,
    "type": "datasource",
}


def _variable(variable: Variable) -> Json:
    asked = f"label_values({variable.series}, {variable.name})"
    every = {"allValue": ".*", "current": {"selected": True, "text": ["All"], "value": ["$__all"]}}
    return {
        **(every if variable.every else {"current": {}}),
        "datasource": SOURCE,
        "definition": asked,
        "description": variable.told,
        "hide": 0,
        "includeAll": variable.every,
        "label": variable.label,
        "multi": variable.every,
        "name": variable.name,
        "options": [],
        "query": {"query": asked, "refId": f"Variable-{variable.name}"},
        # when the time range changes: what was there then can be chosen then
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
        "type": "query",
    }


@dataclass(slots=True)
class _Flow:
    """Places panels from left to right, and on a new line where one does not fit."""

    number: int = 0
    x: int = 0
    y: int = 0
    line: int = 0

    def place(self, width: int, height: int) -> Json:
        if self.x + width > COLUMNS:
            self.next_line()
        at = {"h": height, "w": width, "x": self.x, "y": self.y}
        self.x += width
        self.line = max(self.line, height)
        return at

    def next_line(self) -> None:
        self.x, self.y, self.line = 0, self.y + self.line, 0

    def next_id(self) -> int:
        self.number += 1
        return self.number


def _placed(rows: Iterable[Row]) -> Iterator[Json]:
    flow = _Flow()
    for row in rows:
        flow.next_line()
        head = {
            "collapsed": row.folded,
            "gridPos": flow.place(COLUMNS, 1),
            "id": flow.next_id(),
            "title": row.title,
            "type": "row",
        }
        after_head = flow.y + 1
        below = [_panel(panel, flow.next_id(), flow.place(panel.width, panel.height)) for panel in row.panels]
        yield head | {"panels": below if row.folded else []}
        if row.folded:
            # what is folded takes no room; Grafana moves the rest when it is opened
            flow.x, flow.y, flow.line = 0, after_head, 0
        else:
            yield from below


def _panel(panel: Panel, number: int, at: Json) -> Json:
    return {
        "datasource": SOURCE,
        "description": panel.told,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": list(_overrides(panel))},
        "gridPos": at,
        "id": number,
        **({} if panel.points is None else {"maxDataPoints": panel.points}),
        "options": _OPTIONS[panel.kind] | _own_options(panel),
        "targets": list(_targets(panel)),
        "title": panel.title,
        "transformations": _transformations(panel),
        "type": panel.kind,
    }


def _own_options(panel: Panel) -> Json:
    if panel.kind == "table":
        return {"sortBy": [{"desc": True, "displayName": column} for column in panel.order]}
    return {"textMode": "name"} if panel.text else {}


def _targets(panel: Panel) -> Iterator[Json]:
    for letter, query in zip(ascii_uppercase, panel.queries, strict=False):
        yield {
            "datasource": SOURCE,
            "editorMode": "code",
            "expr": query.expr,
            "format": "table" if panel.kind == "table" else "time_series",
            "instant": panel.now,
            "legendFormat": query.legend or "__auto",
            "range": not panel.now,
            "refId": letter,
        }


def _defaults(panel: Panel) -> Json:
    coloured = panel.kind in {"stat", "table", "bargauge", "state-timeline"}
    bounds = {"min": 0} if panel.kind in {"timeseries", "bargauge"} else {}
    return {
        "color": {"mode": "thresholds" if coloured else "palette-classic"},
        "custom": _custom(panel),
        "links": [] if panel.kind == "table" else [link.document for link in panel.links],
        "mappings": _mappings(panel.names),
        **bounds,
        **({} if panel.top is None else {"max": panel.top}),
        "noValue": panel.empty,
        "thresholds": _thresholds(panel.steps),
        "unit": panel.unit,
    }


def _custom(panel: Panel) -> Json:
    if panel.kind == "timeseries":
        bounded = panel.steps not in (PLAIN, GOOD)
        return {
            "drawStyle": "bars" if panel.bars else "line",
            "fillOpacity": 60 if panel.bars else 30 if panel.stacked else 8,
            "lineWidth": 1,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"group": "A", "mode": "normal" if panel.stacked else "none"},
            "thresholdsStyle": {"mode": "dashed" if bounded else "off"},
        }
    if panel.kind == "state-timeline":
        return {"fillOpacity": 80, "lineWidth": 0}
    if panel.kind == "table":
        return {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True}
    return {}


def _mappings(names: Names) -> list[Json]:
    options = {
        f"{value:g}": {"color": colour, "index": index, "text": word}
        for index, (value, word, colour) in enumerate(names)
    }
    return [{"options": options, "type": "value"}] if options else []


def _thresholds(steps: Steps) -> Json:
    return {"mode": "absolute", "steps": [{"color": colour, "value": value} for colour, value in steps]}


def _overrides(panel: Panel) -> Iterator[Json]:
    """Of a table's columns, and of the limits among lines."""
    if panel.kind == "table":
        for query in panel.queries:
            coloured = query.steps != PLAIN or query.names
            look = {"mode": "basic", "type": "color-background"} if coloured else {"type": "auto"}
            yield _override(
                "byName",
                query.column,
                unit=query.unit,
                thresholds=_thresholds(query.steps),
                mappings=_mappings(query.names),
                **{"custom.cellOptions": look},
            )
        for link in panel.links:
            yield _override("byName", link.column, links=[link.document])
        return
    for letter, query in zip(ascii_uppercase, panel.queries, strict=False):
        if query.dashed:
            line = {"dash": [8, 8], "fill": "dash"}
            yield _override("byFrameRefID", letter, **{"custom.lineStyle": line, "custom.fillOpacity": 0})


def _override(matcher: str, what: str, **properties: Any) -> Json:
    return {
        "matcher": {"id": matcher, "options": what},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }


def _transformations(panel: Panel) -> list[Json]:
    if panel.kind != "table":
        return []
    letters = ascii_uppercase[: len(panel.queries)]
    renamed = {f"Value #{letter}": query.column for letter, query in zip(letters, panel.queries, strict=True)}
    if len(panel.queries) == 1:
        # the values of a lone query bear no letter
        renamed = {"Value": panel.queries[0].column} | renamed
    columns = (*panel.labels, *renamed)
    return [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True},
                "indexByName": {name: index for index, name in enumerate(columns)},
                "renameByName": renamed,
            },
        },
    ]


_REDUCED: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_TOOLTIP: Json = {"mode": "multi", "sort": "desc"}
_OPTIONS: Mapping[Kind, Json] = {
    "stat": {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": _REDUCED,
        "textMode": "auto",
    },
    "timeseries": {
        "legend": {
            "calcs": ["lastNotNull", "max"],
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
            "sortBy": "Max",
            "sortDesc": True,
        },
        "tooltip": _TOOLTIP,
    },
    "state-timeline": {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "mergeValues": True,
        "rowHeight": 0.85,
        "showValue": "auto",
        "tooltip": _TOOLTIP,
    },
    "table": {"cellHeight": "sm", "footer": {"show": False}, "showHeader": True},
    "bargauge": {
        "displayMode": "gradient",
        "orientation": "horizontal",
        "reduceOptions": _REDUCED,
        "showUnfilled": True,
        "valueMode": "color",
    },
}

"""What Grafana makes of a dashboard before it asks Prometheus: panels, their queries, and variables put in. Pure.

https://grafana.com/docs/grafana/latest/dashboards/variables/variable-syntax/; Prometheus' data source escapes what is
put into a regular expression, twice since it stands in a string.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
ALL = "$__all"
_USED = re.compile(r"\$\{?(\w+)(?::\w+)?\}?")
_SPECIAL = re.compile(r"[$^*{}\[\]'+?.()|]")


@dataclass(frozen=True, slots=True)
class Asked:
    """A query of a panel, or of an annotation; `now` if it is asked for this moment."""

    where: str
    expr: str
    now: bool


def panels(dashboard: Json) -> Iterator[Json]:
    """All but rows; those of folded rows too."""
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            yield panel
        yield from panel.get("panels", [])


def rows(dashboard: Json) -> Iterator[Json]:
    """The headings."""
    return (panel for panel in dashboard["panels"] if panel["type"] == "row")


def variables(dashboard: Json) -> dict[str, Json]:
    """By name."""
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def asked(dashboard: Json) -> Iterator[Asked]:
    """All that it asks, but for the values of its variables."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield Asked(f"{panel['title']} {target['refId']}", target["expr"], target["instant"])
    for annotation in dashboard["annotations"]["list"]:
        if annotation["datasource"]["type"] == "prometheus":
            yield Asked(f"annotation {annotation['name']}", annotation["expr"], now=False)


def used(text: str) -> set[str]:
    """Names of the variables in it; Grafana's own begin with two underscores."""
    return set(_USED.findall(text))


def put_in(text: str, dashboard: Json, chosen: Mapping[str, str], *, rate_interval: str) -> str:
    """With the chosen values; ALL where the variable knows it."""
    known = variables(dashboard)

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name == "__rate_interval":
            return rate_interval
        if chosen[name] == ALL:
            assert known[name]["includeAll"]
            every: str = known[name]["allValue"]
            return every
        return _escaped(chosen[name]) if known[name]["multi"] else chosen[name]

    return _USED.sub(value, text)


def _escaped(value: str) -> str:
    return _SPECIAL.sub(lambda found: "\\\\" + found[0], value)

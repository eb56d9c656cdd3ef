"""Writes what is made out of other files: run `.venv/bin/python -m tests.helm.generate` after a change.

The `config` and `simulate` parts of values.schema.json come from the daemon's own tables, the names of alerts in it from
the chart's rules, the chart's README.md from the schema and values.yaml, the golden files from the chart. Tests compare
all of them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from amdgpu_plugin.config import CONDITIONS, OPTIONS, Option
from amdgpu_plugin.config.nested import MOST_REPLICAS, NUMBERS, OUR_VARIABLES, RESOURCE
from amdgpu_plugin.health.conditions import Number
from amdgpu_plugin.simulation.shapes import SHAPE_NAMES
from tests.helm.chart import CHART, GOLDEN, render_text

Schema = dict[str, Any]

SCHEMA = CHART / "values.schema.json"
PAGE = CHART / "README.md"
_SECONDS = re.compile(r"(seconds, )?(\d+) to (\d+)")
_ABSOLUTE: Schema = {"type": "string", "pattern": "^/"}
_ADDRESS = r"^((\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*):[0-9]{1,5})?$"


def group(properties: Mapping[str, Schema], *required: str) -> Schema:
    """An object that takes these keys and no other."""
    needed = {"required": list(required)} if required else {}
    return {"type": "object", "additionalProperties": False, "properties": dict(properties)} | needed


def number_schema(number: Number | None) -> dict[str, Schema]:
    """What a condition's number may be; nothing for a condition without one."""
    if number is None:
        return {}
    return {number.key: {"type": "integer", "minimum": number.low, "maximum": number.high}}


_SELECTORS: Schema = {"type": "array", "items": {"type": "string", "minLength": 1}}
_BY_KEY: Mapping[str, Schema] = {
    "sharing.resources": {
        "type": "object",
        "propertyNames": {"pattern": f"^{RESOURCE}$"},
        "additionalProperties": group(
            {
                "replicas": {"type": "integer", "minimum": 1, "maximum": MOST_REPLICAS},
                "rename": {"type": "boolean"},
            }
        ),
    },
    "devices.include": {"anyOf": [{"const": "all"}, _SELECTORS | {"minItems": 1}]},
    "devices.exclude": _SELECTORS,
    "http.address": {"type": "string", "pattern": _ADDRESS},
    "allocate.extra_devices": {
        "type": "array",
        "items": group(
            {
                "host_path": _ABSOLUTE,
                "container_path": _ABSOLUTE,
                "permissions": {"type": "string", "pattern": "^[rwm]{1,3}$"},
            },
            "host_path",
        ),
    },
    "allocate.mounts": {
        "type": "array",
        "items": group(
            {"host_path": _ABSOLUTE, "container_path": _ABSOLUTE, "read_only": {"type": "boolean"}},
            "host_path",
        ),
    },
    "allocate.env": {
        "type": "object",
        "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "not": {"enum": list(OUR_VARIABLES)}},
        "additionalProperties": {"type": "string"},
    },
    "health.conditions": group(
        {
            name: group(
                {"effect": {"enum": ["unhealthy", "inform", "ignore"]}} | number_schema(NUMBERS.get(name))
            )
            for name in CONDITIONS
        }
    ),
}


def config_schema() -> Schema:
    """Every YAML key of the daemon, a group as an object of its own, or left without a body."""
    properties: dict[str, Any] = {}
    for option in OPTIONS:
        if option.key is not None:
            outer, dot, inner = option.key.partition(".")
            if dot:
                may_be_empty = group({}) | {"type": ["object", "null"]}
                properties.setdefault(outer, may_be_empty)["properties"][inner] = option_schema(option)
            else:
                properties[outer] = option_schema(option)
    return {"description": "options of the daemon, by the YAML keys of docs/configuration.md"} | group(
        properties
    )


def option_schema(option: Option) -> Schema:
    """As strict as JSON Schema says it well; the daemon judges the rest."""
    assert option.key is not None
    values = option.kind.values
    if option.key in _BY_KEY:
        return _BY_KEY[option.key]
    if values == "true | false":
        return {"type": "boolean"}
    if " | " in values:
        return {"enum": values.split(" | ")}
    if found := _SECONDS.fullmatch(values):
        kind = "number" if found[1] else "integer"
        types = kind if option.default is not None else [kind, "null"]
        return {"type": types, "minimum": int(found[2]), "maximum": int(found[3])}
    return {"type": "string", "minLength": 1}


def alerts() -> list[str]:
    """Names of the alerts in the chart's rules, in their order."""
    (group_of_all,) = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())["groups"]
    return list(dict.fromkeys(rule["alert"] for rule in group_of_all["rules"] if "alert" in rule))


def rule_schema() -> dict[str, Schema]:
    """What may be said of single alerts: whether they are left out, and what else they may be."""
    duration: Schema = {"type": "string", "pattern": "^([0-9]+[smhd])+$"}
    custom = group({"for": duration, "severity": {"enum": ["critical", "warning", "info"]}})
    return {
        "disabled": group({name: {"type": "boolean"} for name in alerts()}),
        "customRules": group(dict.fromkeys(alerts(), custom)),
    }


def whole_schema() -> Schema:
    """The chart's schema with the made parts in place."""
    schema: Schema = json.loads(SCHEMA.read_text())
    schema["properties"]["config"] = config_schema()
    for key, part in rule_schema().items():
        schema["properties"]["prometheusRule"]["properties"][key] |= part
    schema["properties"]["simulate"]["properties"]["shape"] = {
        "description": f"{', '.join(f'`{name}`' for name in SHAPE_NAMES)}, each also with a count as in `mi300x:4`; "
        "empty: the node's own GPUs",
        "type": "string",
        "pattern": f"^(({'|'.join(SHAPE_NAMES)})(:[1-9][0-9]?)?)?$",
    }
    return schema


_PAGE = """\
# {name}

<!-- Made by `python -m tests.helm.generate` out of Chart.yaml, values.yaml and values.schema.json: change those. -->

{description}. Version {version}, Kubernetes {kubernetes}.

```
helm install amdgpu-plugin helm/amdgpu-plugin --namespace kube-system --set image.registry=registry.example:5000
```

[docs/helm.md](../../docs/helm.md) says what runs on a node, how values are put together and what an upgrade does;
[docs/configuration.md](../../docs/configuration.md) has the options that `config` takes;
[docs/runbooks.md](../../docs/runbooks.md) the alerts.

## Values

A key that is not here, a wrong type and an unknown word are refused by `helm install` itself, which names the key.

| value | may be | default | meaning |
| --- | --- | --- | --- |
"""


def page(schema: Schema) -> str:
    """The chart's README: each value, what it may be, its default, what it does."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    rows = "".join(
        f"| `{key}` | {_kind(part)} | {_shown(_default(defaults, key))} | {part['description']} |\n"
        for key, part in leaves(schema)
        if key != "global"
    )
    return _head() + rows


def _head() -> str:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    oldest = about["kubeVersion"].removeprefix(">=").removesuffix(".0-0")
    return _PAGE.format_map(about | {"kubernetes": f"{oldest} or newer"})


def leaves(schema: Schema, above: str = "") -> Iterator[tuple[str, Schema]]:
    """Values by dotted key, down to where the schema stops describing."""
    for name, part in schema["properties"].items():
        inner = part.get("properties", {})
        if name != "config" and inner and all("description" in below for below in inner.values()):
            yield from leaves(part, f"{above}{name}.")
        else:
            yield above + name, part


def _kind(part: Schema) -> str:
    if "enum" in part:
        return ", ".join(f"`{word}`" for word in part["enum"])
    named = {"integer": "number", "object": "mapping", "array": "list", "string": "text"}
    kinds = [part["type"]] if isinstance(part["type"], str) else part["type"]
    return " or ".join(named.get(kind, kind) for kind in kinds)


def _default(defaults: Any, key: str) -> Any:
    for name in key.split("."):
        defaults = defaults[name]
    return defaults


def _shown(default: object) -> str:
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def schema_text(schema: Schema) -> str:
    """As the file holds it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    made = whole_schema()
    SCHEMA.write_text(schema_text(made))
    PAGE.write_text(page(made))
    for path, values in GOLDEN.items():
        path.write_text(render_text(values))

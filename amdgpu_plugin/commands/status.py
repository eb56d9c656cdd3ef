"""`status`: what the running daemon on this node thinks. It asks the daemon and reads no sysfs."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from amdgpu_plugin.commands.tables import columns
from amdgpu_plugin.config import Config
from amdgpu_plugin.control import ControlError, ask

_UNKNOWN = "-"


def run(config: Config, args: argparse.Namespace) -> int:
    """0: the daemon answered; 1: it cannot be reached."""
    try:
        node = ask(config.state_dir, {"verb": "status"})
    except ControlError as error:
        print(f"amdgpu-plugin: error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(node, indent=2) if args.output == "json" else as_table(node))
    return 0


def as_table(node: Mapping[str, Any]) -> str:
    """For people; `node` is the document of /api/v1/node."""
    gpus = {gpu["pci_address"]: gpu for gpu in node["gpus"]}
    lines = list(_resources(node))
    if node["devices"]:
        heads = ("DEVICE", "RESOURCE", "HEALTH", "SINCE", "HELD BY", "TEMP", "POWER", "VRAM")
        lines += ["", *columns([heads, *(_row(device, gpus[device["gpu"]]) for device in node["devices"])])]
    lines += _section("Conditions", ((line,) for gpu in node["gpus"] for line in _conditions(gpu)))
    lines += _section("Skipped", ((each["path"], each["reason"]) for each in node["skipped"]))
    return "\n".join(lines)


def _resources(node: Mapping[str, Any]) -> Iterator[str]:
    mode = node["health"]["policy"]["mode"]
    told = ["simulated node"] * node["simulated"] + [f"kernel events: {node['events']}", f"health: {mode}"]
    if node["health"]["guard_active"]:
        told.append("guard active: what all GPUs have at once informs only")
    yield f"amdgpu-plugin {node['version']}, {', '.join(told)}"
    for each in node["resources"]:
        yield f"{each['name']}: {each['healthy']} of {each['devices']} healthy, {_registration(each)}"
    if not node["resources"]:
        yield "no GPU to serve"


def _registration(resource: Mapping[str, Any]) -> str:
    """With the phase, unless it says no more than that."""
    phase, detail = resource["phase"], resource["detail"]
    if resource["registered"]:
        return "registered"
    if phase == "registered":
        return "not registered: the kubelet does not listen"
    if phase == "not registered":
        return f"{phase}: {detail}" if detail else phase
    return f"not registered: {phase} ({detail})" if detail else f"not registered: {phase}"


def _row(device: Mapping[str, Any], gpu: Mapping[str, Any]) -> tuple[str, ...]:
    reason = device["reason"]
    readings = gpu["readings"] or {}
    return (
        device["id"],
        device["resource"],
        "Healthy" if device["healthy"] else f"Unhealthy: {reason['condition']}",
        _time(reason["since"]) if reason else _UNKNOWN,
        _holders(device["holders"]),
        _hottest(readings.get("temperatures") or ()),
        _with_unit(readings.get("power_watts"), "W"),
        _share(readings.get("vram")),
    )


def _holders(holders: list[Mapping[str, str]] | None) -> str:
    if holders is None:
        return "not known"
    return ", ".join(f"{each['namespace']}/{each['pod']}" for each in holders) or _UNKNOWN


def _hottest(temperatures: Iterable[Mapping[str, Any]]) -> str:
    return _with_unit(max((each["celsius"] for each in temperatures), default=None), "°C")


def _share(memory: Mapping[str, int | None] | None) -> str:
    size, used = (memory["size_bytes"], memory["used_bytes"]) if memory else (None, None)
    return _UNKNOWN if not size or used is None else f"{100 * used / size:.0f} %"


def _with_unit(value: float | None, unit: str) -> str:
    return _UNKNOWN if value is None else f"{value:.0f} {unit}"


def _conditions(gpu: Mapping[str, Any]) -> Iterator[str]:
    for each in gpu["conditions"]:
        does = "cleared, held for the recovery hold" if each["held"] else each["effect"]
        since = _time(each["since"])
        yield f"{gpu['pci_address']}  {each['name']} ({does}) since {since}: {each['detail']}"


def _section(title: str, rows: Iterator[tuple[str, ...]]) -> list[str]:
    found = [(f"  {first}", *rest) for first, *rest in rows]
    return ["", title, *columns(found)] if found else []


def _time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%SZ")

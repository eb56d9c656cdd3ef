"""Values of lists and mappings, which only the YAML file can have."""

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Any

from amdgpu_plugin.config.kinds import (
    Kind,
    WrongValueError,
    check_path,
    check_switch,
    closest,
    shown,
    whole,
    word,
)
from amdgpu_plugin.config.values import CONDITIONS, ExtraDevice, ExtraMount, SharedResource
from amdgpu_plugin.health.conditions import FACTS, TABLE, ConditionSetting, Number

NUMBERS: Mapping[str, Number] = MappingProxyType(
    {kind.name: kind.number for kind in TABLE if kind.number is not None}
)
"""The conditions that have a number."""

OUR_VARIABLES = (
    "AMDGPU_DEVICES",
    "AMDGPU_NUMA_NODES",
    "AMDGPU_PCI_ADDRESSES",
    "AMDGPU_RENDER_NODES",
    "AMDGPU_SIMULATED",
)
"""What Allocate itself tells a container."""

RESOURCE = r"amd\.com/(gpu|[a-z]px(_nps[0-9]{1,2})?)"
"""Names of resources, without `.shared`."""
MOST_REPLICAS = 256
"""256 devices by 256 replicas make 2.7 MB, and the kubelet takes lists up to 4 MiB."""

_PCI = re.compile(r"[0-9A-Fa-f]{4}:([0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]|[0-9A-Fa-f]{4})")
_PCI_WITHOUT_DOMAIN = re.compile(r"[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EFFECT = word("unhealthy", "inform", "ignore")
REPLICAS = whole(1, MOST_REPLICAS)


def _check_included(value: object) -> tuple[str, ...]:
    if value == "all":
        return ()
    if value == []:
        raise WrongValueError("an empty list would leave no GPU", "all, or a list of GPUs")
    return _check_excluded(value)


def _check_excluded(value: object) -> tuple[str, ...]:
    return tuple(_each(value, _check_selector))


def _check_selector(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise WrongValueError(f"must be a PCI address, a PCI id or a product name, got {shown(value)}")
    if _PCI_WITHOUT_DOMAIN.fullmatch(value):
        raise WrongValueError(f"a PCI address has its domain in front, got {shown(value)}", f"0000:{value}")
    return value.lower() if _PCI.fullmatch(value) else value.strip()


def _check_shared(value: object) -> tuple[SharedResource, ...]:
    return tuple(_check_resource(name, terms) for name, terms in checked_mapping(value).items())


def _check_resource(name: str, value: object) -> SharedResource:
    with _At(f".{name}"):
        if not re.fullmatch(RESOURCE, name):
            raise WrongValueError("not a resource of this plugin", "for example amd.com/gpu, without .shared")
        entry = _entry(value, "replicas", "rename")
        checks = {"replicas": REPLICAS.check, "rename": check_switch}
        return SharedResource(name, **{key: _part(entry, key, checks[key]) for key in entry})


def _check_devices(value: object) -> tuple[ExtraDevice, ...]:
    return tuple(_each(value, _check_device))


def _check_device(value: object) -> ExtraDevice:
    entry = _entry(value, "host_path", "container_path", "permissions")
    host_path = _part(entry, "host_path", _check_absolute_path)
    return ExtraDevice(
        host_path=host_path,
        container_path=_part(entry, "container_path", _check_absolute_path, host_path),
        permissions=_part(entry, "permissions", _check_permissions, "rw"),
    )


def _check_absolute_path(value: object) -> str:
    path = check_path(value)
    if not path.startswith("/"):
        raise WrongValueError(f"must be an absolute path, got {shown(value)}")
    return path


def _check_permissions(value: object) -> str:
    if isinstance(value, str) and value and set(value) <= set("rwm") and len(set(value)) == len(value):
        return value
    raise WrongValueError(f"must be out of r, w and m, got {shown(value)}")


def _check_mounts(value: object) -> tuple[ExtraMount, ...]:
    return tuple(_each(value, _check_mount))


def _check_mount(value: object) -> ExtraMount:
    entry = _entry(value, "host_path", "container_path", "read_only")
    host_path = _part(entry, "host_path", _check_absolute_path)
    return ExtraMount(
        host_path=host_path,
        container_path=_part(entry, "container_path", _check_absolute_path, host_path),
        read_only=_part(entry, "read_only", check_switch, default=True),
    )


def _check_env(value: object) -> tuple[tuple[str, str], ...]:
    return tuple((name, _check_variable(name, text)) for name, text in checked_mapping(value).items())


def _check_variable(name: str, value: object) -> str:
    with _At(f".{name}"):
        if not _VARIABLE.fullmatch(name):
            raise WrongValueError("not a name of a variable")
        if name in OUR_VARIABLES:
            raise WrongValueError("is what the plugin itself tells the container")
        if not isinstance(value, str) or "\0" in value:
            raise WrongValueError(f"must be text, got {shown(value)}", "put it in quotes")
        return value


def _check_conditions(value: object) -> tuple[ConditionSetting, ...]:
    return tuple(_check_condition(name, rules) for name, rules in checked_mapping(value).items())


def _check_condition(name: str, value: object) -> ConditionSetting:
    with _At(f".{name}"):
        if name in FACTS:
            raise WrongValueError("is a fact about an ID, which no setting changes")
        if name not in CONDITIONS:
            raise WrongValueError("no such condition", closest(name, tuple(CONDITIONS)))
        checks: dict[str, Callable[[object], Any]] = {"effect": _EFFECT.check}
        if number := NUMBERS.get(name):
            checks[number.key] = whole(number.low, number.high).check
        entry = _entry(value, *checks)
        return ConditionSetting(name, **{key: _part(entry, key, checks[key]) for key in entry})


def checked_mapping(value: object) -> dict[str, object]:
    """A mapping whose keys are text."""
    if not isinstance(value, dict):
        raise WrongValueError(f"must be a mapping, got {shown(value)}")
    for key in value:
        if not isinstance(key, str):
            raise WrongValueError(f"a key must be text, got {shown(key)}", "put it in quotes")
    return value


def _entry(value: object, *keys: str) -> dict[str, object]:
    entry = checked_mapping(value)
    for key in entry:
        if key not in keys:
            raise WrongValueError(
                "unknown key", closest(key, keys) or f"it can be {', '.join(keys)}", f".{key}"
            )
    return entry


def _part(
    entry: Mapping[str, object], key: str, check: Callable[[object], Any], default: object = None
) -> Any:
    if key not in entry and default is None:
        raise WrongValueError(f"{key} is missing")
    with _At(f".{key}"):
        return check(entry.get(key, default))


def _each(value: object, check: Callable[[object], Any]) -> Iterator[Any]:
    if not isinstance(value, list):
        raise WrongValueError(f"must be a list, got {shown(value)}")
    for index, item in enumerate(value):
        with _At(f"[{index}]"):
            yield check(item)


class _At:
    """Says of a WrongValueError raised inside that it lies below `where`."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if isinstance(error, WrongValueError):
            error.at = self._where + error.at


_SELECTORS = "PCI addresses, PCI ids, product names"

INCLUDED = Kind(f"all, or a list of {_SELECTORS}", "", _check_included)
EXCLUDED = Kind(f"list of {_SELECTORS}", "", _check_excluded)
SHARED_RESOURCES = Kind("mapping, see below", "", _check_shared)
DEVICES = Kind("list, see below", "", _check_devices)
MOUNTS = Kind("list, see below", "", _check_mounts)
ENV = Kind("mapping of names to text", "", _check_env)
CONDITION_SETTINGS = Kind("mapping, see below", "", _check_conditions)

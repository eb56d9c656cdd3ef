"""What a configuration is made of. All immutable; None means unset."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from amdgpu_plugin.health.conditions import TABLE, ConditionSetting, Effect

CONDITIONS: Mapping[str, Effect] = MappingProxyType(
    {kind.name: kind.effect for kind in TABLE if kind.effect is not None}
)
"""The conditions that can be configured, each with its default effect."""


class ConfigError(Exception):
    """What the operator gave cannot be used."""

    def __init__(self, what: str, *, where: str, hint: str = "") -> None:
        """`where` is a flag, a variable, or file and key; `hint` what to try, where there is something."""
        super().__init__(what, where, hint)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        """One line: where, what, what to try."""
        return f"{self.where}: {self.what}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen. An empty host is every address of both families; port 0 a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is written in the options."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SharedResource:
    """What the operator says of sharing one resource. None: as for all others."""

    name: str
    replicas: int | None = None
    rename: bool | None = None


@dataclass(frozen=True, slots=True)
class ExtraDevice:
    """A device node given to every container that gets a GPU. `permissions` are out of `r`, `w`, `m`."""

    host_path: str
    container_path: str
    permissions: str


@dataclass(frozen=True, slots=True)
class ExtraMount:
    """A host path mounted into every container that gets a GPU."""

    host_path: str
    container_path: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Config:
    """Every option, valid, by the fields of the table in `options.py`.

    `devices_include` is empty for all; PCI addresses and ids in it are in lower case. `simulate` is a shape
    by its looks, not yet one that exists. Whether paths exist is not known here.
    """

    config: str | None
    sysfs_root: str
    dev_root: str | None
    simulate: str | None
    simulate_anyway: bool
    device_plugins_dir: str
    pod_resources_dir: str
    state_dir: str
    resource_naming: Literal["single", "mixed"]
    replicas: int
    sharing_rename: bool
    sharing_resources: tuple[SharedResource, ...]
    sharing_strict: bool
    sharing_spread: Literal["distinct", "packed"]
    devices_include: tuple[str, ...]
    devices_exclude: tuple[str, ...]
    devices_integrated: Literal["auto", "always", "never"]
    devices_expect: int | None
    retire_after_seconds: float
    allocate_card_nodes: bool
    allocate_visible_devices: Literal["none", "rocr", "hip"]
    allocate_extra_devices: tuple[ExtraDevice, ...]
    allocate_mounts: tuple[ExtraMount, ...]
    allocate_env: tuple[tuple[str, str], ...]
    health_mode: Literal["enforce", "observe"]
    health_interval_seconds: float
    health_recovery_hold_seconds: float
    health_read_deadline_seconds: float
    health_conditions: tuple[ConditionSetting, ...]
    http_address: ListenAddress | None
    http_status_page: bool
    kubernetes_events: bool
    kubernetes_node_condition: bool
    kubernetes_node_condition_delay_seconds: float
    log_level: Literal["debug", "info", "warning", "error"]
    log_format: Literal["text", "json"]

    @property
    def presence_period_seconds(self) -> float:
        """How often it is looked whether what was there still is: a fifth of the interval, at most 5 s."""
        return min(self.health_interval_seconds / 5, 5.0)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A Config, and a sentence for each thing given that will not do what it looks like."""

    config: Config
    warnings: tuple[str, ...]

"""The one table of options: flags, variables, YAML keys, defaults and help all come out of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from amdgpu_plugin.config import nested
from amdgpu_plugin.config.kinds import ADDRESS, PATH, SHAPE, SWITCH, Kind, seconds, whole, word

VARIABLE_PREFIX = "AMDGPU_PLUGIN_"


@dataclass(frozen=True, slots=True)
class Option:
    """One row. `name` is the flag's, None when the option has only a YAML key; `key` has dots.

    `default` is written as in YAML; None is unset.
    """

    field: str
    name: str | None
    key: str | None
    kind: Kind
    default: object
    help: str

    @property
    def flag(self) -> str | None:
        """As typed: `--health-interval`."""
        return None if self.name is None else f"--{self.name}"

    @property
    def variable(self) -> str | None:
        """In the environment: `AMDGPU_PLUGIN_HEALTH_INTERVAL`."""
        return None if self.name is None else VARIABLE_PREFIX + self.name.upper().replace("-", "_")

    @property
    def default_value(self) -> Any:
        """As Config holds it."""
        return None if self.default is None else self.kind.check(self.default)

    @property
    def shown_default(self) -> str:
        """For people, as in YAML."""
        if self.default is None or isinstance(self.default, bool):
            return {None: "unset", True: "true", False: "false"}[self.default]
        return str(self.default)


# fmt: off
GROUPS: Mapping[str, tuple[Option, ...]] = MappingProxyType({
    "Input": (
        Option("config", "config", None, PATH, None,
               "YAML file with options; flags and variables win over it"),
        Option("sysfs_root", "sysfs-root", "sysfs_root", PATH, "/sys",
               "where sysfs is: a directory, or a file written by `capture`"),
        Option("dev_root", "dev-root", "dev_root", PATH, None,
               "where the host's /dev can be seen; unset: nodes are not looked at"),
        Option("simulate", "simulate", "simulate", SHAPE, None,
               "a simulated node instead of this machine's sysfs, as in mi300x, mi300x:4, mi300x-cpx"),
        Option("simulate_anyway", "simulate-anyway", "simulate_anyway", SWITCH, False,
               "simulate even where amdgpu has bound GPUs"),
    ),
    "Kubelet": (
        Option("device_plugins_dir", "device-plugins-dir", "device_plugins_dir", PATH,
               "/var/lib/kubelet/device-plugins",
               "directory of kubelet.sock; does not move with the kubelet's root directory"),
        Option("pod_resources_dir", "pod-resources-dir", "pod_resources_dir", PATH,
               "/var/lib/kubelet/pod-resources",
               "directory of the pod-resources socket, below the kubelet's root directory"),
        Option("state_dir", "state-dir", "state_dir", PATH, "/run/amdgpu-plugin",
               "directory of the control socket; made when missing"),
    ),
    "Resources": (
        Option("resource_naming", "resource-naming", "resource_naming", word("single", "mixed"), "single",
               "single: all is amd.com/gpu; mixed: amd.com/<compute>_<memory>, as in amd.com/cpx_nps4"),
        Option("replicas", "replicas", "sharing.replicas", nested.REPLICAS, 1,
               "how many containers may share one device"),
        Option("sharing_rename", None, "sharing.rename", SWITCH, False,
               "serve shared devices as <resource>.shared"),
        Option("sharing_resources", None, "sharing.resources", nested.SHARED_RESOURCES, {},
               "replicas and rename of single resources"),
        Option("sharing_strict", None, "sharing.strict", SWITCH, False,
               "refuse two replicas of one device in one container, instead of warning"),
        Option("sharing_spread", None, "sharing.spread", word("distinct", "packed"), "distinct",
               "distinct: prefer the least shared devices; packed: the most shared"),
        Option("devices_include", None, "devices.include", nested.INCLUDED, "all", "GPUs to offer"),
        Option("devices_exclude", None, "devices.exclude", nested.EXCLUDED, [],
               "GPUs to leave out, also of those included"),
        Option("devices_integrated", None, "devices.integrated", word("auto", "always", "never"), "auto",
               "offer APUs; auto: unless discrete cards are beside them, or devices.include names them"),
        Option("devices_expect", None, "devices.expect", whole(0, 1024), None,
               "how many GPUs this node should have"),
        Option("retire_after_seconds", "retire-after", "retire_after", seconds(0, 86400), 600,
               "how long IDs of an earlier partition mode stay listed, unhealthy, at least"),
    ),
    "What containers get": (
        Option("allocate_card_nodes", None, "allocate.card_nodes", SWITCH, False,
               "/dev/dri/card<N> as well"),
        Option("allocate_visible_devices", None, "allocate.visible_devices", word("none", "rocr", "hip"),
               "none", "set ROCR_VISIBLE_DEVICES or HIP_VISIBLE_DEVICES to the indices 0 to n-1 of the "
               "container's devices"),
        Option("allocate_extra_devices", None, "allocate.extra_devices", nested.DEVICES, [],
               "device nodes given along with any GPU"),
        Option("allocate_mounts", None, "allocate.mounts", nested.MOUNTS, [],
               "host paths mounted along with any GPU"),
        Option("allocate_env", None, "allocate.env", nested.ENV, {},
               "variables set along with any GPU"),
    ),
    "Health": (
        Option("health_mode", "health-mode", "health.mode", word("enforce", "observe"), "enforce",
               "observe: only DriverUnbound and DeviceLost reach the kubelet; all is logged and exported"),
        Option("health_interval_seconds", "health-interval", "health.interval", seconds(1, 3600), 30,
               "time between probes; whether GPUs are still there is looked at five times as often, "
               "and at least every 5 s"),
        Option("health_recovery_hold_seconds", "health-recovery-hold", "health.recovery_hold",
               seconds(0, 86400), 60,
               "how long a condition stays cleared before the device is healthy again"),
        Option("health_read_deadline_seconds", "health-read-deadline", "health.read_deadline",
               seconds(1, 300), 20,
               "time without an answer before a read counts as hung; may exceed the interval"),
        Option("health_conditions", None, "health.conditions", nested.CONDITION_SETTINGS, {},
               "what single conditions do"),
    ),
    "Metrics, status page, Kubernetes": (
        Option("http_address", "http-address", "http.address", ADDRESS, ":9400",
               "where metrics, probes and status page are served; without ADDRESS on all, IPv4 and IPv6"),
        Option("http_status_page", None, "http.status_page", SWITCH, True,
               "serve the status page at /"),
        Option("kubernetes_events", None, "kubernetes.events", SWITCH, False,
               "tell changes of health as Kubernetes Events on the Node and on pods"),
        Option("kubernetes_node_condition", None, "kubernetes.node_condition", SWITCH, False,
               "keep the node condition AMDGPUUnhealthy"),
        Option("kubernetes_node_condition_delay_seconds", None, "kubernetes.node_condition_delay",
               seconds(0, 86400), 300,
               "how long a GPU must have been unhealthy before AMDGPUUnhealthy is True"),
    ),
    "Logging": (
        Option("log_level", "log-level", "log_level", word("debug", "info", "warning", "error"), "info",
               "the least that is logged, to stderr"),
        Option("log_format", "log-format", "log_format", word("text", "json"), "text",
               "one line of text or one JSON object per record"),
    ),
})
# fmt: on

OPTIONS = tuple(option for group in GROUPS.values() for option in group)

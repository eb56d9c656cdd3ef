"""What can be the matter with a GPU: one table for the policy, its settings, its documentation and all faces.

CamelCase names, one vocabulary everywhere. In the order of the table a condition names a GPU's verdict. A
partition shares its GPU's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Effect = Literal["unhealthy", "inform", "ignore"]


@dataclass(frozen=True, slots=True)
class Number:
    """A number of a condition that can be set, by its key in the YAML file. A default of None is no limit."""

    key: Literal["threshold", "limit"]
    unit: str
    default: int | None
    low: int = 1
    high: int = 1_000_000


@dataclass(frozen=True, slots=True)
class ConditionKind:
    """One row. `effect` is the default, None for a fact about IDs, which no setting changes.

    `source` is what raises it, `end` what clears it, `advice` what to do about it: sentences for people.
    `acknowledgeable`: its cause does not end by itself, so that an operator may say that it is known.
    """

    name: str
    effect: Effect | None
    source: str
    end: str
    advice: str
    number: Number | None = None
    acknowledgeable: bool = False


@dataclass(frozen=True, slots=True)
class ConditionSetting:
    """What the operator says of one condition. None: as the condition has it by default."""

    name: str
    effect: Effect | None = None
    threshold: int | None = None
    limit: int | None = None


# fmt: off
TABLE = (
    ConditionKind(
        "DeviceLost", "unhealthy",
        "Removed from the PCI bus, by event or when looked at; or its PCI header reads all ones in two "
        "successive looks while its runtime status is `active`.",
        "It is back on the bus and its header reads.",
        "See `dmesg` for the slot. Rescan the bus or power-cycle the node; if it comes back, reseat or "
        "replace the board."),
    ConditionKind(
        "DriverUnbound", "unhealthy",
        "The kernel's `unbind` event; or amdgpu is not its driver when looked at, also when it is gone.",
        "amdgpu is bound when looked at.",
        "Somebody unbound it or unloaded amdgpu, or its probe failed: see `dmesg`. Bind it again, or leave "
        "the GPU out by `devices.exclude`."),
    ConditionKind(
        "Wedged", "unhealthy",
        "The kernel's `WEDGED=` event whose list has `rebind`, `bus-reset`, `vendor-specific` or `unknown`, "
        "and no `none`. `none` means recovered: it counts as a reset and clears nothing. A list without any "
        "word known here informs only.",
        "The driver is bound again.",
        "Drain the GPU, then do what the list asks for (unbind and bind the driver, or reset the bus); else "
        "reboot.",
        acknowledgeable=True),
    ConditionKind(
        "BusError", "unhealthy",
        "PCIe error recovery (AER) failed at the GPU or a bridge above it, as the kernel's event says; or it "
        "began and nothing was heard of its end for 60 s. AER counters never raise it.",
        "Recovery succeeded; the driver is bound again; or two full rounds in which all that the driver "
        "answers was answered.",
        "See `dmesg` for AER. If it comes back, check riser, slot and power, then the board.",
        acknowledgeable=True),
    ConditionKind(
        "UncorrectableErrors", "unhealthy",
        "The driver's own counts of uncorrectable errors rose by `threshold` above those at first sight in "
        "this load of the driver. Errors from before that, and fewer than `threshold`, inform only.",
        "The driver was loaded anew, or a count fell.",
        "Drain the GPU and load the driver anew or reboot, which retires bad pages. If they come back, "
        "replace the board. `ack` says that these are known.",
        Number("threshold", "errors", 1), acknowledgeable=True),
    ConditionKind(
        "BadPageThreshold", "unhealthy",
        "Retired pages of VRAM reach `limit`, or without one what `amdgpu.bad_page_threshold` says.",
        "Fewer than that.",
        "Replace the board: its memory is wearing out.",
        Number("limit", "pages", None), acknowledgeable=True),
    ConditionKind(
        "Overheated", "unhealthy",
        "Two successive readings of one sensor at or above its own `emergency` limit. Limits outside "
        "60–150 °C are ignored, and readings above 150 °C.",
        "That sensor reads below its `crit` limit.",
        "Check air flow, fans, inlet temperature and heat sink."),
    ConditionKind(
        "Unresponsive", "unhealthy",
        "A read of its files was not answered within `--health-read-deadline`, while another, asked at the "
        "same moment, was; busy for over 10 minutes and three rounds; or every read that the driver answers "
        "failed (EIO, ETIME, ETIMEDOUT, ENODEV, EREMOTEIO) for three rounds.",
        "It answers.",
        "See `dmesg` for a hung reset. Processes that use it may be stuck in the kernel: reboot the node."),
    ConditionKind(
        "RenderNodeMissing", "unhealthy",
        "A render node is missing in two successive looks though the driver is bound: from sysfs, or "
        "from a visible `--dev-root`.",
        "It is there, or the driver is gone.",
        "Load the driver anew; look for what removes files from the host's `/dev/dri`."),
    ConditionKind(
        "Retired", None,
        "The ID belongs to an earlier partition mode; or its resource should be another one, since the "
        "memory partition mode or `--resource-naming` was changed.",
        "Its mode returns; else the ID leaves the list once nobody holds it: after `--retire-after`, or "
        "after 5 s for its new resource.",
        "Nothing: new pods get the new IDs. An ID with a new resource waits for who holds it: delete that "
        "pod, or let it end."),
    ConditionKind(
        "HeldElsewhere", None,
        "A running container holds the same hardware under another ID: another mode's, or another plugin's.",
        "That container ended.",
        "Wait for it, or delete its pod."),
    ConditionKind(
        "CorrectableErrors", "inform",
        "Within an hour the driver counted `threshold` more correctable or deferred errors.",
        "An hour with fewer.",
        "Watch it. A steady rise in `umc` comes before retired pages.",
        Number("threshold", "errors", 10)),
    ConditionKind(
        "LinkDegraded", "inform",
        "In two rounds while at least half busy, the PCIe link had fewer lanes or less speed than both its "
        "ends can do. Never judged while idle: links slow down to save power.",
        "Full lanes and speed.",
        "Reseat the board, check riser and slot; see `lspci -vv` for the ends."),
    ConditionKind(
        "Throttled", "inform",
        "A thermal cause (`prochot`, `socket_thermal`, `vr_thermal`, `hbm_thermal`) held the clocks down for "
        "over 10 % of a round in which it was not idle. Power limits are normal.",
        "A round with less.",
        "Check cooling as for `Overheated`; jobs run slower meanwhile."),
    ConditionKind(
        "Hot", "inform",
        "Two successive readings of one sensor at or above its own `crit` limit.",
        "That sensor reads below `crit`.",
        "Check cooling before it becomes `Overheated`."),
    ConditionKind(
        "Busy", "inform",
        "In two successive rounds the driver answered EPERM or EBUSY for all that a reset or suspend guards.",
        "It answers.",
        "Nothing for a while: a reset takes seconds. After 10 minutes it is `Unresponsive`."),
    ConditionKind(
        "PendingPages", "inform",
        "Pages of VRAM wait to be retired, or could not be.",
        "None do.",
        "Load the driver anew or reboot when the GPU is free: they are retired then."),
    ConditionKind(
        "LeftoverMemory", "inform",
        "Over 1 GiB and 2 % of VRAM in use for 5 minutes on a GPU that no container holds. Only where "
        "the kubelet's pod-resources tell who holds what.",
        "Less is in use, or somebody holds it.",
        "Look for a process on the host that was left behind, under `/sys/class/kfd/kfd/proc`."),
    ConditionKind(
        "PluginStarved", "inform",
        "Our own reads were late, the GPU's as well as others: this says nothing of the GPU.",
        "A read is answered in time.",
        "Give the daemon more CPU; see whether the node is overloaded."),
)
# fmt: on

CONDITIONS: Mapping[str, ConditionKind] = MappingProxyType({kind.name: kind for kind in TABLE})
"""By name, in the order of the table."""

FACTS = tuple(kind.name for kind in TABLE if kind.effect is None)
"""Named like conditions, and no setting changes them."""

"""Whether the GPU is there and amdgpu has it: DeviceLost, DriverUnbound, RenderNodeMissing."""

from dataclasses import replace

from amdgpu_plugin.health.events import DriverBound, DriverLeft, Removed
from amdgpu_plugin.health.evidence import Evidence, Happened, Moment, Seen
from amdgpu_plugin.health.policy.holds import Found, cleared, raised, settled
from amdgpu_plugin.health.policy.memory import Answers, Attachment, Corrected, Health
from amdgpu_plugin.health.policy.rules import Rules
from amdgpu_plugin.telemetry.presence import Bound, Gone, Unbound

_LOOKS = 2
"""A header that reads all ones may be one read across a bus reset or a suspend."""

_OF_A_BOUND_DRIVER = (
    "RenderNodeMissing",
    "CorrectableErrors",
    "LinkDegraded",
    "Throttled",
    "LeftoverMemory",
)
"""What nothing can be said of without the driver. Heat and bad pages stay as they were read last."""

_OF_A_DRIVER_LOAD = ("Wedged", "BusError")
"""What ends with the load of the driver that it befell, as the counts of errors do."""


def judge_attachment(health: Health, evidence: Evidence, rules: Rules, now: Moment) -> Health:
    """Events are believed at once; that it is back is believed only when looked at."""
    match evidence:
        case Happened(event=DriverLeft()):
            return _unbound(health, "bound to no driver", "uevent", rules, now)
        case Happened(event=Removed()):
            return _gone(health, "uevent", rules, now)
        case Happened(event=DriverBound()):
            return _loaded_anew(health, now)
        case Seen(presence=Gone()):
            return _without_driver(_gone(health, "presence", rules, now), now)
        case Seen(presence=Unbound(driver=driver)):
            detail = "bound to no driver" if driver is None else f"bound to {driver}, not amdgpu"
            health = _unbound(health, detail, "presence", rules, now)
            return _without_driver(cleared(health, ("DeviceLost",), now), now)
        case Seen(presence=Bound() as bound):
            return _bound(health, bound, rules, now)
    return health


def _unbound(health: Health, detail: str, source: str, rules: Rules, now: Moment) -> Health:
    health = replace(health, attachment=Attachment(detached=True))
    return raised(health, Found("DriverUnbound", detail, source), rules, now)


def _gone(health: Health, source: str, rules: Rules, now: Moment) -> Health:
    health = _unbound(health, "bound to no driver", source, rules, now)
    return raised(health, Found("DeviceLost", "not on the PCI bus", source), rules, now)


def _without_driver(health: Health, now: Moment) -> Health:
    health = replace(_without_streaks(health), leftover=replace(health.leftover, since=None))
    return cleared(health, _OF_A_BOUND_DRIVER, now)


def _loaded_anew(health: Health, now: Moment) -> Health:
    """The driver counts its errors from 0 again, and what it was wedged by is over."""
    health = replace(
        _without_streaks(health),
        attachment=Attachment(),
        recovery=replace(health.recovery, began=None),
        errors=(),
    )
    return cleared(health, _OF_A_DRIVER_LOAD, now)


def _without_streaks(health: Health) -> Health:
    return replace(
        health,
        corrected=Corrected(),
        sensors=tuple(replace(each, emergency_readings=0, critical_readings=0) for each in health.sensors),
        throttling=None,
        degraded_rounds=0,
        answers=Answers(),
    )


def _bound(health: Health, bound: Bound, rules: Rules, now: Moment) -> Health:
    if health.attachment.detached:
        health = _loaded_anew(health, now)
    health = cleared(health, ("DriverUnbound",), now)
    return _heard(_with_nodes(health, bound.missing_nodes, rules, now), bound, rules, now)


def _heard(health: Health, bound: Bound, rules: Rules, now: Moment) -> Health:
    looks = health.attachment.silent_looks + 1 if bound.silent else 0
    health = replace(health, attachment=replace(health.attachment, silent_looks=looks))
    if 0 < looks < _LOOKS:
        return health
    detail = "its PCI header reads all ones" if looks else ""
    return settled(health, Found("DeviceLost", detail, "presence"), rules, now)


def _with_nodes(health: Health, missing: tuple[str, ...], rules: Rules, now: Moment) -> Health:
    """Nodes missing in this look and the last: a bind makes the driver link seconds before the nodes."""
    twice = ", ".join(node for node in missing if node in health.attachment.missing)
    health = replace(health, attachment=replace(health.attachment, missing=missing))
    if missing and not twice:
        return health
    detail = f"missing: {twice}" if twice else ""
    return settled(health, Found("RenderNodeMissing", detail, "presence"), rules, now)

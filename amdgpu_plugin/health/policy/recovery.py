"""What the kernel says of resets and bus errors: Wedged, BusError, counts of resets and core dumps."""

from dataclasses import replace

from amdgpu_plugin.health.events import BusRecovery, CoreDumped, Wedged
from amdgpu_plugin.health.evidence import Acknowledged, Evidence, Happened, Moment, Sampled, Starved
from amdgpu_plugin.health.policy.holds import Found, cleared, raised
from amdgpu_plugin.health.policy.memory import Ack, Health
from amdgpu_plugin.health.policy.rules import Rules
from amdgpu_plugin.telemetry.readings import Tally

# drm_dev_wedged_event() of drivers/gpu/drm/drm_drv.c
_RECOVERED = "none"
_METHODS = frozenset({"rebind", "bus-reset", "vendor-specific", "unknown"})

_OUTCOME_SECONDS = 60.0
_SAME_RESET_SECONDS = 5.0
_GOOD_ROUNDS = 2


def judge_recovery(health: Health, evidence: Evidence, rules: Rules, now: Moment) -> Health:
    """Both conditions are latched: silence does not end them."""
    match evidence:
        case Happened(event=Wedged(methods=methods)):
            health = _wedged(_with_reset(health, now), methods, rules, now)
        case Happened(event=CoreDumped()):
            health = _dumped(health, now)
        case Happened(event=BusRecovery(path=path, phase=phase)):
            health = _bus_recovery(health, path, phase, rules, now)
        case Sampled(readings=readings):
            health = _after_round(health, readings.tally, now)
        case Acknowledged(condition="Wedged" | "BusError"):
            health = _acknowledged(health, evidence)
        case Starved():
            return health  # the outcome may wait in our own socket
    return _overdue(health, rules, now)


def _with_reset(health: Health, now: Moment) -> Health:
    known = _within(health.recovery.dumped_at, now)
    resets = health.recovery.resets + (not known)
    recovery = replace(health.recovery, resets=resets, wedged_at=now.monotonic, dumped_at=None)
    return replace(health, recovery=recovery)


def _dumped(health: Health, now: Moment) -> Health:
    """Before kernel 6.15 a dump is all that tells of a reset."""
    before = health.recovery
    after = replace(before, core_dumps=before.core_dumps + 1)
    if not _within(before.wedged_at, now):
        after = replace(after, resets=before.resets + 1, dumped_at=now.monotonic)
    return replace(health, recovery=after)


def _within(moment: float | None, now: Moment) -> bool:
    return moment is not None and now.monotonic - moment <= _SAME_RESET_SECONDS


def _wedged(health: Health, methods: tuple[str, ...], rules: Rules, now: Moment) -> Health:
    if _RECOVERED in methods:
        return health
    known = not _METHODS.isdisjoint(methods)
    detail = f"WEDGED={','.join(methods)}"
    return raised(health, Found("Wedged", detail, "uevent", informs_only=not known), rules, now)


def _bus_recovery(health: Health, path: str, phase: str, rules: Rules, now: Moment) -> Health:
    device = path.rpartition("/")[2]
    if phase == "begin":
        return replace(health, recovery=replace(health.recovery, began=now))
    if phase == "failed":
        return _bus_error(health, f"PCIe error recovery failed at {device}", rules, now)
    health = replace(health, recovery=replace(health.recovery, began=None))
    return cleared(health, ("BusError",), now)


def _overdue(health: Health, rules: Rules, now: Moment) -> Health:
    began = health.recovery.began
    if began is None or now.monotonic - began.monotonic < _OUTCOME_SECONDS:
        return health
    detail = f"PCIe error recovery began and did not end within {_OUTCOME_SECONDS:g} s"
    return _bus_error(health, detail, rules, now)


def _bus_error(health: Health, detail: str, rules: Rules, now: Moment) -> Health:
    health = replace(health, recovery=replace(health.recovery, began=None, good_rounds=0))
    return raised(health, Found("BusError", detail, "uevent"), rules, now)


def _after_round(health: Health, tally: Tally, now: Moment) -> Health:
    if not tally.answered + tally.busy + tally.failing:
        return health
    good = not tally.busy and not tally.failing
    rounds = health.recovery.good_rounds + 1 if good else 0
    health = replace(health, recovery=replace(health.recovery, good_rounds=rounds))
    return cleared(health, ("BusError",), now) if rounds >= _GOOD_ROUNDS else health


def _acknowledged(health: Health, word: Acknowledged) -> Health:
    ack = Ack(word.reason, word.until)
    active = tuple(replace(each, ack=ack) if each.name == word.condition else each for each in health.active)
    return replace(health, active=active)

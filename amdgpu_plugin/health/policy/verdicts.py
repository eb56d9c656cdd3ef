"""What everybody is told of each GPU: conditions with what they do in the end, and the verdict."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from amdgpu_plugin.health.conditions import CONDITIONS, Effect
from amdgpu_plugin.health.evidence import Moment
from amdgpu_plugin.health.policy.guard import spared
from amdgpu_plugin.health.policy.memory import GUARDED, Active, Health
from amdgpu_plugin.health.policy.rules import Rules
from amdgpu_plugin.node import Condition, GpuStatus, Verdict

_TOLD_IN_OBSERVE_MODE = frozenset({"DriverUnbound", "DeviceLost"})


@dataclass(frozen=True, slots=True)
class Conclusion:
    """`statuses` by PCI address. `guard_active`: a condition that all GPUs share informs only."""

    statuses: Mapping[str, GpuStatus]
    guard_active: bool


def conclude(healths: Mapping[str, Health], rules: Rules, now: Moment) -> Conclusion:
    """The state of all GPUs, `healths` by PCI address."""
    guards = {
        name: spared(name, healths, rules, now) for name in GUARDED if rules.effects[name] == "unhealthy"
    }
    statuses = {
        address: _status(health, {name for name in guards if address in guards[name].addresses}, rules, now)
        for address, health in healths.items()
    }
    return Conclusion(statuses, any(guard.common for guard in guards.values()))


def is_acknowledged(health: Health, condition: str, now: Moment) -> bool:
    """Whether an operator's word on it still counts. Of counts that hides the condition altogether."""
    counts = {
        "UncorrectableErrors": [block.acked for block in health.errors],
        "BadPageThreshold": [health.pages.acked],
    }
    return any(acked.at(now) for acked in counts.get(condition, ())) or any(
        each.ack is not None and each.ack.stands(now) for each in health.active if each.name == condition
    )


def _status(health: Health, guarded: Collection[str], rules: Rules, now: Moment) -> GpuStatus:
    conditions = _conditions(health, guarded, rules, now)
    enforced = _verdict(conditions)
    if rules.mode == "observe":
        conditions = tuple(_observed(condition) for condition in conditions)
    verdict = _verdict(conditions)
    return GpuStatus(
        conditions=conditions,
        verdict=verdict,
        would_be=None if enforced == verdict else enforced,
        resets=health.recovery.resets,
        flaps=health.flaps,
        core_dumps=health.recovery.core_dumps,
    )


def _conditions(health: Health, guarded: Collection[str], rules: Rules, now: Moment) -> tuple[Condition, ...]:
    """One of each name: of two forms the one that does more. In the order of the table."""
    found: dict[str, Condition] = {}
    for active in health.active:
        condition = _condition(active, _effect(active, guarded, rules, now))
        other = found.get(active.name)
        if other is None or _weight(condition) > _weight(other):
            found[active.name] = condition
    return tuple(found[name] for name in CONDITIONS if name in found and rules.effects[name] != "ignore")


def _condition(active: Active, effect: Effect) -> Condition:
    detail = active.detail
    if active.ack is not None:
        detail = f"{detail} (acknowledged: {active.ack.reason})"
    held = active.cleared is not None
    return Condition(active.name, detail, active.source, active.raised.unix, effect, held)


def _effect(active: Active, guarded: Collection[str], rules: Rules, now: Moment) -> Effect:
    effect = rules.effects[active.name]
    known = active.ack is not None and active.ack.stands(now)
    return "inform" if active.informs_only or known or active.name in guarded else effect


def _weight(condition: Condition) -> tuple[bool, bool]:
    return condition.effect == "unhealthy", not condition.held


def _observed(condition: Condition) -> Condition:
    return condition if condition.name in _TOLD_IN_OBSERVE_MODE else replace(condition, effect="inform")


def _verdict(conditions: tuple[Condition, ...]) -> Verdict | None:
    """The first that makes unhealthy; what is only held names it if nothing else does."""
    grave = [condition for condition in conditions if condition.effect == "unhealthy"]
    first = min(grave, key=lambda condition: condition.held, default=None)
    return None if first is None else Verdict(first.name, first.detail, first.since)

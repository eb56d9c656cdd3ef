"""The driver's own counts of uncorrectable errors: UncorrectableErrors.

The counts of a block at first sight in this load of the driver are its baseline. What is above it counts;
what was there before informs only. An operator's word takes away from both.
"""

from collections.abc import Mapping
from dataclasses import replace

from amdgpu_plugin.health.evidence import Acknowledged, Evidence, Moment, Sampled
from amdgpu_plugin.health.policy.holds import Found, dropped, settled
from amdgpu_plugin.health.policy.memory import Block, Health
from amdgpu_plugin.health.policy.rules import Rules
from amdgpu_plugin.telemetry.readings import RasCounts

_NAME = "UncorrectableErrors"


def judge_errors(health: Health, evidence: Evidence, rules: Rules, now: Moment) -> Health:
    """A block that does not tell keeps what it told last."""
    match evidence:
        case Sampled(readings=readings):
            health = replace(health, errors=_counted(health.errors, readings.ras))
        case Acknowledged(condition="UncorrectableErrors", until=until):
            known = tuple(
                replace(block, acked=block.acked.with_word(block.count, until)) for block in health.errors
            )
            health = dropped(replace(health, errors=known), _NAME)
    return _settled(health, rules, now)


def _settled(health: Health, rules: Rules, now: Moment) -> Health:
    risen = {block.name: _risen(block, now) for block in health.errors}
    before = {block.name: _from_before(block, now) for block in health.errors}
    enough = sum(risen.values()) >= (rules.numbers[_NAME] or 1)
    told = f"{_listed(risen)} since first seen" if enough else ""
    health = settled(health, Found(_NAME, told, "readings"), rules, now)
    parts = (
        f"{_listed(before)} from before the first look" if any(before.values()) else "",
        f"{_listed(risen)} since" if any(risen.values()) else "",
    )
    mild = ", ".join(part for part in parts if part)
    return settled(health, Found(_NAME, mild, "readings", informs_only=True), rules, now)


def _counted(blocks: tuple[Block, ...], ras: Mapping[str, RasCounts]) -> tuple[Block, ...]:
    earlier = {block.name: block for block in blocks}
    after = {name: _next(name, earlier.get(name), counts.uncorrectable) for name, counts in ras.items()}
    return tuple((earlier | after)[name] for name in sorted(earlier | after))


def _next(name: str, before: Block | None, count: int) -> Block:
    # A count falls when the driver was loaded anew and nobody told.
    if before is None or count < before.count:
        return Block(name, baseline=count, count=count)
    return replace(before, count=count)


def _risen(block: Block, now: Moment) -> int:
    return max(0, block.count - max(block.baseline, block.acked.at(now)))


def _from_before(block: Block, now: Moment) -> int:
    return max(0, block.baseline - block.acked.at(now))


def _listed(counts: Mapping[str, int]) -> str:
    """`umc 1, gfx 2`."""
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)

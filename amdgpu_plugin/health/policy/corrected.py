"""Errors that were corrected or put off, by the hour: CorrectableErrors."""

from collections.abc import Mapping
from dataclasses import replace

from amdgpu_plugin.health.evidence import Evidence, Moment, Sampled
from amdgpu_plugin.health.policy.holds import Found, cleared, raised
from amdgpu_plugin.health.policy.memory import Corrected, CorrectedBlock, Health
from amdgpu_plugin.health.policy.rules import Rules
from amdgpu_plugin.telemetry.readings import RasCounts

_NAME = "CorrectableErrors"
_HOUR = 3600.0


def judge_corrected(health: Health, evidence: Evidence, rules: Rules, now: Moment) -> Health:
    """Raised within the hour as soon as there are enough; cleared by a whole hour that had fewer."""
    if not isinstance(evidence, Sampled) or not evidence.readings.ras:
        return health
    blocks = _counted(health.corrected.blocks, evidence.readings.ras)
    began = health.corrected.began
    risen = {block.name: block.count - block.at_start for block in blocks if block.count > block.at_start}
    over = began is not None and now.monotonic - began >= _HOUR
    if sum(risen.values()) >= (rules.numbers[_NAME] or 1):
        detail = ", ".join(f"{name} {count}" for name, count in risen.items()) + " within an hour"
        health = raised(health, Found(_NAME, detail, "readings"), rules, now)
    elif over:
        health = cleared(health, (_NAME,), now)
    if began is None or over:
        began = now.monotonic
        blocks = tuple(replace(block, at_start=block.count) for block in blocks)
    return replace(health, corrected=Corrected(began, blocks))


def _counted(blocks: tuple[CorrectedBlock, ...], ras: Mapping[str, RasCounts]) -> tuple[CorrectedBlock, ...]:
    earlier = {block.name: block for block in blocks}
    after = {
        name: _next(name, earlier.get(name), counts.correctable + (counts.deferred or 0))
        for name, counts in ras.items()
    }
    return tuple((earlier | after)[name] for name in sorted(earlier | after))


def _next(name: str, before: CorrectedBlock | None, count: int) -> CorrectedBlock:
    if before is None or count < before.count:
        return CorrectedBlock(name, count, count)
    return replace(before, count=count)

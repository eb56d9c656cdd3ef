"""VRAM in use on a GPU that nobody holds: LeftoverMemory."""

from dataclasses import replace

from amdgpu_plugin.health.evidence import Evidence, Holding, Moment, Sampled
from amdgpu_plugin.health.policy.holds import Found, cleared, raised
from amdgpu_plugin.health.policy.memory import Health, Leftover
from amdgpu_plugin.health.policy.rules import Rules
from amdgpu_plugin.telemetry.readings import Memory

_GIB = 1024**3
_LEAST_BYTES = _GIB
_LEAST_SHARE = 0.02
_SECONDS = 300.0


def judge_leftover(health: Health, evidence: Evidence, rules: Rules, now: Moment) -> Health:
    """Who holds the GPU must be known: without pod-resources there is no such rule."""
    match evidence:
        case Holding(held=False):
            return replace(health, leftover=replace(health.leftover, held=False))
        case Holding(held=held):
            return cleared(replace(health, leftover=Leftover(held)), ("LeftoverMemory",), now)
        case Sampled(readings=readings) if readings.vram is not None:
            return _measured(health, readings.vram, rules, now)
    return health


def _measured(health: Health, vram: Memory, rules: Rules, now: Moment) -> Health:
    used, size = vram.used_bytes, vram.size_bytes
    if used is None or size is None or health.leftover.held is not False:
        return health
    if used <= max(_LEAST_BYTES, _LEAST_SHARE * size):
        return cleared(replace(health, leftover=Leftover(held=False)), ("LeftoverMemory",), now)
    since = now.monotonic if health.leftover.since is None else health.leftover.since
    health = replace(health, leftover=Leftover(held=False, since=since))
    if now.monotonic - since < _SECONDS:
        return health
    detail = f"{used / _GIB:.1f} GiB of VRAM in use, and no container holds the GPU"
    return raised(health, Found("LeftoverMemory", detail, "readings"), rules, now)

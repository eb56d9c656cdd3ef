"""Clocks held down by heat: Throttled."""

from dataclasses import replace

from amdgpu_plugin.health.evidence import Evidence, Moment, Sampled
from amdgpu_plugin.health.policy.holds import Found, settled
from amdgpu_plugin.health.policy.memory import Health
from amdgpu_plugin.health.policy.rules import Rules
from amdgpu_plugin.telemetry.readings import Throttling

_THERMAL = ("prochot", "socket_thermal", "vr_thermal", "hbm_thermal")
_SHARE = 0.1
_IDLE_RATIO = 0.1
"""Some firmware counts an idle GPU as throttled."""


def judge_throttling(health: Health, evidence: Evidence, rules: Rules, now: Moment) -> Health:
    """By the shares of the time since the last round.

    What an older gpu_metrics flags is not believed: its thermal bit is stuck on RDNA 3 and 4.
    """
    if not isinstance(evidence, Sampled) or evidence.readings.throttling is None:
        return health
    before, after = health.throttling, evidence.readings.throttling
    health = replace(health, throttling=after)
    shares = None if before is None else _shares(before, after)
    if shares is None:
        return health
    busy = evidence.readings.gfx_busy_ratio
    idle = busy is not None and busy < _IDLE_RATIO
    causes = "" if idle else ", ".join(cause for cause, share in shares.items() if share > _SHARE)
    return settled(health, Found("Throttled", causes and f"by {causes}", "readings"), rules, now)


def _shares(before: Throttling, after: Throttling) -> dict[str, float] | None:
    """None after a wrap of 32 bits, or where the counters began anew."""
    ticks = after.ticks - before.ticks
    rises = {
        cause: after.causes[cause] - before.causes[cause]
        for cause in _THERMAL
        if cause in before.causes and cause in after.causes
    }
    if ticks <= 0 or not rises or any(rise < 0 for rise in rises.values()):
        return None
    return {cause: rise / ticks for cause, rise in rises.items()}

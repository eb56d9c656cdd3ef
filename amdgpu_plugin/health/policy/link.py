"""The PCIe link while it is used: LinkDegraded."""

from dataclasses import replace

from amdgpu_plugin.health.evidence import Evidence, Moment, Sampled
from amdgpu_plugin.health.policy.holds import Found, cleared, raised
from amdgpu_plugin.health.policy.memory import Health
from amdgpu_plugin.health.policy.rules import Rules
from amdgpu_plugin.telemetry.readings import PcieLink

_BUSY_RATIO = 0.5
_ROUNDS = 2
_GIGA = 1e9


def judge_link(health: Health, evidence: Evidence, rules: Rules, now: Moment) -> Health:
    """A link at its best is seen at any time; a slow one means something only while the GPU works."""
    if not isinstance(evidence, Sampled) or evidence.readings.pcie_link is None:
        return health
    link, busy = evidence.readings.pcie_link, evidence.readings.gfx_busy_ratio
    short = _short(link)
    if not short and _known(link):
        return cleared(replace(health, degraded_rounds=0), ("LinkDegraded",), now)
    if not short or busy is None or busy < _BUSY_RATIO:
        return health
    health = replace(health, degraded_rounds=health.degraded_rounds + 1)
    if health.degraded_rounds < _ROUNDS:
        return health
    return raised(health, Found("LinkDegraded", short, "readings"), rules, now)


def _short(link: PcieLink) -> str:
    """`x8 of x16, 16 of 32 GT/s`; empty when nothing known falls short."""
    told = []
    if link.lanes is not None and link.max_lanes is not None and link.lanes < link.max_lanes:
        told.append(f"x{link.lanes} of x{link.max_lanes}")
    speed, best = link.transfers_per_second, link.max_transfers_per_second
    if speed is not None and best is not None and speed < best:
        told.append(f"{speed / _GIGA:g} of {best / _GIGA:g} GT/s")
    return ", ".join(told)


def _known(link: PcieLink) -> bool:
    parts = (link.lanes, link.max_lanes, link.transfers_per_second, link.max_transfers_per_second)
    return None not in parts

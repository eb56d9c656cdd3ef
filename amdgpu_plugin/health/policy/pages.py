"""Pages of VRAM that went bad: BadPageThreshold, PendingPages."""

from dataclasses import replace

from amdgpu_plugin.health.evidence import Acknowledged, Evidence, Moment, Sampled
from amdgpu_plugin.health.policy.holds import Found, dropped, settled
from amdgpu_plugin.health.policy.memory import Health
from amdgpu_plugin.health.policy.rules import Rules
from amdgpu_plugin.telemetry.readings import Readings

_NAME = "BadPageThreshold"


def judge_pages(health: Health, evidence: Evidence, rules: Rules, now: Moment) -> Health:
    """The operator's limit goes before the driver's. Where there is neither, no number is too high."""
    match evidence:
        case Sampled(readings=readings):
            health = _read(health, readings, rules, now)
        case Acknowledged(condition="BadPageThreshold", until=until):
            acked = health.pages.acked.with_word(health.pages.retired or 0, until)
            health = dropped(replace(health, pages=replace(health.pages, acked=acked)), _NAME)
    return _settled(health, rules, now)


def _read(health: Health, readings: Readings, rules: Rules, now: Moment) -> Health:
    bad = readings.bad_pages
    if bad is None:
        return health
    driver_limit = readings.bad_page_threshold or health.pages.driver_limit
    health = replace(health, pages=replace(health.pages, retired=bad.retired, driver_limit=driver_limit))
    waiting = (f"{bad.pending} pending" if bad.pending else "", _unreservable(bad.unreservable))
    detail = ", ".join(part for part in waiting if part)
    return settled(health, Found("PendingPages", detail, "readings"), rules, now)


def _unreservable(count: int) -> str:
    return f"{count} that could not be reserved" if count else ""


def _settled(health: Health, rules: Rules, now: Moment) -> Health:
    pages, limit = health.pages, rules.numbers[_NAME] or health.pages.driver_limit
    if pages.retired is None or limit is None:
        return health
    detail = ""
    if limit > 0 and pages.retired >= limit and pages.retired > pages.acked.at(now):
        detail = f"{pages.retired} pages retired, the limit is {limit}"
    return settled(health, Found(_NAME, detail, "readings"), rules, now)

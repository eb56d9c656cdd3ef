"""A GPU's health along a timeline: what was learnt when, and what is told of it then."""

from collections.abc import Iterable
from typing import Any

from amdgpu_plugin.health.conditions import ConditionSetting
from amdgpu_plugin.health.events import BusRecovery, CoreDumped, DriverBound, DriverLeft, Removed, Wedged
from amdgpu_plugin.health.evidence import Evidence, Happened, Moment, Passed, Sampled, Seen
from amdgpu_plugin.health.policy import Health, Rules, conclude, judge, rules_of
from amdgpu_plugin.node import GpuStatus
from amdgpu_plugin.telemetry.presence import Bound, Gone, NotSeen, Unbound
from amdgpu_plugin.telemetry.readings import RasCounts, Readings, Tally, Temperature

GPU = "0000:05:00.0"
PATH = "devices/pci0000:00/0000:00:01.0/0000:05:00.0"
EPOCH = 1_800_000_000.0

LEFT, BOUND = Happened(DriverLeft(GPU)), Happened(DriverBound(GPU))
REMOVED = Happened(Removed(GPU))
DUMPED = Happened(CoreDumped("devices/virtual/devcoredump/devcd1"))
SEEN = Seen(Bound(PATH, "SPX"))
SILENT = Seen(Bound(PATH, "SPX", silent=True))
UNBOUND, GONE, NOT_SEEN = Seen(Unbound(None)), Seen(Gone()), Seen(NotSeen("EACCES"))
PASSED = Passed()

GOOD = Tally(answered=20, guarded=10)
FAILING = Tally(failing=20, failing_errnos=("EIO",))
RESETTING = Tally(answered=8, busy=12)


def rules(**changes: Any) -> Rules:
    """The defaults, unless changed. Each condition's settings by its name: `Hot={"effect": "unhealthy"}`."""
    options = {
        "mode": "enforce",
        "interval_seconds": 30.0,
        "hold_seconds": 60.0,
        "read_deadline_seconds": 20.0,
    }
    given = {name: changes.pop(name) for name in options if name in changes}
    settings = [ConditionSetting(name, **said) for name, said in changes.items()]
    return rules_of(**{**options, **given}, settings=settings)


RULES = rules()


def moment(seconds: float) -> Moment:
    """So long after the beginning of the timeline."""
    return Moment(1000.0 + seconds, EPOCH + seconds)


def wedged(*methods: str) -> Happened:
    return Happened(Wedged(GPU, methods))


def bus(phase: Any, path: str = PATH) -> Happened:
    return Happened(BusRecovery(path, phase))


def sampled(tally: Tally = GOOD, **readings: Any) -> Sampled:
    return Sampled(Readings(EPOCH, tally=tally, **readings))


def ras(**counts: int) -> Sampled:
    """Uncorrectable errors by block."""
    return sampled(ras={block: RasCounts(count, 0) for block, count in counts.items()})


def heat(celsius: float, critical: float | None = 100, emergency: float | None = 110) -> Sampled:
    return sampled(temperatures=(Temperature("junction", celsius, critical, emergency),))


def status(health: Health, seconds: float, rules: Rules = RULES) -> GpuStatus:
    return conclude({GPU: health}, rules, moment(seconds)).statuses[GPU]


def told(status: GpuStatus) -> str:
    """Conditions in force: `!Name` makes unhealthy, `Name` informs, `~` behind it is only held."""
    return " ".join(
        f"{'!' if each.effect == 'unhealthy' else ''}{each.name}{'~' if each.held else ''}"
        for each in status.conditions
    )


Step = tuple[float, Evidence | tuple[Evidence, ...], str]
"""Seconds, what was learnt then, and what is told after it."""


def follow(steps: Iterable[Step], *, rules: Rules = RULES, health: Health | None = None) -> Health:
    """Walks the timeline and compares all that was told along it with what the steps say. The Health at its end."""
    health = Health() if health is None else health
    was, expected = [], []
    for seconds, learnt, then in steps:
        for evidence in learnt if isinstance(learnt, tuple) else (learnt,):
            health = judge(health, evidence, rules, moment(seconds))
        was.append((seconds, told(status(health, seconds, rules))))
        expected.append((seconds, then))
    assert was == expected
    return health

"""What is injected is seen: by the daemon's own readers, and judged by its policy as what it was called."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from amdgpu_plugin.health import policy
from amdgpu_plugin.health.conditions import CONDITIONS as TABLE
from amdgpu_plugin.health.datagram import datagram_properties
from amdgpu_plugin.health.events import BusRecovery, DriverBound, DriverLeft, Removed, Wedged, event_of
from amdgpu_plugin.health.evidence import (
    Evidence,
    Happened,
    Holding,
    Moment,
    NoAnswer,
    Sampled,
    Seen,
    Starved,
)
from amdgpu_plugin.simulation.node import SimulatedNode
from amdgpu_plugin.simulation.rehearsals import CONDITIONS, NOT_REHEARSED, Rehearsal
from amdgpu_plugin.telemetry.presence import look
from amdgpu_plugin.telemetry.sampler import read_gpu_readings

GPU = "0000:05:00.0"
ROUND_SECONDS = 30.0
RULES = policy.rules_of(
    mode="enforce", interval_seconds=ROUND_SECONDS, hold_seconds=0, read_deadline_seconds=20
)
UNANSWERED = {"Unresponsive", "PluginStarved"}
"""What is known by silence. `Busy` alone takes no more of it than others."""
ALONG = {"Overheated": {"Hot"}}
"""Who is over the one limit is over the other."""
AN_HOUR = 121
"""In rounds: for so long correctable errors are not forgotten."""
PATIENCE_SECONDS, GUARD_SECONDS = 0.05, 20.0

T = TypeVar("T")


class Watch:
    """Looks at one GPU as the daemon does, round by round, on a clock of its own."""

    def __init__(self, folder: Path, shape: str) -> None:
        self._events: list[bytes] = []
        self.node = SimulatedNode.create(folder, shape, on_uevent=self._events.append)
        self._health = policy.Health()
        self._seconds = 0.0

    def learn(self, evidence: Evidence) -> None:
        now = Moment(1000 + self._seconds, 1_800_000_000 + self._seconds)
        self._health = policy.judge(self._health, evidence, RULES, now)

    def conditions(self) -> set[str]:
        now = Moment(1000 + self._seconds, 1_800_000_000 + self._seconds)
        status = policy.conclude({GPU: self._health}, RULES, now).statuses[GPU]
        return {condition.name for condition in status.conditions}

    def rounds(self, count: int, *, patience: float = GUARD_SECONDS) -> None:
        for _ in range(count):
            self._seconds += ROUND_SECONDS
            self._hear()
            answers = self._ask(self._read, patience)
            spare = self._ask(lambda: [self.node.sysfs.read("class/drm/version")], patience)
            for evidence in answers or [NoAnswer(20) if spare else Starved(20)]:
                self.learn(evidence)

    def _read(self) -> list[Evidence]:
        seen = look(self.node.sysfs, GPU, ("renderD128",), None)
        readings = read_gpu_readings(self.node.sysfs, GPU, lambda: self._seconds)
        return [Seen(seen), Sampled(readings), Holding(False)]

    def _hear(self) -> None:
        for raw in self._events:
            properties = datagram_properties(raw)
            assert properties is not None
            event = event_of(properties)
            if isinstance(event, BusRecovery | DriverBound | DriverLeft | Removed | Wedged):
                self.learn(Happened(event))
        self._events.clear()

    @staticmethod
    def _ask(job: Callable[[], list[T]], patience: float) -> list[T] | None:
        """As a lane does: None when there is no answer in time."""
        answers: list[list[T]] = []
        thread = threading.Thread(target=lambda: answers.append(job()), daemon=True)
        thread.start()
        thread.join(patience)
        return answers[0] if answers else None


@pytest.mark.parametrize("rehearsal", CONDITIONS, ids=lambda rehearsal: rehearsal.word)
def test_a_rehearsed_condition_is_the_only_one_seen_until_it_is_undone(
    scratch: Path, rehearsal: Rehearsal
) -> None:
    watch = Watch(scratch / "node", "mi300x:1")
    watch.rounds(2)
    assert watch.conditions() == set()
    rehearsal.do(watch.node, GPU)
    patience = PATIENCE_SECONDS if rehearsal.word in UNANSWERED else GUARD_SECONDS
    # LeftoverMemory is believed after five minutes, and Busy is Unresponsive after ten
    watch.rounds(12 if patience == GUARD_SECONDS else 1, patience=patience)
    assert watch.conditions() == {rehearsal.word} | ALONG.get(rehearsal.word, set())
    rehearsal.undo(watch.node, GPU)
    watch.rounds(AN_HOUR if rehearsal.word == "CorrectableErrors" else 3)
    assert watch.conditions() == set()


@pytest.mark.parametrize(("down", "up"), [("remove", "add"), ("unload", "load")])
def test_lost_gpu_is_seen_by_event_and_back_when_looked_at(scratch: Path, down: str, up: str) -> None:
    watch = Watch(scratch / "node", "mi300x:1")
    watch.rounds(1)
    watch.node.remove(GPU) if down == "remove" else watch.node.unload()
    watch.rounds(1)
    lost = {"DriverUnbound", "DeviceLost"} if down == "remove" else {"DriverUnbound"}
    assert watch.conditions() == lost
    watch.node.add(GPU) if up == "add" else watch.node.load()
    watch.rounds(2)
    assert watch.conditions() == set()


def test_failing_reads_are_seen_as_unresponsive(scratch: Path) -> None:
    watch = Watch(scratch / "node", "mi300x:1")
    watch.node.fail_reads(GPU)
    watch.rounds(3)
    assert watch.conditions() == {"Unresponsive"}


def test_degraded_link_of_an_idle_gpu_is_nothing(scratch: Path) -> None:
    watch = Watch(scratch / "node", "mi300x:1")
    watch.node.degrade_link(GPU, lanes=8)
    watch.rounds(3)
    assert watch.conditions() == set()


def test_suspended_gpu_is_healthy_and_never_woken(scratch: Path) -> None:
    watch = Watch(scratch / "node", "mi300x:1")
    watch.node.suspend(GPU)
    watch.rounds(3)
    assert watch.conditions() == set()
    status = f"{watch.node.path_of(GPU)}/power/runtime_status".removeprefix(f"{watch.node.root}/")
    assert str(watch.node.sysfs.read(status)) == "Text(value='suspended\\n')"


def test_every_condition_can_be_rehearsed_or_is_told_why_not() -> None:
    assert {rehearsal.word for rehearsal in CONDITIONS} | NOT_REHEARSED.keys() == set(TABLE)

"""One GPU looked at through its lane: what is told of an answer, of silence, and of our own standing still."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from amdgpu_plugin.health.evidence import Evidence, NoAnswer, Sampled, Seen, Starved
from amdgpu_plugin.health.pulse import BEAT_SECONDS, LATE_SECONDS, Pulse
from amdgpu_plugin.health.watch import Watch
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.node import Latest
from amdgpu_plugin.telemetry.presence import Bound, Gone, Presence
from amdgpu_plugin.telemetry.readings import Readings
from tests.kubelet.worlds import running, until

HERE = Bound("devices/pci0000:00/0000:05:00.0", "SPX")
ROUND = Readings(taken_at=7.0)
DEADLINE = 0.02


class Gate:
    """What passes it waits while it is shut."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.open()

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def passed(self) -> None:
        assert self._open.wait(20)


@dataclass(slots=True)
class World:
    seconds: float = 0.0
    presence: Presence = HERE
    gpu: Gate = field(default_factory=Gate)
    other: Gate = field(default_factory=Gate)
    said: Latest[tuple[Evidence, ...]] = field(default_factory=lambda: Latest(()))
    looks: Latest[int] = field(default_factory=lambda: Latest(0))
    rounds: list[float] = field(default_factory=list)
    on_look: Callable[[], None] = lambda: None

    def look(self) -> Presence:
        seen = self.presence
        self.on_look()
        self.gpu.passed()
        return seen

    def judge(self, evidence: Evidence) -> None:
        if isinstance(evidence, Seen):
            self.looks.set(self.looks.value + 1)
        if not self.said.value or self.said.value[-1] != evidence:
            self.said.set((*self.said.value, evidence))

    async def says(self, *expected: Evidence) -> None:
        """Once exactly that was told, repetitions left out."""
        await until(self.said, lambda said: said[: len(expected)] == expected)

    async def more_looks(self, count: int) -> None:
        seen = self.looks.value
        await until(self.looks, lambda looks: looks >= seen + count)


@asynccontextmanager
async def watched(it: World, *, interval: float = 1000) -> AsyncIterator[Watch]:
    lanes = Lanes()
    pulse = Pulse(lambda: it.seconds)
    watch = Watch(
        lane=lanes["gpu"],
        spare=lanes["spare"],
        look=it.look,
        probe=lambda: ROUND,
        spare_look=it.other.passed,
        pulse=pulse,
        period_seconds=0.001,
        interval_seconds=interval,
        deadline_seconds=DEADLINE,
        clock=lambda: it.seconds,
        judge=it.judge,
        probed=it.rounds.append,
    )
    pulse.beat()
    try:
        async with running(watch.run()):
            yield watch
    finally:
        it.gpu.open()
        it.other.open()


async def test_a_gpu_that_answers_is_seen_and_sampled_once_an_interval() -> None:
    it = World()
    async with watched(it, interval=30):
        await it.says(Seen(HERE), Sampled(ROUND), Seen(HERE))
        await it.more_looks(3)
        assert len(it.rounds) == 1
        it.seconds = 30
        await it.says(Seen(HERE), Sampled(ROUND), Seen(HERE), Sampled(ROUND))
        assert len(it.rounds) == 2


async def test_silence_is_told_once_and_ends_with_an_answer() -> None:
    it = World()
    async with watched(it):
        await it.says(Seen(HERE), Sampled(ROUND), Seen(HERE))
        it.gpu.shut()
        await until(it.said, lambda said: said[-1] == NoAnswer(DEADLINE))
        told = len(it.said.value)
        it.presence = Gone()
        it.gpu.open()
        await until(it.said, lambda said: said[-1] == Seen(Gone()))
        assert it.said.value[told:] == (Seen(Gone()),)


async def test_silence_of_everything_says_nothing_of_the_gpu_until_others_answer() -> None:
    it = World()
    it.gpu.shut()
    it.other.shut()
    async with watched(it):
        await it.says(Starved(DEADLINE))
        it.other.open()
        await it.says(Starved(DEADLINE), NoAnswer(DEADLINE))


async def test_silence_while_we_stood_still_says_nothing_of_the_gpu() -> None:
    it = World()
    it.gpu.shut()

    def stand_still() -> None:
        it.seconds = 40.0
        it.on_look = lambda: None

    it.on_look = stand_still
    async with watched(it):
        await it.says(Starved(40.0), NoAnswer(DEADLINE))


async def test_a_look_begun_before_an_event_is_not_believed() -> None:
    it = World()
    async with watched(it) as watch:
        await it.more_looks(1)
        told = len(it.said.value)
        loop = asyncio.get_running_loop()

        def lost_after_it_was_read() -> None:
            if it.presence == HERE:
                it.presence = Gone()
                loop.call_soon_threadsafe(watch.look_now)

        it.on_look = lost_after_it_was_read
        await until(it.said, lambda said: Seen(Gone()) in said)
        assert Seen(HERE) not in it.said.value[told:]


def test_a_pulse_knows_for_how_long_we_stood_still() -> None:
    now = [0.0]
    pulse = Pulse(lambda: now[0])
    for now[0] in (0.0, BEAT_SECONDS, 2 * BEAT_SECONDS + LATE_SECONDS):
        pulse.beat()
    assert pulse.stood_still_since(0.0) == 0.0
    now[0] += 40.0
    assert pulse.stood_still_since(0.0) == 40.0
    assert pulse.stood_still_since(now[0] - 10.0) == 10.0
    assert pulse.stood_still_since(now[0]) == 0.0

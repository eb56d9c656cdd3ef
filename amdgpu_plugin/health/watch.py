"""One GPU, looked at through its own lane for ever: what is learnt of it becomes evidence."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from amdgpu_plugin.health.evidence import Evidence, NoAnswer, Sampled, Seen, Starved
from amdgpu_plugin.health.pulse import Pulse
from amdgpu_plugin.lanes import Hung, Lane
from amdgpu_plugin.telemetry.presence import Presence
from amdgpu_plugin.telemetry.readings import Readings

T = TypeVar("T")

SHORTEST_TURN_SECONDS = 0.01
"""A storm of events must not make looking all that is done."""
_FRESH_TRIES = 3


@dataclass(slots=True)
class Watch:
    """`look` and `probe` block and are done in `lane`; `spare_look` in `spare`, which is no GPU's.

    `judge` is told what was learnt, `probed` how many seconds each full round took. All spans in seconds.
    """

    lane: Lane
    spare: Lane
    look: Callable[[], Presence]
    probe: Callable[[], Readings]
    spare_look: Callable[[], object]
    pulse: Pulse
    period_seconds: float
    interval_seconds: float
    deadline_seconds: float
    clock: Callable[[], float]
    judge: Callable[[Evidence], None]
    probed: Callable[[float], None]
    _poked: asyncio.Event = field(default_factory=asyncio.Event)

    def look_now(self) -> None:
        """Something was heard of this GPU: do not wait for the period, and believe no look begun before."""
        self._poked.set()

    async def run(self) -> None:
        """Until cancelled."""
        probe_at = self.clock()
        while True:
            await self._look()
            if self.clock() >= probe_at:
                probe_at = self.clock() + self.interval_seconds
                await self._probe()
            await self._turn()

    async def _look(self) -> None:
        for _ in range(_FRESH_TRIES):
            self._poked.clear()
            presence = await self._answer(self.look)
            if not self._poked.is_set():
                break
        self.judge(Seen(presence))

    async def _probe(self) -> None:
        began = self.clock()
        readings = await self._answer(self.probe)
        self.probed(self.clock() - began)
        self.judge(Sampled(readings))

    async def _turn(self) -> None:
        try:
            async with asyncio.timeout(self.period_seconds):
                await self._poked.wait()
        except TimeoutError:
            return
        # The event itself was judged; a thread that reads now would hold up the telling of that.
        await asyncio.sleep(SHORTEST_TURN_SECONDS)

    async def _answer(self, job: Callable[[], T]) -> T:
        """The job's result, however long it takes; that it takes too long is told meanwhile."""
        while isinstance(answer := await self._asked(job), Hung):
            while not await self.lane.comes_back(within=self.deadline_seconds):
                pass  # a hung lane gets no second round
        return answer

    async def _asked(self, job: Callable[[], T]) -> T | Hung:
        asked_at = self.clock()
        spare = asyncio.create_task(self.spare.ask(self.spare_look, deadline=self.deadline_seconds))
        try:
            answer = await self.lane.ask(job, deadline=self.deadline_seconds)
            while isinstance(answer, Hung) and (late := await self._starved(spare, asked_at)):
                self.judge(Starved(late))
                asked_at = self.clock()
                spare = asyncio.create_task(self.spare.ask(self.spare_look, deadline=self.deadline_seconds))
                if await self.lane.comes_back(within=self.deadline_seconds):
                    return answer
        finally:
            spare.cancel()
        if isinstance(answer, Hung):
            self.judge(NoAnswer(self.deadline_seconds))
        return answer

    async def _starved(self, spare: "asyncio.Task[object]", asked_at: float) -> float:
        """For how long this is our own trouble and not the GPU's; 0 when it is the GPU's."""
        if late := self.pulse.stood_still_since(asked_at):
            return late
        return self.deadline_seconds if isinstance(await spare, Hung) else 0.0

"""Whether this process itself stood still: stopped, swapped out, or starved of the processor."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

BEAT_SECONDS = 0.5
LATE_SECONDS = 1.0
"""A beat that comes later than this after the last one was due is a standstill."""


@dataclass(slots=True)
class Pulse:
    """Beats while `run` runs. `clock` gives monotonic seconds."""

    clock: Callable[[], float]
    _last: float | None = None
    _stood_still: list[tuple[float, float]] = field(default_factory=list)

    async def run(self) -> None:
        """For ever."""
        while True:
            self.beat()
            await asyncio.sleep(BEAT_SECONDS)

    def beat(self) -> None:
        """Note the time; a gap since the last beat is remembered, the newest few of them."""
        now = self.clock()
        if self._last is not None and now - self._last > BEAT_SECONDS + LATE_SECONDS:
            self._stood_still = [*self._stood_still[-9:], (self._last, now)]
        self._last = now

    def stood_still_since(self, moment: float) -> float:
        """The seconds that this process stood still since `moment`; 0 when it did not."""
        self.beat()
        return sum(end - max(start, moment) for start, end in self._stood_still if end > moment)

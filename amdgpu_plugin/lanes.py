"""Lanes: where reads that may never return are done.

One lane is one daemon thread with a queue. A read stuck in the kernel cannot be ended by anyone, so it
costs its own lane and nothing else: the loop goes on, the other lanes go on, and the process can still
end (a ThreadPoolExecutor would be joined at exit, and hang with it).
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hung:
    """No answer within `seconds`."""

    seconds: float

    def __str__(self) -> str:
        """For people."""
        return f"no answer in {self.seconds:g} s"


@dataclass(slots=True)
class _Ask(Generic[T]):
    job: Callable[[], T]
    answer: "asyncio.Future[T]"


class Lane:
    """One daemon thread that does one job after another."""

    def __init__(self, name: str) -> None:
        """`name` is the thread's name: what `py-spy`, logs and `hung` call it."""
        self.name = name
        self._queue: queue.SimpleQueue[_Ask[object]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pending: asyncio.Future[object] | None = None
        self._asked_at = 0.0

    @property
    def stuck(self) -> bool:
        """True while a job asked earlier has not come back."""
        return self._pending is not None and not self._pending.done()

    async def ask(self, job: Callable[[], T], *, deadline: float) -> T | Hung:
        """The job's result, or Hung after `deadline` seconds.

        A lane still stuck in an earlier job takes no second one: that one is given its `deadline` as well,
        counted from when it was asked, and only if it ends by then is the new job done. What the job raises
        is raised here.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        while self.stuck:
            if not await self.comes_back(within=self._asked_at + deadline - loop.time()):
                return Hung(deadline)
        answer: asyncio.Future[T] = loop.create_future()
        answer.add_done_callback(_retrieve)
        self._pending = answer  # type: ignore[assignment]
        self._asked_at = started
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
            self._thread.start()
        self._queue.put(_Ask(job, answer))  # type: ignore[arg-type]
        await asyncio.wait([answer], timeout=max(0.0, deadline - (loop.time() - started)))
        return answer.result() if answer.done() else Hung(deadline)

    async def comes_back(self, *, within: float) -> bool:
        """Whether the job it is at ends within so many seconds; True where it is at none."""
        pending = self._pending
        if pending is not None and not pending.done() and within > 0:
            await asyncio.wait([pending], timeout=within)
        return pending is None or pending.done()

    def _work(self) -> None:
        while True:
            ask = self._queue.get()
            try:
                result: object = ask.job()
            except BaseException as error:  # noqa: BLE001 - carried to whoever asked
                _hand_over(ask.answer, error=error)
            else:
                _hand_over(ask.answer, result=result)
            del ask


def _retrieve(answer: "asyncio.Future[T]") -> None:
    # An answer that came after its deadline has nobody to look at its exception.
    if not answer.cancelled():
        answer.exception()


def _hand_over(
    answer: "asyncio.Future[object]", *, result: object = None, error: BaseException | None = None
) -> None:
    def settle() -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)

    try:
        answer.get_loop().call_soon_threadsafe(settle)
    except RuntimeError:
        return  # the loop is closed: the process is ending and nobody waits


class Turns:
    """Lets jobs of several lanes be done one after the other, though they are asked at once.

    Threads that read at the same time hand the GIL to each other at every system call. But nobody waits
    longer than `patience` seconds for a turn: a job that hangs holds up the others by that.
    """

    def __init__(self, patience: float) -> None:
        """All jobs made by one `of` of this object share the turns."""
        self._patience = patience
        self._turn = threading.Lock()

    def of(self, job: Callable[[], T]) -> Callable[[], T]:
        """The job, done in its turn."""

        def done_in_turn() -> T:
            mine = self._turn.acquire(timeout=self._patience)
            try:
                return job()
            finally:
                if mine:
                    self._turn.release()

        return done_in_turn


class Lanes:
    """The lanes of one process by name, each made when first asked for."""

    def __init__(self) -> None:
        """No lane has a thread until it is asked."""
        self._lanes: dict[str, Lane] = {}

    def __getitem__(self, name: str) -> Lane:
        """The lane of that name."""
        return self._lanes.setdefault(name, Lane(name))

    @property
    def stuck(self) -> tuple[str, ...]:
        """Names of the lanes that have not come back, sorted."""
        return tuple(sorted(name for name, lane in self._lanes.items() if lane.stuck))

    async def stuck_after(self, seconds: float) -> tuple[str, ...]:
        """Names of the lanes that do not come back within so many seconds, sorted."""
        await asyncio.gather(*(lane.comes_back(within=seconds) for lane in self._lanes.values()))
        return self.stuck

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from amdgpu_plugin.lanes import Hung, Lane, Lanes, Turns

SHORT = 0.05
LONG = 20.0


class Blocked:
    """A job that does not come back before it is let go."""

    def __init__(self) -> None:
        self._gate = threading.Event()

    def __call__(self) -> str:
        self._gate.wait()
        return "late"

    def let_go(self) -> None:
        self._gate.set()


async def free(lane: Lane) -> None:
    """Waits for the answer that a lane owes."""
    while lane.stuck:  # noqa: ASYNC110 - the lane has no event for this
        await asyncio.sleep(0.001)


async def test_job_is_done_on_the_lanes_own_daemon_thread() -> None:
    thread = await Lane("gpu 0000:05:00.0").ask(threading.current_thread, deadline=LONG)
    assert not isinstance(thread, Hung)
    assert (thread.name, thread.daemon) == ("gpu 0000:05:00.0", True)


async def test_all_jobs_of_a_lane_are_done_on_one_thread() -> None:
    lane = Lane("one")
    assert len({await lane.ask(threading.get_ident, deadline=LONG) for _ in range(5)}) == 1


async def test_asking_at_once_gets_each_its_own_answer() -> None:
    lane = Lane("busy")
    answers = await asyncio.gather(
        *(lane.ask(lambda number=number: number, deadline=LONG) for number in range(20))  # type: ignore[misc]
    )
    assert answers == list(range(20))


async def test_what_a_job_raises_is_raised_to_who_asked_and_the_lane_lives_on() -> None:
    lane = Lane("failing")
    with pytest.raises(ZeroDivisionError):
        await lane.ask(lambda: 1 // 0, deadline=LONG)
    assert await lane.ask(lambda: "fine", deadline=LONG) == "fine"


async def test_silent_job_is_hung_after_its_deadline_and_leaves_the_lane_stuck() -> None:
    lane, job = Lane("silent"), Blocked()
    assert await lane.ask(job, deadline=SHORT) == Hung(SHORT)
    assert lane.stuck
    job.let_go()
    await free(lane)


async def test_stuck_lane_takes_no_second_job() -> None:
    lane, job = Lane("stuck"), Blocked()
    done: list[str] = []
    await lane.ask(job, deadline=SHORT)
    assert isinstance(await lane.ask(lambda: done.append("second"), deadline=SHORT), Hung)
    job.let_go()
    await free(lane)
    await lane.ask(lambda: done.append("third"), deadline=LONG)
    assert done == ["third"]


async def test_lane_stuck_for_longer_than_the_deadline_is_hung_at_once() -> None:
    lane, job = Lane("stuck"), Blocked()
    await lane.ask(job, deadline=SHORT)
    asking = asyncio.create_task(lane.ask(job, deadline=SHORT))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asking.done()
    assert asking.result() == Hung(SHORT)
    job.let_go()
    await free(lane)


async def test_whether_a_lane_comes_back_can_be_waited_for() -> None:
    lane, job = Lane("slow"), Blocked()
    assert await lane.comes_back(within=0)
    await lane.ask(job, deadline=SHORT)
    assert not await lane.comes_back(within=SHORT)
    waiting = asyncio.create_task(lane.comes_back(within=LONG))
    await asyncio.sleep(0)
    job.let_go()
    assert await waiting


async def test_reads_that_end_soon_do_not_count_as_stuck() -> None:
    lanes, slow, stuck = Lanes(), Blocked(), Blocked()
    for name, job in (("slow", slow), ("stuck", stuck)):
        await lanes[name].ask(job, deadline=SHORT)
    waiting = asyncio.create_task(lanes.stuck_after(10 * SHORT))
    await asyncio.sleep(0)
    slow.let_go()
    assert await waiting == ("stuck",)
    stuck.let_go()
    await free(lanes["stuck"])


async def test_stuck_lane_that_comes_back_in_time_does_the_new_job() -> None:
    lane, job = Lane("slow"), Blocked()
    await lane.ask(job, deadline=SHORT)
    asking = asyncio.create_task(lane.ask(lambda: "new", deadline=LONG))
    await asyncio.sleep(0)
    job.let_go()
    assert await asking == "new"
    assert not lane.stuck


async def test_other_lanes_go_on_beside_a_stuck_one() -> None:
    lanes, job = Lanes(), Blocked()
    hung, fine = await asyncio.gather(
        lanes["ill"].ask(job, deadline=SHORT), lanes["well"].ask(lambda: "fine", deadline=LONG)
    )
    assert (hung, fine, lanes.stuck) == (Hung(SHORT), "fine", ("ill",))
    job.let_go()
    await free(lanes["ill"])
    assert lanes.stuck == ()


async def test_late_exception_of_a_job_disturbs_nobody() -> None:
    lane, gate = Lane("late"), threading.Event()

    def fail() -> None:
        gate.wait()
        raise OSError("late")

    assert await lane.ask(fail, deadline=SHORT) == Hung(SHORT)
    gate.set()
    await free(lane)
    assert await lane.ask(lambda: "fine", deadline=LONG) == "fine"


async def test_asking_can_be_cancelled_and_the_lane_still_answers_the_next() -> None:
    lane, job = Lane("cancelled"), Blocked()
    asking = asyncio.create_task(lane.ask(job, deadline=LONG))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert lane.stuck
    job.let_go()
    assert await lane.ask(lambda: "fine", deadline=LONG) == "fine"


async def test_lanes_of_one_name_are_one_lane() -> None:
    lanes = Lanes()
    assert lanes["a"] is lanes["a"]
    assert lanes["a"] is not lanes["b"]


async def test_lane_that_was_not_asked_has_no_thread() -> None:
    Lanes()["idle"]
    assert "idle" not in {thread.name for thread in threading.enumerate()}


def test_answer_after_the_loop_has_closed_is_dropped_in_silence() -> None:
    # an exception in the thread would be a warning, and fail the run
    lane, job = Lane("orphan"), Blocked()
    assert asyncio.run(lane.ask(job, deadline=SHORT)) == Hung(SHORT)
    handed_over = threading.Event()
    lane._queue.put(type("Ask", (), {"job": staticmethod(handed_over.set), "answer": lane._pending})())
    job.let_go()
    assert handed_over.wait(LONG)


@pytest.mark.parametrize(
    ("hung", "words"), [(Hung(2.0), "no answer in 2 s"), (Hung(0.25), "no answer in 0.25 s")]
)
def test_hung_reads_well_in_a_sentence(hung: Hung, words: str) -> None:
    assert str(hung) == words


ENDING = """
import asyncio, os, sys
from amdgpu_plugin.lanes import Hung, Lane

async def main():
    hung = await Lane("stuck").ask(lambda: open(sys.argv[1]).read(), deadline=0.1)
    assert isinstance(hung, Hung), hung
    print("ended")

asyncio.run(main())
"""


def test_process_with_a_stuck_lane_ends(tmp_path: object) -> None:
    import os

    fifo = f"{tmp_path}/fifo"
    os.mkfifo(fifo)
    ended = subprocess.run(
        [sys.executable, "-c", ENDING, fifo], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")


async def test_jobs_in_turn_are_done_one_at_a_time() -> None:
    lanes, turns = Lanes(), Turns(LONG)
    at_once, most = 0, 0

    def job() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        os.sched_yield()
        at_once -= 1

    names = [str(number) for number in range(8)]
    for _ in range(20):
        await asyncio.gather(*(lanes[name].ask(turns.of(job), deadline=LONG) for name in names))
    assert most == 1


async def test_a_job_that_hangs_in_its_turn_holds_up_the_others_only_so_long() -> None:
    lanes, turns, blocked = Lanes(), Turns(SHORT), Blocked()
    hung = asyncio.create_task(lanes["ill"].ask(turns.of(blocked), deadline=20 * SHORT))
    await asyncio.sleep(0)
    answers = await asyncio.gather(
        *(lanes[str(number)].ask(turns.of(lambda: "fine"), deadline=LONG) for number in range(4))
    )
    assert answers == ["fine"] * 4
    blocked.let_go()
    assert not isinstance(await hung, Hung)


async def test_a_turn_is_given_back_by_a_job_that_raises() -> None:
    lanes, turns = Lanes(), Turns(LONG)

    def fails() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await lanes["one"].ask(turns.of(fails), deadline=LONG)
    assert await lanes["two"].ask(turns.of(lambda: "next"), deadline=SHORT) == "next"

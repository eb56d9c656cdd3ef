"""KFD's nodes over lanes: all in one go, and around those that hang.

Which GPU a node belongs to is not known before it is read, so a node that hangs cannot be confined to its
GPU's lane: it keeps the lane it hangs in, and the rest is read in another.
"""

import asyncio
from functools import partial
from itertools import chain, count

from amdgpu_plugin.discovery import kfd
from amdgpu_plugin.discovery.inventory import KfdAccess, Skipped
from amdgpu_plugin.lanes import Hung, Lane, Lanes
from amdgpu_plugin.sysfs import Absent, Refused, Sysfs

_PATIENCE_SHARE = 1 / 8
"""Of the deadline, for one node: so that there is time for the others."""
DENIED = "denied: no device-cgroup access to its render node"
_LISTING = -1
"""Stands among the numbers of stuck nodes for the list of them."""


class KfdReader:
    """Reads the topology again and again; remembers which nodes hold which lanes."""

    def __init__(self, sysfs: Sysfs, lanes: Lanes) -> None:
        """Nothing is read before `read`."""
        self._sysfs = sysfs
        self._lanes = lanes
        self._stuck: dict[int, Lane] = {}

    async def read(self, *, deadline: float) -> kfd.KfdTopology:
        """The topology within `deadline` seconds; nodes that did not answer are named in it."""
        patience = deadline * _PATIENCE_SHARE
        self._stuck = {number: lane for number, lane in self._stuck.items() if lane.stuck}
        numbers = await self._list(patience)
        if isinstance(numbers, Hung):
            return kfd.KfdTopology("readable", (), skipped=(Skipped(kfd.NODES, str(numbers)),))
        if isinstance(numbers, Absent):
            return kfd.KfdTopology("absent", ())
        if isinstance(numbers, Refused):
            return kfd.KfdTopology("denied", (), skipped=(Skipped(kfd.NODES, str(numbers)),))
        return _topology(await self._answers(numbers, patience, deadline), numbers, patience)

    async def _list(self, patience: float) -> tuple[int, ...] | Absent | Refused | Hung:
        if _LISTING in self._stuck:
            return Hung(patience)
        lane = self._free_lane()
        numbers = await lane.ask(partial(kfd.list_nodes, self._sysfs), deadline=patience)
        if isinstance(numbers, Hung):
            self._stuck[_LISTING] = lane
        return numbers

    async def _answers(
        self, numbers: tuple[int, ...], patience: float, deadline: float
    ) -> dict[int, kfd.NodeAnswer]:
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline
        answers: dict[int, kfd.NodeAnswer] = {}
        left = [number for number in numbers if number not in self._stuck]
        while left and loop.time() < end:
            walk, lane = _Walk(self._sysfs, left, frozenset(numbers)), self._free_lane()
            if not await _done(walk, lane, patience, end):
                self._stuck[walk.current] = lane
            answers |= walk.answers
            left = [number for number in left if number not in answers and number not in self._stuck]
        return answers

    def _free_lane(self) -> Lane:
        names = chain(("kfd",), (f"kfd {number}" for number in count(2)))
        return next(lane for name in names if not (lane := self._lanes[name]).stuck)


class _Walk:
    """Reads node after node, in a lane; `answers` and `current` tell the loop how far it came."""

    def __init__(self, sysfs: Sysfs, numbers: list[int], existing: frozenset[int]) -> None:
        self._sysfs = sysfs
        self._numbers = numbers
        self._existing = existing
        self.current = numbers[0]
        self.answers: dict[int, kfd.NodeAnswer] = {}
        self.given_up = False

    def run(self) -> None:
        for number in self._numbers:
            self.current = number
            answer = kfd.read_node(self._sysfs, number, self._existing)
            if self.given_up:
                return
            # Replaced, not changed: the loop reads it from its own thread.
            self.answers = self.answers | {number: answer}


async def _done(walk: _Walk, lane: Lane, patience: float, end: float) -> bool:
    """False when one node took longer than `patience` seconds; a walk that comes on is waited for.

    `end` is the loop's time at which even that is given up.
    """
    loop = asyncio.get_running_loop()
    came_to = walk.current
    ended = not isinstance(await lane.ask(walk.run, deadline=patience), Hung)
    while not ended and walk.current != came_to and loop.time() < end:
        came_to = walk.current
        ended = await lane.comes_back(within=patience)
    walk.given_up = not ended
    return ended


def _topology(
    answers: dict[int, kfd.NodeAnswer], numbers: tuple[int, ...], patience: float
) -> kfd.KfdTopology:
    hung = tuple(number for number in numbers if number not in answers)
    denied = [number for number, answer in answers.items() if isinstance(answer, kfd.Denied)]
    broken = [answer for answer in answers.values() if isinstance(answer, Skipped)]
    access: KfdAccess = "denied" if denied else "readable"
    return kfd.KfdTopology(
        access=access,
        nodes=tuple(answer for _, answer in sorted(answers.items()) if isinstance(answer, kfd.KfdNode)),
        complete=not (denied or hung or broken),
        hung=hung,
        skipped=(
            *broken,
            *(Skipped(kfd.node_path(number), str(Hung(patience))) for number in hung),
            *(Skipped(kfd.node_path(number), DENIED) for number in denied),
        ),
    )

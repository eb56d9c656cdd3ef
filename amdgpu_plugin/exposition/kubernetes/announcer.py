"""Tells changes of health as Kubernetes Events: made when they happen, sent when the API server is there."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from amdgpu_plugin.exposition.kubernetes.event import Event, event
from amdgpu_plugin.exposition.kubernetes.outbox import Outbox, Way, way
from amdgpu_plugin.exposition.kubernetes.problems import Problem
from amdgpu_plugin.exposition.kubernetes.rest import Request
from amdgpu_plugin.exposition.kubernetes.speaking import FORBIDDEN_PAUSE_SECONDS, Speaker, pause
from amdgpu_plugin.exposition.kubernetes.standing import Subject, gpus
from amdgpu_plugin.exposition.kubernetes.story import Story, Told
from amdgpu_plugin.health.evidence import Moment
from amdgpu_plugin.instruments import Instruments
from amdgpu_plugin.node import Latest, NodeState

log = logging.getLogger(__name__)

TICK_SECONDS = 5.0
"""How often it is looked for what a limit held back, and for what may be told to be over by now."""
SKEW_SECONDS = 60.0
"""By how much the API server's clock may differ from ours."""

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class Announcer:
    """`keep` is given what was told and sent, whenever that changes: a later daemon should know it."""

    node: Latest[NodeState]
    name: str
    speaker: Speaker
    story: Story
    instruments: Instruments
    keep: Callable[[dict[Subject, Told]], Awaitable[None]]
    moment: Callable[[], Moment]
    simulated: bool = False
    sleep: Sleep = asyncio.sleep
    outbox: Outbox = field(default_factory=Outbox)
    _sent: dict[Subject, Told] = field(init=False)
    _pauses: dict[Way, float] = field(default_factory=dict)
    _number: int = 0
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """What was told before was sent as well."""
        self._sent = dict(self.story.told)

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="events: node")
            group.create_task(self._tick(), name="events: clock")
            group.create_task(self._send(), name="events: api server")

    # -- Making --

    async def _follow(self) -> None:
        async for _ in self.node.follow():
            # First who gives out devices, and then who reads of it.
            await asyncio.sleep(0)
            self._look()

    async def _tick(self) -> None:
        while True:
            await self.sleep(TICK_SECONDS)
            self._look()

    def _look(self) -> None:
        state, story, result = self.node.value, self.story, self.instruments.kubernetes_events
        held_back, dropped = story.held_back, self.outbox.dropped
        known = None
        for change in story.follow(state, self.moment()):
            known = known or gpus(state)
            self._number = max(self._number + 1, time.time_ns())
            gpu = known.get(change.subject.gpu)
            self.outbox.put(event(change, gpu, node=self.name, number=self._number, simulated=self.simulated))
            self._wanted.set()
        result.labels("held_back").inc(story.held_back - held_back)
        result.labels("dropped").inc(self.outbox.dropped - dropped)

    # -- Sending --

    async def _send(self) -> None:
        waited = 0.0
        while True:
            found = await self._next()
            problem = await self._deliver(found)
            if problem is not None and self._holds_one_way(found, problem):
                continue
            if problem is not None and problem.passes:
                waited = pause(problem, waited)
                await self.sleep(waited)
                continue
            waited = 0.0
            self._pauses.pop(way(found), None)
            self.outbox.done(found)
            # Who asks twice because an answer got lost hears of a conflict.
            came = problem is None or problem.kind == "conflict"
            self.instruments.kubernetes_events.labels("sent" if came else "failed").inc()
            await self._remember(found)

    def _holds_one_way(self, found: Event, problem: Problem) -> bool:
        """True where others may well be taken, and need not wait."""
        if problem.kind == "forbidden" and not problem.namespace_ends:
            seconds = FORBIDDEN_PAUSE_SECONDS
        elif problem.faulty:
            seconds = self._pauses[way(found)] = pause(problem, self._pauses.get(way(found), 0.0))
        else:
            return False
        self.outbox.hold(found, self.moment().monotonic + seconds)
        return True

    async def _next(self) -> Event:
        while True:
            self._wanted.clear()
            if (found := self.outbox.next(self.moment().monotonic)) is not None:
                return found
            if len(self.outbox):
                await self.sleep(TICK_SECONDS)
            else:
                await self._wanted.wait()

    async def _deliver(self, found: Event) -> Problem | None:
        body = found.body
        if found.pod:
            uid = await self._uid(found)
            if isinstance(uid, Problem):
                return uid
            body = found.about(uid)
        path = f"/api/v1/namespaces/{quote(found.namespace)}/events"
        doing = f"create events in namespace {found.namespace}"
        request = Request("POST", path, doing, json.dumps(body).encode())
        answer = await self.speaker.ask(request, expected=("conflict", "not_found"))
        return answer if isinstance(answer, Problem) else None

    async def _uid(self, found: Event) -> str | Problem:
        """Of the pod that held the device then, and not of a later one of that name."""
        path = f"/api/v1/namespaces/{quote(found.namespace)}/pods/{quote(found.pod)}"
        request = Request("GET", path, f"get pods in namespace {found.namespace}")
        answer = await self.speaker.ask(request, expected=("not_found",))
        if isinstance(answer, Problem):
            return answer
        try:
            made = datetime.fromisoformat(answer["metadata"]["creationTimestamp"]).timestamp()
            uid = str(answer["metadata"]["uid"])
        except (KeyError, TypeError, ValueError):
            return Problem("refused", f"{path} is no pod")
        if made > found.at + SKEW_SECONDS:
            return Problem("not_found", "the pod is gone, and another has its name")
        return uid

    async def _remember(self, found: Event) -> None:
        subject, told = found.change.subject, found.change.told
        before = self._sent.get(subject)
        if told is None:
            self._sent.pop(subject, None)
        else:
            self._sent[subject] = told
        if before != told:
            waiting = {each.change.subject for each in self.outbox.waiting}
            self._sent = {
                each: what for each, what in self._sent.items() if each in self.story.told or each in waiting
            }
            await self.keep(dict(self._sent))

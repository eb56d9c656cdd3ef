"""Keeps the node condition AMDGPUUnhealthy true: said when it changes, and every few minutes again."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from amdgpu_plugin.exposition.kubernetes import node_condition
from amdgpu_plugin.exposition.kubernetes.node_condition import Ill, Wording
from amdgpu_plugin.exposition.kubernetes.problems import Problem
from amdgpu_plugin.exposition.kubernetes.rest import METADATA_ONLY, Request
from amdgpu_plugin.exposition.kubernetes.speaking import FORBIDDEN_PAUSE_SECONDS, Speaker, pause
from amdgpu_plugin.health.evidence import Moment
from amdgpu_plugin.node import Latest, NodeState

TICK_SECONDS = 5.0
"""How often it is looked at; a word or a GPU more in the message waits for the next."""
HEARTBEAT_SECONDS = 300.0
"""As often as the kubelet says that its own conditions still hold (nodeStatusReportFrequency)."""
STRATEGIC = "application/strategic-merge-patch+json"
WHOLE = "application/json"

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class ConditionKeeper:
    """`settled_at` is in monotonic seconds: before it nothing is said to be well."""

    node: Latest[NodeState]
    name: str
    speaker: Speaker
    delay_seconds: float
    settled_at: float
    moment: Callable[[], Moment]
    simulated: bool = False
    sleep: Sleep = asyncio.sleep
    _ills: dict[str, Ill] = field(default_factory=dict)
    _known: bool = False
    _status: str | None = None
    _said: Wording | None = None
    _said_at: float = 0.0

    async def run(self) -> None:
        """For ever."""
        waited = 0.0
        while True:
            problem = await self.look()
            if problem is None:
                waited = 0.0
                await self.sleep(TICK_SECONDS)
            elif problem.passes or problem.kind == "conflict":
                waited = pause(problem, waited)
                await self.sleep(waited)
            else:
                await self.sleep(FORBIDDEN_PAUSE_SECONDS)

    async def look(self) -> Problem | None:
        """One look at the node, and a word to the API server if there is one to say."""
        now, state = self.moment(), self.node.value
        self._ills = node_condition.ill(self._ills, state, now)
        settled = now.monotonic >= self.settled_at
        wanted = node_condition.wording(
            self._ills,
            state,
            now=now.monotonic,
            delay_seconds=self.delay_seconds,
            settled=settled,
            simulated=self.simulated,
        )
        # While it should stay as it is, only the heartbeat goes on.
        wording = wanted or self._said
        if wording is None or (wording == self._said and now.monotonic - self._said_at < HEARTBEAT_SECONDS):
            return None
        if not self._known:
            problem = await self._read()
            if problem is not None:
                return problem
        return await self._say(wording, now)

    async def _read(self) -> Problem | None:
        """What an earlier daemon left: a patch that changes nothing is answered with the Node."""
        answer = await self._patch({}, WHOLE)
        if isinstance(answer, Problem):
            return answer
        self._known, self._status = True, node_condition.status_in(answer)
        return None

    async def _say(self, wording: Wording, now: Moment) -> Problem | None:
        transition = None if self._status == wording.status else now.unix
        answer = await self._patch(
            node_condition.patch(wording, heartbeat=now.unix, transition=transition), METADATA_ONLY
        )
        if isinstance(answer, Problem):
            return answer
        self._status, self._said, self._said_at = wording.status, wording, now.monotonic
        return None

    async def _patch(self, body: dict[str, Any], accept: str) -> Any | Problem:
        request = Request(
            "PATCH",
            f"/api/v1/nodes/{quote(self.name)}/status",
            f"patch nodes/status of {self.name}",
            json.dumps(body).encode(),
            STRATEGIC,
            accept,
        )
        return await self.speaker.ask(request)

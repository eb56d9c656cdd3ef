"""Asking the API server, counting what goes wrong, and saying it once until it goes well again."""

import json
import logging
from collections.abc import Container
from typing import Any

from amdgpu_plugin.exposition.kubernetes.problems import Problem, ProblemKind
from amdgpu_plugin.exposition.kubernetes.rest import Client, Request
from amdgpu_plugin.instruments import Instruments

log = logging.getLogger(__name__)

NOTHING_EXPECTED: Container[ProblemKind] = ()
MOST_SAID = 200
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
FORBIDDEN_PAUSE_SECONDS = 300.0


class Speaker:
    """The client of all that is told to Kubernetes. What it said is forgotten when the same works again."""

    def __init__(self, client: Client, instruments: Instruments) -> None:
        """`instruments` count problems by kind."""
        self._client = client
        self._errors = instruments.kubernetes_errors
        self._said: set[tuple[str, str]] = set()

    async def ask(
        self, request: Request, expected: Container[ProblemKind] = NOTHING_EXPECTED
    ) -> Any | Problem:
        """The answer's JSON. `expected` problems are not said."""
        answer = await self._client.ask(request)
        if not isinstance(answer, Problem):
            answer = _json(answer)
        if isinstance(answer, Problem):
            self._errors.labels(answer.kind).inc()
            if answer.kind not in expected and not answer.namespace_ends:
                self._say(answer, request)
        else:
            self._works(request)
        return answer

    def _say(self, problem: Problem, request: Request) -> None:
        """Once for each kind, and for each thing that is not allowed."""
        key = (problem.kind, "" if problem.passes else request.doing)
        if key in self._said or len(self._said) >= MOST_SAID:
            return
        self._said.add(key)
        fields = {"error": problem.told, "remedy": problem.remedy or None}
        log.warning("Kubernetes is not told", extra={"fields": {k: v for k, v in fields.items() if v}})

    def _works(self, request: Request) -> None:
        mended = {key for key in self._said if key[1] in {"", request.doing}}
        if mended:
            self._said -= mended
            log.info("Kubernetes is told again", extra={"fields": {"doing": request.doing}})


def pause(problem: Problem, before: float) -> float:
    """Seconds until the next try, after a pause of `before`."""
    longer = min(max(before * 2, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
    return max(longer, problem.retry_after_seconds or 0.0)


def _json(body: bytes) -> Any | Problem:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return Problem("garbled", "the API server's answer is no JSON", "is KUBERNETES_SERVICE_HOST right?")

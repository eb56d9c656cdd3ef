"""Pages that cost something, made in a lane of their own and once for each snapshot, however many ask.

Rendering holds the interpreter for milliseconds: on the loop it would hold up the kubelet's calls.
"""

import asyncio
import hashlib
import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from prometheus_client import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from amdgpu_plugin.exposition.api import node_document
from amdgpu_plugin.exposition.metrics import families
from amdgpu_plugin.exposition.snapshot import Snapshot

if TYPE_CHECKING:
    from amdgpu_plugin.lanes import Lane

RENDER_SECONDS = 5.0
"""The longest that a page is waited for: a machine that slow has other troubles."""

Format = Literal["classic", "openmetrics"]
_END = b"# EOF\n"


class Collected(Protocol):
    """What prometheus-client renders."""

    def collect(self) -> Iterator[Metric]:
        """The metrics, with their samples."""


@dataclass(frozen=True, slots=True)
class _Page:
    snapshot: Snapshot
    body: bytes


@dataclass(frozen=True, slots=True)
class Tagged:
    """A page, and the ETag that says whether a later one is the same."""

    body: bytes
    tag: str


class Renderer:
    """`counted` are the daemon's own counters: they change all the time, are few, and rendered each time."""

    def __init__(self, snapshot: Callable[[], Snapshot], counted: Collected, lane: "Lane") -> None:
        """The lane is used for nothing else."""
        self._snapshot = snapshot
        self._counted = counted
        self._lane = lane
        self._pages: dict[str, _Page] = {}
        self._turn = asyncio.Lock()

    async def metrics(self, wanted: Format) -> tuple[bytes, ...]:
        """The page for Prometheus. TimeoutError when it is not made in time."""
        async with self._turn:
            node = await self._page(wanted, lambda snapshot: exposed(node_metrics(snapshot), wanted))
            own = await self._made(partial(exposed, self._counted, wanted))
        return (node, own, _END) if wanted == "openmetrics" else (node, own)

    async def node(self) -> bytes:
        """The node as JSON. TimeoutError when it is not made in time."""
        async with self._turn:
            return await self._page("node", lambda snapshot: json.dumps(node_document(snapshot)).encode())

    async def status(self) -> Tagged:
        """The page for people. TimeoutError when it is not made in time."""
        async with self._turn:
            body = await self._page("status", _status_page)
        return Tagged(body, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"')

    async def _page(self, name: str, make: Callable[[Snapshot], bytes]) -> bytes:
        # Taken in our turn: who waited finds the page of who went before.
        snapshot = self._snapshot()
        held = self._pages.get(name)
        if held is None or not held.snapshot.is_same_as(snapshot):
            held = self._pages[name] = _Page(snapshot, await self._made(partial(make, snapshot)))
        return held.body

    async def _made(self, make: Callable[[], bytes]) -> bytes:
        made = await self._lane.ask(make, deadline=RENDER_SECONDS)
        if not isinstance(made, bytes):
            raise TimeoutError(str(made))
        return made


def _status_page(snapshot: Snapshot) -> bytes:
    # Imported when first asked for: on most nodes nobody ever looks.
    page: bytes = importlib.import_module("amdgpu_plugin.exposition.page.document").status_page(snapshot)
    return page


@dataclass(frozen=True, slots=True)
class _OfNode:
    snapshot: Snapshot

    def collect(self) -> Iterator[Metric]:
        return families(self.snapshot)


def node_metrics(snapshot: Snapshot) -> Collected:
    """The node's metrics, collected whenever they are rendered."""
    return _OfNode(snapshot)


def exposed(collected: Collected, wanted: Format) -> bytes:
    """In that format, without OpenMetrics' last line."""
    if wanted == "classic":
        return generate_latest(collected)
    # All our names are plain: to allow others spares looking at each of their letters, a third of the time.
    page: bytes = openmetrics.generate_latest(collected, openmetrics.ALLOWUTF8)  # type: ignore[no-untyped-call]
    return page.removesuffix(_END)

"""The pages: which path answers what."""

from collections.abc import Callable
from http import HTTPStatus

from amdgpu_plugin.exposition.messages import Request, Response, text
from amdgpu_plugin.exposition.negotiation import prefers_openmetrics
from amdgpu_plugin.exposition.readiness import readiness
from amdgpu_plugin.exposition.rendering import Renderer
from amdgpu_plugin.exposition.snapshot import Snapshot

CLASSIC = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_INDEX = b"""\
<!DOCTYPE html>
<html lang="en">
<title>amdgpu-plugin</title>
<h1>amdgpu-plugin</h1>
<ul>
<li><a href="/metrics">/metrics</a>: for Prometheus
<li><a href="/api/v1/node">/api/v1/node</a>: this node as JSON
<li><a href="/healthz">/healthz</a>: whether the daemon runs
<li><a href="/readyz">/readyz</a>: whether the kubelet hears of every device
</ul>
"""


class Site:
    """Answers requests; `index` is whether there is a page at `/`."""

    def __init__(self, snapshot: Callable[[], Snapshot], renderer: Renderer, *, index: bool) -> None:
        """Nothing is rendered before somebody asks."""
        self._snapshot = snapshot
        self._renderer = renderer
        self._pages = {
            "/metrics": self._metrics,
            "/healthz": self._alive,
            "/readyz": self._ready,
            "/api/v1/node": self._node,
        } | ({"/": self._start} if index else {})

    async def answer(self, request: Request) -> Response:
        """The page at that path, or 404. TimeoutError when it is not made in time."""
        page = self._pages.get(request.path)
        return text(HTTPStatus.NOT_FOUND, "no such page") if page is None else await page(request)

    async def _metrics(self, request: Request) -> Response:
        if prefers_openmetrics(request.accept):
            return Response(HTTPStatus.OK, await self._renderer.metrics("openmetrics"), OPENMETRICS)
        return Response(HTTPStatus.OK, await self._renderer.metrics("classic"), CLASSIC)

    async def _node(self, request: Request) -> Response:  # noqa: ARG002
        return Response(HTTPStatus.OK, (await self._renderer.node(),), "application/json")

    async def _alive(self, request: Request) -> Response:  # noqa: ARG002
        # The loop turns over: else this would not be said.
        return text(HTTPStatus.OK, "ok")

    async def _ready(self, request: Request) -> Response:  # noqa: ARG002
        found = readiness(self._snapshot())
        status = HTTPStatus.OK if found.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return text(status, "\n".join(("ready" if found.ready else "not ready", *found.reasons)))

    async def _start(self, request: Request) -> Response:  # noqa: ARG002
        return Response(HTTPStatus.OK, (_INDEX,), "text/html; charset=utf-8")

"""The pages: which path answers what."""

from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from importlib.resources import files

from amdgpu_plugin.exposition.messages import Request, Response, text
from amdgpu_plugin.exposition.negotiation import names, prefers_openmetrics
from amdgpu_plugin.exposition.readiness import readiness
from amdgpu_plugin.exposition.rendering import Renderer
from amdgpu_plugin.exposition.snapshot import Snapshot

CLASSIC = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the status page: our own files, and no code or style inside it."""
_ASSETS = {
    "/page.css": ("page/page.css", "text/css; charset=utf-8"),
    "/picture.css": ("picture/picture.css", "text/css; charset=utf-8"),
    "/page.js": ("page/page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("page/icon.svg", "image/svg+xml"),
}


class Site:
    """Answers requests; `status_page` is whether there is a page at `/`."""

    def __init__(self, snapshot: Callable[[], Snapshot], renderer: Renderer, *, status_page: bool) -> None:
        """Nothing is rendered before somebody asks."""
        self._snapshot = snapshot
        self._renderer = renderer
        self._pages = {
            "/metrics": self._metrics,
            "/healthz": self._alive,
            "/readyz": self._ready,
            "/api/v1/node": self._node,
        } | ({"/": self._status} | dict.fromkeys(_ASSETS, self._asset) if status_page else {})

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

    async def _status(self, request: Request) -> Response:
        made = await self._renderer.status()
        headers = (("ETag", made.tag),)
        if names(request.if_none_match, made.tag):
            return Response(HTTPStatus.NOT_MODIFIED, (), policy=PAGE_POLICY, headers=headers)
        return Response(HTTPStatus.OK, (made.body,), "text/html; charset=utf-8", PAGE_POLICY, headers)

    async def _asset(self, request: Request) -> Response:
        name, content_type = _ASSETS[request.path]
        return Response(HTTPStatus.OK, (_file(name),), content_type)


@lru_cache
def _file(name: str) -> bytes:
    return files("amdgpu_plugin.exposition").joinpath(name).read_bytes()

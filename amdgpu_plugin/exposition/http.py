"""HTTP/1.1 for a few pages that are only read: h11 on asyncio's streams.

Every client is taken for silent, slow or hostile: heads are bounded, each phase of a connection has a time
limit, and at the limit of connections the one that has kept us waiting for longest makes room for the newest.
What a client does costs nobody but itself.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

import h11

from amdgpu_plugin.exposition.messages import Answer, Request, Response, text

log = logging.getLogger(__name__)

METHODS = ("GET", "HEAD")
SLICE_BYTES = 32 * 1024
"""Of a body, what is handed to a connection at once: that is all a slow reader keeps in memory."""
PIPELINED = 32
"""Requests sent ahead that are answered; then the connection ends."""
LINGER_BYTES = 256 * 1024
"""Of what a refused client still sends, what is read so that it can read why."""

SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take. Idle is before the first byte of a request, also between two requests."""

    connections: int = 256
    head_bytes: int = 16 * 1024
    idle_seconds: float = 120.0
    head_seconds: float = 10.0
    answer_seconds: float = 10.0
    write_seconds: float = 10.0
    linger_seconds: float = 1.0


class HttpServer:
    """Answers on sockets that listen already, while `run` runs; it may run again after it failed."""

    def __init__(
        self, sockets: Sequence[socket.socket], answer: Answer, limits: Limits | None = None
    ) -> None:
        """`answer` makes the page for a GET or HEAD; what it raises becomes a 500."""
        self._sockets = sockets
        self._answer = answer
        self._limits = limits or Limits()
        self._open: dict[_Connection, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """For ever; when cancelled, every connection is closed before this returns."""
        limit = self._limits.head_bytes
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._close_all)
            for listening in self._sockets:
                # A duplicate: the server closes its own, and clients wait in the queue of ours.
                own = stack.enter_context(listening.dup())
                server = await asyncio.start_server(self._accept, sock=own, limit=limit)
                stack.callback(server.close)
            await asyncio.Event().wait()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= self._limits.connections:
            longest = min(self._open, key=lambda connection: connection.waiting)
            self._open.pop(longest).cancel()
        # Else a body waits 40 ms until the client acknowledges the head. asyncio's _set_nodelay passes over
        # sockets that do not tell their protocol, such as those accepted here.
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(reader, writer, self._answer, self._limits)
        task = asyncio.create_task(connection.serve(), name="http connection")
        self._open[connection] = task
        task.add_done_callback(lambda _task: self._ended(connection))

    def _ended(self, connection: "_Connection") -> None:
        # Not left to the task, which may have been cancelled before it began.
        self._open.pop(connection, None)
        connection.writer.transport.abort()

    async def _close_all(self) -> None:
        tasks = list(self._open.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


@dataclass(slots=True, eq=False)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    answer: Answer
    limits: Limits
    wire: h11.Connection = field(init=False)
    ahead: int = 0
    """Requests in a row that were sent before the answer to the one before."""
    waiting: tuple[bool, float] = field(init=False)
    """Whether we, and not the client, are what is waited for; and since when (loop time)."""

    def __post_init__(self) -> None:
        self.wire = h11.Connection(h11.SERVER, max_incomplete_event_size=self.limits.head_bytes)
        # Drained is then what the kernel has taken, all of it.
        self.writer.transport.set_write_buffer_limits(high=0)
        self._wait_for_client()

    async def serve(self) -> None:
        """Until either side ends the connection."""
        try:
            while await self._exchange():
                self.wire.start_next_cycle()
            await self._linger()
        except (OSError, TimeoutError):
            return  # who goes away, or does not read, needs no answer
        except Exception:
            log.exception("a fault of ours ends an HTTP connection")

    async def _exchange(self) -> bool:
        """One request and its answer; True when another may follow."""
        self._wait_for_client()
        try:
            request = await self._next_request()
        except h11.RemoteProtocolError as error:
            return await self._refuse(error.error_status_hint)
        except TimeoutError:
            return await self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        if request is None:
            return False
        self.waiting = (True, self.waiting[1])
        response = await self._page(request)
        self._wait_for_client()
        # Who sends requests by the thousand without waiting gets a few answers, and others their turn.
        self.ahead = self.ahead + 1 if self.wire.trailing_data[0] else 0
        await asyncio.sleep(0)
        # A body is never read: the connection ends with the answer.
        last = self.wire.their_state is not h11.DONE or self.ahead >= PIPELINED
        await self._send(response, head=request.method == b"HEAD", close=last)
        return not last and self.wire.our_state is h11.DONE

    async def _next_request(self) -> h11.Request | None:
        """The next head; None where the client ends or says nothing. RemoteProtocolError, TimeoutError."""
        if (event := self.wire.next_event()) is h11.NEED_DATA and not self.wire.trailing_data[0]:
            try:
                async with asyncio.timeout(self.limits.idle_seconds):
                    event = await self._receive()
            except TimeoutError:
                return None
        async with asyncio.timeout(self.limits.head_seconds):
            while event is h11.NEED_DATA:
                event = await self._receive()
        if not isinstance(event, h11.Request):
            return None
        # Where no body follows, this ends the request.
        self.wire.next_event()
        return event

    async def _receive(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        self.wire.receive_data(await self.reader.read(self.limits.head_bytes))
        return self.wire.next_event()

    async def _page(self, request: h11.Request) -> Response:
        if request.method.decode("ascii") not in METHODS:
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", ("Allow", ", ".join(METHODS)))
        asked = Request(
            _path(request.target), _header(request, b"accept"), _header(request, b"if-none-match")
        )
        try:
            async with asyncio.timeout(self.limits.answer_seconds):
                return await self.answer(asked)
        except TimeoutError:
            return text(HTTPStatus.SERVICE_UNAVAILABLE, "no answer in time")
        except Exception:
            log.exception("a fault of ours", extra={"fields": {"path": asked.path}})
            return text(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the plugin's: its log says more")

    async def _refuse(self, status: int) -> bool:
        if self.wire.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self._send(text(status, HTTPStatus(status).phrase.lower()), close=True)
        return False

    async def _send(self, response: Response, *, close: bool, head: bool = False) -> None:
        async with asyncio.timeout(self.limits.write_seconds):
            for piece in self._on_the_wire(response, head=head, close=close):
                self.writer.write(piece)
                await self.writer.drain()

    def _on_the_wire(self, response: Response, *, head: bool, close: bool) -> Iterator[bytes]:
        headers = [
            ("Date", formatdate(usegmt=True)),
            # What is said of a page that did not change would have to be said of the page itself.
            *([] if response.status == HTTPStatus.NOT_MODIFIED else _about_body(response)),
            ("Content-Security-Policy", response.policy),
            *SECURITY_HEADERS,
            *response.headers,
            *([("Connection", "close")] if close else []),
        ]
        reason = HTTPStatus(response.status).phrase
        yield self._sent(h11.Response(status_code=response.status, headers=headers, reason=reason))
        if not head:
            for part in response.body:
                for begin in range(0, len(part), SLICE_BYTES):
                    yield self._sent(h11.Data(data=part[begin : begin + SLICE_BYTES]))
        yield self._sent(h11.EndOfMessage())

    def _sent(self, event: h11.Event) -> bytes:
        return self.wire.send(event) or b""

    async def _linger(self) -> None:
        """Let the client read the answer: a socket closed with bytes unread makes its kernel drop it."""
        if self.writer.is_closing() or not self.writer.can_write_eof():
            return
        self.writer.write_eof()
        left = LINGER_BYTES
        async with asyncio.timeout(self.limits.linger_seconds):
            while left > 0 and (data := await self.reader.read(SLICE_BYTES)):
                left -= len(data)

    def _wait_for_client(self) -> None:
        self.waiting = (False, asyncio.get_running_loop().time())


def _about_body(response: Response) -> list[tuple[str, str]]:
    return [
        ("Content-Type", response.content_type),
        ("Content-Length", str(sum(map(len, response.body)))),
    ]


def _header(request: h11.Request, wanted: bytes) -> str:
    return b",".join(value for name, value in request.headers if name == wanted).decode("latin-1")


def _path(target: bytes) -> str:
    """The path of `/metrics?x=1`, and of `http://host/metrics` as proxies may write it."""
    path = target.decode("latin-1").partition("?")[0]
    if path.lower().startswith("http://"):
        path = "/" + path[len("http://") :].partition("/")[2]
    return path

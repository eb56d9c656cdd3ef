"""One HTTPS request to the Kubernetes API and its answer: h11 on asyncio's streams.

A connection for each request: there are a few in an hour, and one that is kept would have to be watched.
Every phase has a deadline and an answer a bound, since whoever answers may hang, or be somebody else.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

import h11

from amdgpu_plugin import __version__
from amdgpu_plugin.exposition.kubernetes.problems import Problem, refused
from amdgpu_plugin.exposition.kubernetes.service_account import ApiServer

METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""What is asked for where the object itself is of no use: a Node may have hundreds of kilobytes."""
_READ_BYTES = 32 * 1024
_OK = range(200, 300)


@dataclass(frozen=True, slots=True)
class Request:
    """`doing` is for people, as in `get pods in namespace team`: what a permission is about as well."""

    method: str
    path: str
    doing: str
    body: bytes = b""
    content_type: str = "application/json"
    accept: str = METADATA_ONLY


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one request. The largest object that etcd takes is 1.5 MiB.

    Pieces are heads, and chunks of the body: Go's server makes them of 2 KiB (chunkWriter in net/http).
    """

    connect_seconds: float = 10.0
    send_seconds: float = 10.0
    head_seconds: float = 20.0
    body_seconds: float = 20.0
    answer_bytes: int = 2 * 1024 * 1024
    answer_pieces: int = 8192
    head_bytes: int = 64 * 1024


@dataclass(slots=True)
class Client:
    """Asks the API server that `place` tells, each time anew. What goes wrong is a Problem, no exception."""

    place: Callable[[], ApiServer | Problem]
    limits: Limits = field(default_factory=Limits)
    _trust: tuple[str, ssl.SSLContext] | None = None

    async def ask(self, request: Request) -> bytes | Problem:
        """The body of a 2xx answer."""
        server = self.place()
        if isinstance(server, Problem):
            return server
        where = f"the API server at {server.authority_name}"
        try:
            return await self._exchange(server, request)
        except ssl.SSLCertVerificationError as error:
            told = f"{where} shows a certificate that is not to be trusted: {error.verify_message}"
            return Problem(
                "untrusted", told, "KUBERNETES_SERVICE_HOST must be a name or address that is in it"
            )
        except ssl.SSLError as error:
            return Problem("untrusted", f"no TLS with {where}: {error.reason or error}")
        except TimeoutError:
            return Problem("unreachable", f"{where} does not answer in time")
        except (OSError, UnicodeError) as error:
            told = f"cannot reach {where}: {getattr(error, 'strerror', None) or error}"
            return Problem("unreachable", told, "is a NetworkPolicy or a proxy in the way?")
        except h11.RemoteProtocolError as error:
            return Problem("garbled", f"{where} gave no whole answer: {error}")
        except _TooLargeError:
            return Problem("garbled", f"{where} answered with more than {self.limits.answer_bytes} bytes")
        except _TooManyPiecesError:
            return Problem("garbled", f"{where} answered in more than {self.limits.answer_pieces} pieces")

    async def _exchange(self, server: ApiServer, request: Request) -> bytes | Problem:
        async with asyncio.timeout(self.limits.connect_seconds):
            reader, writer = await asyncio.open_connection(
                server.host, server.port, ssl=self._context(server.authority), limit=self.limits.head_bytes
            )
        try:
            wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=self.limits.head_bytes)
            async with asyncio.timeout(self.limits.send_seconds):
                writer.write(_written(wire, server, request))
                await writer.drain()
            return await self._answer(_Pieces(wire, reader, self.limits.answer_pieces), request)
        finally:
            writer.transport.abort()

    async def _answer(self, pieces: "_Pieces", request: Request) -> bytes | Problem:
        async with asyncio.timeout(self.limits.head_seconds):
            head = await pieces.next()
            while isinstance(head, h11.InformationalResponse):
                head = await pieces.next()
        if not isinstance(head, h11.Response):
            raise h11.RemoteProtocolError("no response")
        async with asyncio.timeout(self.limits.body_seconds):
            body = await self._body(pieces)
        if head.status_code in _OK:
            return body
        return refused(request.doing, head.status_code, dict(head.headers), body)

    async def _body(self, pieces: "_Pieces") -> bytes:
        body = bytearray()
        while isinstance(event := await pieces.next(), h11.Data):
            body += event.data
            if len(body) > self.limits.answer_bytes:
                raise _TooLargeError
        return bytes(body)

    def _context(self, authority: str) -> ssl.SSLContext:
        """Kept while the authority stays the same: each takes some 50 kB and a millisecond."""
        if self._trust is None or self._trust[0] != authority:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the chain and the host
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_verify_locations(cadata=authority)
            self._trust = (authority, context)
        return self._trust[1]


class _TooLargeError(Exception):
    pass


class _TooManyPiecesError(Exception):
    pass


@dataclass(slots=True)
class _Pieces:
    """An answer as it comes. Between two pieces it is the turn of others, who give out devices."""

    wire: h11.Connection
    reader: asyncio.StreamReader
    left: int

    async def next(self) -> object:
        """A head, a part of the body, or the end."""
        if self.left <= 0:
            raise _TooManyPiecesError
        self.left -= 1
        await asyncio.sleep(0)
        while (event := self.wire.next_event()) is h11.NEED_DATA:
            self.wire.receive_data(await self.reader.read(_READ_BYTES))
        return event


def _written(wire: h11.Connection, server: ApiServer, request: Request) -> bytes:
    headers = [
        ("Host", server.authority_name),
        ("User-Agent", f"amdgpu-plugin/{__version__}"),
        ("Authorization", f"Bearer {server.token}"),
        ("Accept", request.accept),
        ("Connection", "close"),
    ]
    if request.body:
        headers += [("Content-Type", request.content_type), ("Content-Length", str(len(request.body)))]
    events: list[h11.Event] = [h11.Request(method=request.method, target=request.path, headers=headers)]
    if request.body:
        events.append(h11.Data(data=request.body))
    return b"".join(wire.send(event) or b"" for event in (*events, h11.EndOfMessage()))

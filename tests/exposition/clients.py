"""Clients of the HTTP listener, down to their bytes, and a listener to talk to."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from amdgpu_plugin.exposition.http import HttpServer, Limits
from amdgpu_plugin.exposition.listening import bind
from amdgpu_plugin.exposition.messages import Answer, Request, Response, text

GUARD_SECONDS = 10.0
"""Long enough for any machine: a test that waits for so long has failed."""


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Client:
    """One connection. Leaving it open is part of what is tested."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ask(self, path: str, *, method: str = "GET", headers: str = "") -> Answered:
        await self.send(f"{method} {path} HTTP/1.1\r\nHost: here\r\n{headers}\r\n".encode())
        return await self.answer(bodyless=method == "HEAD")

    async def answer(self, *, bodyless: bool = False) -> Answered:
        async with asyncio.timeout(GUARD_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            length = 0 if bodyless else int(headers["content-length"])
            return Answered(int(head[0].split()[1]), headers, await self.reader.readexactly(length))

    async def rest(self) -> bytes:
        """All that comes until the server ends the connection, or resets it."""
        async with asyncio.timeout(GUARD_SECONDS):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def close(self) -> None:
        self.writer.transport.abort()


@dataclass(slots=True)
class Listener:
    """A server that runs; `connect` opens connections, which are closed when it ends."""

    port: int
    clients: list[Client]
    task: asyncio.Task[None]

    async def connect(self) -> Client:
        async with asyncio.timeout(GUARD_SECONDS):
            client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client


async def hello(request: Request) -> Response:
    return text(200, f"hello {request.path}")


@asynccontextmanager
async def listening(answer: Answer = hello, limits: Limits | None = None) -> AsyncIterator[Listener]:
    sockets = bind("127.0.0.1", 0)
    task = asyncio.create_task(HttpServer(sockets, answer, limits).run())
    listener = Listener(port_of(sockets[0]), [], task)
    try:
        yield listener
    finally:
        for client in listener.clients:
            client.close()
        task.cancel()
        await asyncio.wait([task])
        for made in sockets:
            made.close()


def port_of(made: socket.socket) -> int:
    port = made.getsockname()[1]
    assert isinstance(port, int)
    return port

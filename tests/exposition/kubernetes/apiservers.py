"""An API server to talk to, over TLS: it takes Events, knows pods and one Node, and can misbehave."""

import asyncio
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

Json = dict[str, Any]
GUARD_SECONDS = 20.0
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "10")
MADE = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Authority:
    """`ca.crt`, and a key and certificate for localhost, 127.0.0.1 and ::1, and for another host."""

    folder: Path

    @property
    def pem(self) -> str:
        return (self.folder / "ca.crt").read_text()

    def context(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        return context


def authority(folder: Path) -> Authority:
    """A new one; skips where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    _certificate(folder, "ca", "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")
    signer = ("-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key"))
    names = {"here": "DNS:localhost,IP:127.0.0.1,IP:::1", "elsewhere": "DNS:elsewhere.example"}
    for name, alternatives in names.items():
        _certificate(folder, name, f"subjectAltName={alternatives}", "basicConstraints=CA:FALSE", more=signer)
    return Authority(folder)


def _certificate(folder: Path, name: str, *extensions: str, more: tuple[str, ...] = ()) -> None:
    added = [word for extension in extensions for word in ("-addext", extension)]
    files = ("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt"))
    command = ["openssl", "req", "-x509", *KEY, "-subj", f"/CN={name}", *more, *added, *files]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        document: Json = json.loads(self.body)
        return document


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Json
    headers: tuple[tuple[str, str], ...] = ()


def refusal(status: int, message: str, **more: Any) -> Answer:
    """As the API server says no: a metav1.Status."""
    said = {"kind": "Status", "status": "Failure", "code": status, "message": message}
    return Answer(status, said | more)


@dataclass(slots=True)
class ApiServer:
    """What it was asked and what it has taken. `refuse` may answer in its place; `raw` are an answer's bytes."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)
    pods: dict[str, Json] = field(default_factory=dict)
    conditions: dict[str, Json] = field(default_factory=dict)
    refuse: Callable[[Asked], Answer | None] = lambda _asked: None
    raw: bytes | None = None
    silent: bool = False
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def add_pod(self, name: str, uid: str, made: str = MADE) -> None:
        """`name` is namespace/name."""
        self.pods[name] = {"kind": "Pod", "metadata": {"uid": uid, "creationTimestamp": made}}

    def told(self) -> list[tuple[str, str, str]]:
        """Of each Event: the kind and name of what it is about, and its reason."""
        return [(e["involvedObject"]["kind"], e["involvedObject"]["name"], e["reason"]) for e in self.events]

    async def until(self, what: Callable[[], object]) -> None:
        """After a request it is so."""
        try:
            async with asyncio.timeout(GUARD_SECONDS):
                while not what():
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"never so: {self.told()} {self.conditions} {self.asked[-3:]}") from None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await _request(reader)
        self.asked.append(asked)
        if self.silent:
            await reader.read()
        writer.write(self.raw if self.raw is not None else _bytes(self._answer(asked)))
        await writer.drain()
        self._more.set()

    def _answer(self, asked: Asked) -> Answer:
        if (refusal := self.refuse(asked)) is not None:
            return refusal
        match asked.method, asked.path.split("/")[3:]:
            case "POST", ["namespaces", _, "events"]:
                self.events.append(asked.json)
                return Answer(201, {"kind": "Event"})
            case "GET", ["namespaces", namespace, "pods", name] if f"{namespace}/{name}" in self.pods:
                return Answer(200, self.pods[f"{namespace}/{name}"])
            case "PATCH", ["nodes", _, "status"]:
                for condition in asked.json.get("status", {}).get("conditions", ()):
                    kept = self.conditions.setdefault(condition["type"], {})
                    kept.update(condition)
                return Answer(200, {"kind": "Node", "status": {"conditions": list(self.conditions.values())}})
        return refusal_of_nothing(asked)


def refusal_of_nothing(asked: Asked) -> Answer:
    return refusal(404, f"{asked.path} not found")


async def _request(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {key.lower(): value for key, value in (line.split(": ", 1) for line in head[1:] if line)}
    method, path, _ = head[0].split(" ")
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def _bytes(answer: Answer) -> bytes:
    body = json.dumps(answer.body).encode()
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    return "\r\n".join((*lines, "Connection: close", "", "")).encode() + body


@asynccontextmanager
async def serving(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    host: str = "127.0.0.1",
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """The port of a server that talks so; in the end every connection is closed."""
    tasks: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(connection(reader, writer)))

    server = await asyncio.start_server(accept, host, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # what was aborted is closed in the next turns
        for _ in range(3):
            await asyncio.sleep(0)


@asynccontextmanager
async def api_server(
    authority: Authority, *, host: str = "127.0.0.1", certificate: str = "here"
) -> AsyncIterator[ApiServer]:
    api = ApiServer()
    async with serving(api.serve, host=host, context=authority.context(certificate)) as api.port:
        yield api


def account(folder: Path, authority: Authority, token: str = "first") -> Path:
    """A service account's directory."""
    folder.mkdir(exist_ok=True)
    (folder / "ca.crt").write_text(authority.pem)
    (folder / "token").write_text(f"{token}\n")
    return folder

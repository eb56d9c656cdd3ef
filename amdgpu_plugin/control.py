"""`control.sock` in the state directory: how `inject` speaks to the daemon on this node.

One request a connection, one line of JSON each way: `{"verb": "inject", …}`, answered by `{"ok": "…"}` or
`{"error": "…"}`. The socket belongs to the first live daemon; a second one says so and works without.
"""

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from amdgpu_plugin.simulation.injector import Injector
from amdgpu_plugin.simulation.node import SimulatedNode, SimulationError

log = logging.getLogger(__name__)

SOCKET = "control.sock"
REQUEST_LIMIT_BYTES = 64 * 1024
ANSWER_SECONDS = 10.0
RETRY_SECONDS = 5.0
"""Between two tries to get the socket: in a rollout the old pod has it for a while."""
_LONGEST_SECONDS = 86400

Handler = Callable[[Mapping[str, Any]], Awaitable[str]]
"""Takes a request, returns what to tell; ControlError is told as it stands."""


class ControlError(Exception):
    """Why a request was refused, or why the daemon cannot be asked."""


class ControlServer:
    """Answers requests while `run` runs."""

    def __init__(self, state_dir: str, handlers: Mapping[str, Handler]) -> None:
        """`handlers` by the verb they answer."""
        self._path = os.path.join(state_dir, SOCKET)
        self._handlers = handlers

    async def run(self) -> None:
        """For ever; where the socket cannot be had, it says so once and tries again."""
        said = False
        while isinstance(server := await self._listen(), str):
            if not said:
                log.warning("no control socket", extra={"fields": {"socket": self._path, "reason": server}})
                said = True
            await asyncio.sleep(RETRY_SECONDS)
        os.chmod(self._path, stat.S_IRUSR | stat.S_IWUSR)
        own = os.stat(self._path)
        try:
            async with server:
                await server.serve_forever()
        finally:
            _remove_own(self._path, own)

    async def _listen(self) -> asyncio.Server | str:
        """The server, or why there is none: another daemon has the socket, or it cannot be made."""
        problem = await asyncio.to_thread(_make_way, self._path)
        if problem is not None:
            return problem
        try:
            return await asyncio.start_unix_server(self._serve, self._path, limit=REQUEST_LIMIT_BYTES)
        except OSError as error:
            return error.strerror or str(error)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._answer(await reader.readline())
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            pass  # who only looks whether we live asks nothing
        except (TimeoutError, ValueError, OSError) as error:
            log.warning("control request dropped", extra={"fields": {"error": str(error) or "too slow"}})
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, str]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": "not a line of JSON"}
        verb = request.get("verb") if isinstance(request, dict) else None
        if not isinstance(verb, str) or verb not in self._handlers:
            return {"error": f"unknown verb; this daemon knows {', '.join(self._handlers) or 'none'}"}
        try:
            return {"ok": await self._handlers[verb](request)}
        except ControlError as error:
            return {"error": str(error)}


def inject_handler(node: SimulatedNode) -> Handler:
    """What answers `{"verb": "inject", "device": …, "what": …, "seconds": number or null}`."""
    injector = Injector(node)

    async def handle(request: Mapping[str, Any]) -> str:
        device, what, seconds = request.get("device"), request.get("what"), request.get("seconds")
        if not isinstance(device, str) or not isinstance(what, str):
            raise ControlError("device and what must be text")
        if seconds is not None and not _is_duration(seconds):
            raise ControlError(f"seconds must be a number from 0 to {_LONGEST_SECONDS}")
        try:
            return await injector.inject(device, what, seconds=seconds)
        except SimulationError as error:
            raise ControlError(str(error)) from error

    return handle


def _is_duration(seconds: object) -> bool:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return number and 0 <= seconds <= _LONGEST_SECONDS  # type: ignore[operator]


def ask(state_dir: str, request: Mapping[str, Any]) -> str:
    """The running daemon's answer. ControlError when it refuses or cannot be reached. Blocks."""
    path = os.path.join(state_dir, SOCKET)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(path)
            connection.sendall(json.dumps(dict(request)).encode() + b"\n")
            with connection.makefile("rb") as file:
                answer = json.loads(file.readline())
    except (OSError, ValueError) as error:
        hint = "is a daemon running here, with this --state-dir?"
        raise ControlError(f"no answer at {path} ({error}): {hint}") from error
    if "ok" in answer:
        return str(answer["ok"])
    raise ControlError(str(answer.get("error", "an answer without sense")))


def _make_way(path: str) -> str | None:
    """None when the path is free to bind; a dead daemon's socket is removed."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return "something else is there"
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            probe.connect(path)
    except FileNotFoundError:
        return None
    except ConnectionRefusedError:
        return _removed(path)
    except OSError as error:
        return error.strerror or str(error)
    return "another daemon on this node has it"


def _removed(path: str) -> str | None:
    try:
        os.unlink(path)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _remove_own(path: str, own: os.stat_result) -> None:
    try:
        if os.path.samestat(os.stat(path), own):
            os.unlink(path)
    except OSError:
        return

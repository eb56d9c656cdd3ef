"""`control.sock` in the state directory: how `status`, `ack` and `inject` speak to the daemon on this node.

One request a connection, one line of JSON each way: `{"verb": "inject", …}`, answered by `{"ok": …}` or
`{"error": "…"}`. The socket belongs to the first live daemon; a second one says so and works without.
"""

import asyncio
import difflib
import json
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from amdgpu_plugin.health.conditions import CONDITIONS
from amdgpu_plugin.health.evidence import Acknowledged
from amdgpu_plugin.node import Latest, NodeState
from amdgpu_plugin.simulation.injector import Injector
from amdgpu_plugin.simulation.node import SimulatedNode, SimulationError

log = logging.getLogger(__name__)

SOCKET = "control.sock"
REQUEST_LIMIT_BYTES = 64 * 1024
ANSWER_SECONDS = 10.0
RETRY_SECONDS = 5.0
"""Between two tries to get the socket (in a rollout the old pod has it for a while), and two looks at it."""
_LONGEST_SECONDS = 86400
_NO_SIMULATION = "this daemon's GPUs are real: inject is for one that was started with --simulate"
_LONGEST_REASON = 200
"""Characters: it stands in logs, pages and the state directory."""
_TOLD_IN_FORCE = 8

Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Takes a request, returns what to tell: made for JSON, or JSON in bytes. ControlError is told as it is."""


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
        while True:
            await self._serve_while_there(await self._got())
            log.warning("the control socket was taken away", extra={"fields": {"socket": self._path}})

    async def _got(self) -> socket.socket:
        said = False
        while isinstance(bound := await self._bound(), str):
            if not said:
                log.warning("no control socket", extra={"fields": {"socket": self._path, "reason": bound}})
                said = True
            await asyncio.sleep(RETRY_SECONDS)
        return bound

    async def _bound(self) -> socket.socket | str:
        """A socket with our path, or why there is none: another daemon has it, or it cannot be made."""
        problem = await asyncio.to_thread(_make_way, self._path)
        if problem is not None:
            return problem
        bound = socket.socket(socket.AF_UNIX)
        try:
            bound.bind(self._path)
        except OSError as error:
            bound.close()
            return error.strerror or str(error)
        return bound

    async def _serve_while_there(self, bound: socket.socket) -> None:
        """Nothing tells a server that its path is gone, or another's by now."""
        own: os.stat_result | None = None
        try:
            # Nothing is waited for since it was bound: whoever ends us finds it known, and it is removed.
            with suppress(FileNotFoundError):
                os.chmod(self._path, stat.S_IRUSR | stat.S_IWUSR)
                own = os.stat(self._path)
            async with await asyncio.start_unix_server(self._serve, sock=bound, limit=REQUEST_LIMIT_BYTES):
                while _is_own(self._path, own):  # noqa: ASYNC110 - nobody tells of it, see above
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            bound.close()
            _remove_own(self._path, own)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(await self._answer(await reader.readline()) + b"\n")
                await writer.drain()
        except ConnectionError:
            pass  # who only looks whether we live asks nothing
        except (TimeoutError, ValueError, OSError) as error:
            log.warning("control request dropped", extra={"fields": {"error": str(error) or "too slow"}})
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> bytes:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return _refusal("not a line of JSON")
        verb = request.get("verb") if isinstance(request, dict) else None
        if not isinstance(verb, str) or verb not in self._handlers:
            known = f"unknown verb; this daemon knows {', '.join(self._handlers) or 'none'}"
            return _refusal(_NO_SIMULATION if verb == "inject" else known)
        try:
            told = await self._handlers[verb](request)
        except ControlError as error:
            return _refusal(str(error))
        return b'{"ok": ' + (told if isinstance(told, bytes) else json.dumps(told).encode()) + b"}"


def _refusal(why: str) -> bytes:
    return json.dumps({"error": why}).encode()


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


def status_handler(node: Callable[[], Awaitable[bytes]]) -> Handler:
    """What answers `{"verb": "status"}`: the node as JSON, made elsewhere than on the loop."""

    async def handle(_: Mapping[str, Any]) -> bytes:
        try:
            return await node()
        except TimeoutError as error:
            raise ControlError(f"the answer is not ready in time: {error}") from error

    return handle


def ack_handler(
    node: Latest[NodeState],
    acknowledge: Callable[[str, Acknowledged], None],
    unix_time: Callable[[], float],
    *,
    stands: Callable[[str, str], bool],
) -> Handler:
    """What answers `{"verb": "ack", "device": …, "condition": …, "reason": …, "seconds": number or null}`.

    `acknowledge` is given the GPU's PCI address and the operator's word. `stands` tells of an address and a
    condition whether an earlier word for it still counts: what it covers may show in no condition.
    """

    async def handle(request: Mapping[str, Any]) -> str:
        device, condition = request.get("device"), request.get("condition")
        reason, seconds = request.get("reason") or "", request.get("seconds")
        if not (isinstance(device, str) and isinstance(condition, str) and isinstance(reason, str)):
            raise ControlError("device, condition and reason must be text")
        if len(reason) > _LONGEST_REASON:
            said = f"the reason has {len(reason)} characters, at most {_LONGEST_REASON} are kept"
            raise ControlError(f"{said}: make it shorter, or name a ticket")
        if not reason.isprintable():
            raise ControlError("the reason must be one line of printable characters")
        if seconds is not None and not _is_duration(seconds):
            raise ControlError(f"seconds must be a number from 0 to {_LONGEST_SECONDS}")
        address, condition = _gpu_of(node.value, device), _acknowledgeable(condition)
        if not (_is_in_force(node.value, address, condition) or stands(address, condition)):
            raise ControlError(_nothing_to_acknowledge(node.value, address, condition))
        until = None if seconds is None else unix_time() + seconds
        acknowledge(address, Acknowledged(condition, reason, until))
        log.warning(
            "acknowledged", extra={"fields": {"gpu": address, "condition": condition, "reason": reason}}
        )
        lasts = "" if seconds is None else f", for {seconds:g} s"
        return f"{condition} of {address} is acknowledged{lasts}"

    return handle


def _gpu_of(state: NodeState, device: str) -> str:
    known = {listed.id: listed.gpu.pci_address for listed in state.devices}
    addresses = sorted({*known.values(), *(gpu.pci_address for gpu in state.inventory.gpus)})
    base = device.partition("::")[0]
    if base in addresses:
        return base
    if base not in known:
        raise ControlError(f"no device {device!r} here; the GPUs are {', '.join(addresses) or 'none'}")
    return known[base]


def _acknowledgeable(word: str) -> str:
    known = [name for name, condition in CONDITIONS.items() if condition.acknowledgeable]
    found = next((name for name in known if name.lower() == word.lower()), None)
    if found is None:
        close = difflib.get_close_matches(word, CONDITIONS, 1)
        told = f"{word} ends when its cause does" if word in CONDITIONS else f"no condition {word!r}"
        hint = f"; did you mean {close[0]}?" if close and word not in CONDITIONS else ""
        raise ControlError(f"{told}{hint}; what can be acknowledged: {', '.join(known)}")
    return found


def _is_in_force(state: NodeState, address: str, condition: str) -> bool:
    status = state.statuses.get(address)
    return status is not None and any(each.name == condition for each in status.conditions)


def _nothing_to_acknowledge(state: NodeState, address: str, condition: str) -> str:
    found = [
        f"{gpu} {each.name}"
        for gpu, status in sorted(state.statuses.items())
        for each in status.conditions
        if CONDITIONS[each.name].acknowledgeable
    ]
    more = [f"{len(found) - _TOLD_IN_FORCE} more"] if len(found) > _TOLD_IN_FORCE else []
    told = ", ".join(found[:_TOLD_IN_FORCE] + more) or "none that can be acknowledged"
    return f"{address} has no {condition}: nothing to acknowledge (in force: {told})"


def _is_duration(seconds: object) -> bool:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return number and 0 <= seconds <= _LONGEST_SECONDS  # type: ignore[operator]


def ask(state_dir: str, request: Mapping[str, Any], *, within: float = ANSWER_SECONDS) -> Any:
    """The running daemon's answer. ControlError when it refuses or cannot be reached. Blocks.

    `within` so many seconds for each step.
    """
    path = os.path.join(state_dir, SOCKET)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(within)
            connection.connect(path)
            connection.sendall(json.dumps(dict(request)).encode() + b"\n")
            with connection.makefile("rb") as file:
                answer = json.loads(file.readline())
    except (OSError, ValueError) as error:
        hint = "is a daemon running here, with this --state-dir?"
        raise ControlError(f"no answer at {path} ({error}): {hint}") from error
    if not isinstance(answer, dict) or "ok" not in answer:
        said = answer.get("error") if isinstance(answer, dict) else None
        raise ControlError(str(said or "an answer without sense"))
    return answer["ok"]


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


def _is_own(path: str, own: os.stat_result | None) -> bool:
    """By its change time as well: inode numbers are used again."""
    try:
        now = os.stat(path)
    except OSError:
        return False
    return own is not None and os.path.samestat(now, own) and now.st_ctime_ns == own.st_ctime_ns


def _remove_own(path: str, own: os.stat_result | None) -> None:
    if _is_own(path, own):
        with suppress(OSError):
            os.unlink(path)

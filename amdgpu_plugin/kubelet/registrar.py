"""One resource's life with the kubelet: serve, register, be listened to; and again whenever that ends.

The kubelet removes every socket when it starts, never redials, and disconnects the newer of two clients when
the older ends (up to 1.36). Hence: a socket name is used once; Register is called only while no ListAndWatch
stream is live; a lost stream means registering again.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import grpc

from amdgpu_plugin.kubelet import sockets
from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as wire
from amdgpu_plugin.kubelet.directory import KUBELET_SOCKET, DirectoryWatch, Identity, View, identity
from amdgpu_plugin.kubelet.service import DevicePluginService, options
from amdgpu_plugin.node import Latest, any_change

log = logging.getLogger(__name__)

REGISTER_SECONDS = 15.0
"""Above the 10 s the kubelet takes inside Register to dial us back."""
STREAM_SECONDS = 10.0
"""From the end of Register to the first ListAndWatch."""
SHORT_STREAM_SECONDS = 5.0
"""A stream that ends sooner counts as lost right after registration."""
REFUSED_LIMIT_SECONDS = 30.0
LOST_LIMIT_SECONDS = 60.0
NEIGHBOUR_SECONDS = 5.0
"""Between two looks at whether another plugin still lives, if the directory does not tell."""
TICK_SECONDS = 0.02
"""Above the step in which the kernel dates files, at most 10 ms."""
BIND_NS = 100_000_000
"""Above the time that may pass between a socket's bind and its listen, even on a busy node."""


class Phase(Enum):
    """Where a registration stands."""

    STARTING = "starting"
    NO_DIRECTORY = "no device-plugins directory"
    NOT_WRITABLE = "cannot serve in the device-plugins directory"
    NO_KUBELET = "waiting for the kubelet"
    CONFLICT = "waiting: another plugin serves this resource"
    REFUSED = "not registered"
    REGISTERED = "registered"


@dataclass(frozen=True, slots=True)
class Status:
    """A phase, and what made it so."""

    phase: Phase
    detail: str = ""


@dataclass(slots=True)
class Backoff:
    """Waiting times that double, kept per kubelet: a new kubelet.sock starts afresh."""

    limit_seconds: float
    failures: int = 0
    kubelet: Identity | None = None

    def of(self, kubelet: Identity | None) -> "Backoff":
        """Forget failures that another kubelet.sock made."""
        if kubelet != self.kubelet:
            self.kubelet, self.failures = kubelet, 0
        return self

    def failed(self) -> float:
        """Seconds to wait after one more failure: 1, 2, 4 … up to the limit."""
        self.failures += 1
        doublings = min(self.failures - 1, 60)
        return min(2.0**doublings, self.limit_seconds)


@dataclass(slots=True)
class _Server:
    grpc: grpc.aio.Server
    name: str
    identity: Identity | None


@dataclass(slots=True)
class Registrar:
    """Keeps one resource registered while `run` runs. `status` is for people, metrics and readiness."""

    service: DevicePluginService
    watch: DirectoryWatch
    names: sockets.SocketNames
    clock: Callable[[], float]
    status: Latest[Status] = field(default_factory=lambda: Latest(Status(Phase.STARTING)))
    _server: _Server | None = None
    _refused: Backoff = field(default_factory=lambda: Backoff(REFUSED_LIMIT_SECONDS))
    _lost: Backoff = field(default_factory=lambda: Backoff(LOST_LIMIT_SECONDS))

    async def run(self) -> None:
        """For ever; when cancelled, the socket is gone before this returns."""
        try:
            while True:
                await self._one_registration()
        finally:
            await self._stop_serving()

    async def _one_registration(self) -> None:
        view = self.watch.refresh()
        if view.directory is None:
            await self._wait(view, Status(Phase.NO_DIRECTORY, f"{self.watch.directory} is not there"))
        elif view.kubelet is None:
            await self._wait(view, Status(Phase.NO_KUBELET, f"{self._kubelet_path()} is not there"))
        elif not await self._serving():
            problem = f"{self.watch.directory} is not writable: mount it read-write"
            await self._wait(view, Status(Phase.NOT_WRITABLE, problem), seconds=NEIGHBOUR_SECONDS)
        # Looked at again with our own socket in it, so that of two that start at once one sees the other.
        elif neighbour := await self._neighbour(view := self.watch.refresh()):
            await self._wait(view, Status(Phase.CONFLICT, f"{neighbour} answers"), seconds=NEIGHBOUR_SECONDS)
        elif view.kubelet is not None and self._is_served_in(view):
            await self._register_and_follow(view.kubelet)

    async def _register_and_follow(self, kubelet: Identity) -> None:
        # A Register that was given up may succeed late: with its stream open there is nothing to ask for.
        refusal = None if self.service.streams.value.live else await self._refusal(kubelet)
        result = "accepted" if refusal is None else "refused"
        self.service.instruments.registrations.labels(self.service.resource, result).inc()
        if refusal is not None:
            self._enter(Status(Phase.REFUSED, refusal))
            await self._pause(self._refused.of(kubelet).failed(), kubelet)
            return
        self._refused.of(kubelet).failures = 0
        opened = self.clock()
        self._enter(Status(Phase.REGISTERED))
        await self._until(lambda: not self.service.streams.value.live or self._has_started_anew(kubelet))
        lasted = self.clock() - opened
        self._enter(Status(Phase.REFUSED, "the ListAndWatch stream was lost"))
        if lasted >= SHORT_STREAM_SECONDS:
            self._lost.failures = 0
        else:
            await self._pause(self._lost.of(kubelet).failed(), kubelet)

    async def _refusal(self, kubelet: Identity) -> str | None:
        """Register; None once a stream was opened, though it may have ended since, else why there is none."""
        before = self.service.streams.value.opened
        refusal = await self._register_unless_anew(kubelet)
        if refusal is None:
            refusal = f"registered, but no ListAndWatch came within {STREAM_SECONDS:g} s"
            await self._until(
                lambda: self.service.streams.value.opened > before or self._has_started_anew(kubelet),
                STREAM_SECONDS,
            )
        return refusal if self.service.streams.value.opened == before else None

    async def _register_unless_anew(self, kubelet: Identity) -> str | None:
        """Like `_register`; not waited for once a new kubelet has removed the socket it would dial back."""
        registering = asyncio.create_task(self._register())
        anew = asyncio.create_task(self._until(lambda: self._has_started_anew(kubelet)))
        try:
            await asyncio.wait([registering, anew], return_when=asyncio.FIRST_COMPLETED)
            return registering.result() if registering.done() else "another kubelet has started"
        finally:
            registering.cancel()
            anew.cancel()
            await asyncio.wait([registering, anew])

    async def _register(self) -> str | None:
        """None when the kubelet accepted, else why not."""
        assert self._server is not None
        request = api.RegisterRequest(
            version="v1beta1",
            endpoint=self._server.name,
            resource_name=self.service.resource,
            options=options(),
        )
        # A connection of its own for each try: one that failed would sit out gRPC's back-off.
        async with sockets.connect(self._kubelet_path()) as channel:
            try:
                await wire.RegistrationStub(channel).Register(request, timeout=REGISTER_SECONDS)
            except grpc.aio.AioRpcError as error:
                return f"{error.code().name}: {error.details()}"
        return None

    async def _neighbour(self, view: View) -> str | None:
        """The name of a live socket that must go first: another plugin's, or an earlier one of ours.

        Sockets of ours at which nobody listens are deleted on the way.
        """
        names = [name for name in view.sockets if self._goes_first(name, view)]
        paths = [os.path.join(self.watch.directory, name) for name in names]
        # All at once: each that is silent takes its time.
        alive = await asyncio.gather(*map(sockets.answers, paths))
        return next((name for name, lives in zip(names, alive, strict=True) if lives), None)

    def _goes_first(self, name: str, view: View) -> bool:
        if not sockets.is_of_this_product(name):
            return name == sockets.of_other_plugin(self.service.resource)
        directory = self.watch.directory
        own = sockets.first_made(directory, filter(self.names.is_own, view.sockets))
        made = sockets.first_made(directory, [name])
        if self.names.is_own(name) or own is None or made is None:
            return False
        if made.time_ns < own.time_ns - BIND_NS and sockets.remove_if_dead(directory, name):
            return False
        # The earlier process, for all its resources: else two could wait for each other.
        theirs = sockets.first_made(directory, sockets.of_same_process(name, view.sockets))
        return theirs is not None and theirs < own

    async def _serving(self) -> bool:
        """Serve on a socket that is still there; a socket the kubelet removed is replaced by a new one."""
        if self._server is not None and identity(self._path(self._server.name)) == self._server.identity:
            return True
        await self._stop_serving()
        if not os.access(self.watch.directory, os.W_OK | os.X_OK):
            return False
        name = self.names.next()
        server = grpc.aio.server()
        wire.add_DevicePluginServicer_to_server(self.service, server)
        try:
            server.add_insecure_port(f"unix:{self._path(name)}")
        except RuntimeError:
            return False
        self._server = _Server(server, name, identity(self._path(name)))
        await _start(server)
        # Who serves later than this is dated later, and so will see that we came first.
        await asyncio.sleep(TICK_SECONDS)
        return True

    def _is_served_in(self, view: View) -> bool:
        return self._server is not None and self._server.name in view.sockets

    def _has_started_anew(self, kubelet: Identity) -> bool:
        """Whether another kubelet has cleared the directory, whatever streams are still open."""
        view = self.watch.view.value
        return view.kubelet not in {kubelet, None} and not self._is_served_in(view)

    async def _stop_serving(self) -> None:
        # stop() unlinks the path even when it is another's by now: names are never used twice.
        server, self._server = self._server, None
        if server is None:
            return
        await server.grpc.stop(grace=0)
        # The handlers' cancellation arrives a few milliseconds after stop() has returned.
        await self._until(lambda: not self.service.streams.value.live, seconds=1)

    async def _wait(self, seen: View, status: Status, *, seconds: float | None = None) -> None:
        """Until the directory looks different from what was seen, or some seconds have passed."""
        self._enter(status)
        try:
            async with asyncio.timeout(seconds):
                await self.watch.view.until_other_than(seen)
        except TimeoutError:
            return

    async def _pause(self, seconds: float, kubelet: Identity) -> None:
        """Back off, but not from a kubelet that is new, nor from one that listens after all."""
        await self._until(
            lambda: (
                self.watch.view.value.kubelet not in {kubelet, None} or self.service.streams.value.live > 0
            ),
            seconds,
        )

    async def _until(self, holds: Callable[[], bool], seconds: float | None = None) -> None:
        """Until that is so or the seconds have passed; the directory and the streams are what it may ask."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not holds():
                    await any_change(self.watch.view, self.service.streams)

    def _enter(self, status: Status) -> None:
        """Say a change of phase once."""
        before = self.status.value
        if status == before:
            return
        self.status.set(status)
        if status.phase is before.phase and status.phase is not Phase.CONFLICT:
            return
        level = logging.INFO if status.phase in {Phase.REGISTERED, Phase.NO_KUBELET} else logging.WARNING
        fields = {"resource": self.service.resource} | ({"detail": status.detail} if status.detail else {})
        log.log(level, status.phase.value, extra={"fields": fields})

    def _kubelet_path(self) -> str:
        return os.path.join(self.watch.directory, KUBELET_SOCKET)

    def _path(self, name: str) -> str:
        return os.path.join(self.watch.directory, name)


async def _start(server: grpc.aio.Server) -> None:
    """To its end, even when cancelled: gRPC crashes the process when a server is stopped while it starts."""
    starting = asyncio.ensure_future(server.start())
    try:
        await asyncio.shield(starting)
    finally:
        await starting

"""What the tests of the kubelet's face are set in: node states, waiting, and other parties at a socket."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Never, Self, TypeVar

import asyncinotify
import grpc
import pytest

from amdgpu_plugin.discovery.inventory import ComputeDevice, Driver, Gpu, Inventory, KfdAccess, Link
from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as wire
from amdgpu_plugin.kubelet.service import Context, DevicePluginService
from amdgpu_plugin.node import Latest, ListedDevice, NodeState, Verdict

T = TypeVar("T")

GPU = "amd.com/gpu"
UNBOUND = Verdict("DriverUnbound", "no driver is bound", since=1.0)
GUARD_SECONDS = 10.0
"""Long enough for any machine: a test that waits for so long has failed."""


def device(
    bus: int,
    *,
    resource: str = GPU,
    numa_node: int | None = 0,
    verdict: Verdict | None = None,
    replicas: int = 1,
) -> ListedDevice:
    """The whole GPU at 0000:<bus>:00.0, whose render node is renderD<128 + bus>."""
    address = f"0000:{bus:02x}:00.0"
    compute = ComputeDevice(address, resource, None, f"renderD{128 + bus}", None, None, replicas)
    gpu = Gpu(address, None, None, None, numa_node, None, None, None, None, (compute,))
    return ListedDevice(compute, gpu, verdict)


def state(*devices: ListedDevice, kfd: KfdAccess = "denied", links: tuple[Link, ...] = ()) -> NodeState:
    return NodeState(Inventory(Driver("amdgpu", None, kfd), (), links, ()), devices)


async def until(latest: Latest[T], holds: Callable[[T], bool]) -> T:
    """The first value seen that satisfies. Raises TimeoutError."""
    async with asyncio.timeout(GUARD_SECONDS):
        async for value in latest.follow():
            if holds(value):
                return value
    raise AssertionError


@asynccontextmanager
async def running(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Tasks that run meanwhile and are cancelled at the end; what they raised is raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        await cancel(*tasks)


async def cancel(*tasks: asyncio.Task[None]) -> None:
    """Cancelled and ended. Raises what they raised, and TimeoutError if they do not end."""
    for task in tasks:
        task.cancel()
    async with asyncio.timeout(GUARD_SECONDS):
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


def lines(caplog: pytest.LogCaptureFixture, log: logging.Logger) -> list[logging.LogRecord]:
    """What one logger said: gRPC and asyncio may have said something too."""
    return [record for record in caplog.records if record.name == log.name]


def make_dead_socket(path: str, *, long_ago: bool = False) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path)
    if long_ago:
        os.utime(path, (1.0, 1.0))


@contextmanager
def silent_listener(path: str) -> Iterator[None]:
    """Takes connections and says nothing."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        yield


@asynccontextmanager
async def device_plugin(
    path: str, servicer: wire.DevicePluginServicer
) -> AsyncIterator[wire.DevicePluginStub]:
    """A device plugin that lives at `path`, and a client of it."""
    server = grpc.aio.server()
    wire.add_DevicePluginServicer_to_server(servicer, server)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(
            f"unix:{path}", [("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            yield wire.DevicePluginStub(channel)
    finally:
        await server.stop(None)


class NoInotify:
    """As on a node whose users have used up fs.inotify.max_user_instances."""

    def __init__(self) -> None:
        raise OSError(24, "Too many open files")


class DeafInotify:
    """As behind a bind mount: the watch is accepted, and never tells anything."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def add_watch(self, path: str, mask: asyncinotify.Mask) -> None:
        pass

    async def get(self) -> Never:
        await asyncio.Event().wait()
        raise AssertionError


class OtherPlugin(DevicePluginService):
    """Somebody else's device plugin, as far as others look at it."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__(GPU, Latest(state()), simulated=False)
        self.looked_at = Latest(0)
        self._broken = broken

    async def GetDevicePluginOptions(self, request: api.Empty, context: Context) -> api.DevicePluginOptions:
        self.looked_at.set(self.looked_at.value + 1)
        if self._broken:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        return api.DevicePluginOptions()


@asynccontextmanager
async def odd_kubelet(
    directory: str, on_register: Callable[[wire.DevicePluginStub], Awaitable[object]]
) -> AsyncIterator[None]:
    """A kubelet.sock where Register does what is told with the plugin it dials, and then succeeds."""

    class Registration(wire.RegistrationServicer):
        async def Register(self, request: api.RegisterRequest, context: Any) -> api.Empty:
            path = os.path.join(directory, request.endpoint)
            channel = grpc.aio.insecure_channel(f"unix:{path}", [("grpc.use_local_subchannel_pool", 1)])
            channels.append(channel)
            await on_register(wire.DevicePluginStub(channel))
            return api.Empty()

    channels: list[grpc.aio.Channel] = []
    server = grpc.aio.server()
    wire.add_RegistrationServicer_to_server(Registration(), server)
    server.add_insecure_port(f"unix:{directory}/kubelet.sock")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)
        for channel in channels:
            await channel.close()

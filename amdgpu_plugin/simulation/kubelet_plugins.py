"""The life of one kubelet process with its device plugins: registration, dialling back, device lists.

Enters: RPCs of plugins at `kubelet.sock`. Leaves: `devices` and `endpoints` per resource, which the
kubelet allocates from. Follows pkg/kubelet/cm/devicemanager/plugin/v1beta1 of kubelet 1.36, with its
faults: the last registration of a resource wins, and whichever stream of it ends disconnects the winner.
"""

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc

from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as rpc
from amdgpu_plugin.simulation.kubelet_choice import Device, legal_resource
from amdgpu_plugin.simulation.kubelet_rpc import RpcFailedError, answer

SOCKET = "kubelet.sock"
VERSION = "v1beta1"


@dataclass(slots=True)
class Faults:
    """What the kubelet is to do wrong, until told otherwise."""

    refusals: int = 0
    refusal_code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    refusal_details: str = ""
    hanging: bool = False
    ignoring: bool = False
    dropping: bool = False


@dataclass(slots=True)
class Counts:
    """What happened over all lives of the kubelet, by resource. `last_list_at` is the clock's seconds."""

    register_requests: Counter[str] = field(default_factory=Counter)
    registrations: Counter[str] = field(default_factory=Counter)
    lists: Counter[str] = field(default_factory=Counter)
    last_list_at: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


class Changes:
    """Wakes whoever waits for something to become true."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Has every waiter look again."""
        self._event.set()
        self._event = asyncio.Event()

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Returns when the predicate holds."""
        while not predicate():
            await self._event.wait()


@dataclass(slots=True)
class Endpoint:
    """How to ask the plugin of a resource. `stopped_at` is the clock's seconds, None while connected."""

    stub: rpc.DevicePluginStub | None
    options: api.DevicePluginOptions
    stopped_at: float | None


@dataclass(slots=True, eq=False)
class _Client:
    resource: str
    channel: grpc.aio.Channel | None = None


class RegisterRefusedError(Exception):
    """Register fails with this status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        """As gRPC carries it."""
        super().__init__(details)
        self.code = code
        self.details = details


class Plugins:
    """The plugins of one kubelet process, from its start to its end."""

    def __init__(
        self,
        directory: str,
        *,
        faults: Faults,
        counts: Counts,
        changes: Changes,
        changed: Callable[[], None],
        clock: Callable[[], float],
        dial_seconds: float,
    ) -> None:
        """`changed` is called after every change of `devices` and `endpoints`."""
        self.devices: dict[str, dict[str, Device]] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self._directory = directory
        self._faults = faults
        self._counts = counts
        self._changes = changes
        self._changed = changed
        self._clock = clock
        self._dial_seconds = dial_seconds
        self._clients: dict[str, _Client] = {}
        self._opened: set[grpc.aio.Channel] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: grpc.aio.Server | None = None

    def remember(self, resource: str) -> None:
        """A resource known from before this process: registered, with no device and nobody to ask."""
        self.devices[resource] = {}
        self.endpoints[resource] = Endpoint(None, api.DevicePluginOptions(), self._clock())

    async def start(self) -> None:
        """Listens at a new kubelet.sock. Raises OSError when one is there already."""
        # gRPC deletes the path it was bound to when it stops; a killed kubelet leaves its socket. So the
        # socket is bound under another name, which is gone again before anyone could see it used.
        self._server = grpc.aio.server()
        rpc.add_RegistrationServicer_to_server(_Registration(self), self._server)
        private = tempfile.mkdtemp(prefix=".k", dir=self._directory)
        try:
            self._server.add_insecure_port(f"unix:{private}/s")
            await self._server.start()
            os.link(f"{private}/s", os.path.join(self._directory, SOCKET))
        finally:
            with suppress(FileNotFoundError):
                os.unlink(f"{private}/s")
            os.rmdir(private)

    async def stop(self) -> None:
        """Drops every connection at once and forgets every device."""
        if self._server is not None:
            await self._server.stop(None)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(channel.close() for channel in self._opened))
        self.devices.clear()
        self.endpoints.clear()

    async def register(self, request: api.RegisterRequest) -> None:
        """What Register does. Raises RegisterRefusedError.

        Goes on to its end when the plugin's deadline passes, as the kubelet's does.
        """
        await asyncio.shield(self._spawn(self._register(request)))

    async def disconnect(self, resource: str) -> None:
        """Drops the stream of a resource: every device is unhealthy at once. Raises KeyError without one."""
        client = self._clients.pop(resource)
        endpoint = self.endpoints.get(resource)
        if endpoint is not None:
            endpoint.stopped_at = self._clock()
        for device_id, device in self.devices.get(resource, {}).items():
            self.devices[resource][device_id] = Device(healthy=False, numa_nodes=device.numa_nodes)
        self._changed()
        await self._close(client.channel)

    async def _register(self, request: api.RegisterRequest) -> None:
        self._counts.register_requests[request.resource_name] += 1
        self._changes.tell()
        await self._changes.until(lambda: not self._faults.hanging)
        try:
            await self._accept(request)
        except RegisterRefusedError as refused:
            self._counts.errors.append(f"Register of {request.resource_name}: {refused.details}")
            self._changes.tell()
            raise
        self._counts.registrations[request.resource_name] += 1
        self._changed()

    async def _accept(self, request: api.RegisterRequest) -> None:
        if self._faults.refusals:
            self._faults.refusals -= 1
            raise RegisterRefusedError(self._faults.refusal_code, self._faults.refusal_details)
        if request.version != VERSION:
            raise _failed(
                f'requested API version "{request.version}" is not supported by kubelet. '
                f'Supported version is ["{VERSION}"]'
            )
        if not legal_resource(request.resource_name):
            raise _failed(f'the ResourceName "{request.resource_name}" is invalid')
        if not self._faults.ignoring:
            await self._connect(request.resource_name, request.endpoint)

    async def _connect(self, resource: str, endpoint: str) -> None:
        client = _Client(resource)
        self._clients[resource] = client
        channel = self._open(os.path.join(self._directory, endpoint))
        stub = rpc.DevicePluginStub(channel)
        try:
            await self._dial(channel)
            client.channel = channel
            options = await answer(stub.GetDevicePluginOptions(api.Empty()))
        except (TimeoutError, RpcFailedError) as error:
            self._clients.pop(resource, None)
            await self._close(channel)
            raise _failed(_why_not_connected(error)) from None
        self.endpoints[resource] = Endpoint(stub, options, None)
        self._spawn(self._follow(client, stub))

    def _open(self, path: str) -> grpc.aio.Channel:
        # A pool of its own: gRPC would share one connection among all channels to a path.
        channel = grpc.aio.insecure_channel(f"unix:{path}", [("grpc.use_local_subchannel_pool", 1)])
        self._opened.add(channel)
        return channel

    async def _dial(self, channel: grpc.aio.Channel) -> None:
        async with asyncio.timeout(self._dial_seconds):
            await channel.channel_ready()

    async def _follow(self, client: _Client, stub: rpc.DevicePluginStub) -> None:
        try:
            await answer(self._receive(client.resource, stub))
            ended = "EOF"
        except RpcFailedError as error:
            ended = str(error)
        self._counts.errors.append(
            f"ListAndWatch ended unexpectedly for device plugin {client.resource}: {ended}"
        )
        if client.resource in self._clients:
            await self.disconnect(client.resource)
        await self._close(client.channel)
        self._changes.tell()

    async def _receive(self, resource: str, stub: rpc.DevicePluginStub) -> None:
        async for response in stub.ListAndWatch(api.Empty()):
            self._counts.last_list_at[resource] = self._clock()
            self._counts.lists[resource] += 1
            self.devices[resource] = {
                device.ID: Device(
                    device.health == "Healthy", tuple(node.ID for node in device.topology.nodes)
                )
                for device in response.devices
            }
            self._changed()
            if self._faults.dropping:
                return

    async def _close(self, channel: grpc.aio.Channel | None) -> None:
        if channel in self._opened:
            self._opened.remove(channel)
            await channel.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Registration(rpc.RegistrationServicer):
    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    async def Register(
        self, request: api.RegisterRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> api.Empty:
        try:
            await self._plugins.register(request)
        except RegisterRefusedError as refused:
            await context.abort(refused.code, refused.details)
        return api.Empty()


def _why_not_connected(error: TimeoutError | RpcFailedError) -> str:
    if isinstance(error, TimeoutError):
        return "failed to dial device plugin: context deadline exceeded"
    return f"failed to get device plugin options: {error}"


def _failed(details: str) -> RegisterRefusedError:
    # An error a Go handler returns without a status is UNKNOWN.
    return RegisterRefusedError(grpc.StatusCode.UNKNOWN, details)

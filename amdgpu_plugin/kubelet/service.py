"""The device-plugin service of one resource: what the kubelet asks, answered from NodeState.

Handlers translate only. gRPC status codes are born here and nowhere deeper.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import grpc

from amdgpu_plugin.allocation.container import NOTHING_MORE, Extras, Grant, grant
from amdgpu_plugin.allocation.explanation import explain
from amdgpu_plugin.allocation.layout import Layouts
from amdgpu_plugin.allocation.preference import Choice, NoPreference, Request, prefer, prefer_at_once
from amdgpu_plugin.allocation.shares import Spread
from amdgpu_plugin.allocation.sharing import replicas_by_device, shared_with_itself
from amdgpu_plugin.instruments import Instruments
from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as wire
from amdgpu_plugin.lanes import Hung, Lane
from amdgpu_plugin.node import Latest, ListedDevice, NodeState

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]

_SHOWN_ID_LENGTH = 80
_LOGGED_IDS = 64
_NAMED_PROBLEMS = 8
_PREFERENCE_SECONDS = 5.0
"""The kubelet waits for ever, and admits no pod meanwhile."""


@dataclass(frozen=True, slots=True)
class Streams:
    """ListAndWatch streams: how many were ever opened, and how many of them are open now."""

    opened: int = 0
    live: int = 0


@dataclass(frozen=True, slots=True)
class RefusedError(Exception):
    """Why an Allocate is refused, with the status the kubelet gets."""

    status: grpc.StatusCode
    message: str


def options() -> api.DevicePluginOptions:
    """GetPreferredAllocation is served; nothing has to happen right before a container starts."""
    return api.DevicePluginOptions(pre_start_required=False, get_preferred_allocation_available=True)


class DevicePluginService(wire.DevicePluginServicer):
    """Serves one resource. `streams` counts the ListAndWatch streams, for the registrar."""

    def __init__(
        self,
        resource: str,
        node: Latest[NodeState],
        *,
        simulated: bool,
        extras: Extras = NOTHING_MORE,
        strict_sharing: bool = False,
        spread: Spread = "distinct",
        on_allocated: Callable[[], None] = lambda: None,
        instruments: Instruments | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`simulated` makes every device node the host's /dev/null. `on_allocated` hears of each Allocate.

        `strict_sharing` refuses a container several replicas of one device, which otherwise is warned about.
        `spread` says whether the least or the most shared devices are preferred.
        """
        self.resource = resource
        self.streams = Latest(Streams())
        self._node = node
        self._simulated = simulated
        self._extras = extras
        self._strict_sharing = strict_sharing
        self._spread = spread
        self._layouts = Layouts()
        self._weighing = Lane(f"preference {resource}")
        self._on_allocated = on_allocated
        self.instruments = instruments or Instruments()
        self.instruments.serve(resource)
        self._clock = clock

    async def GetDevicePluginOptions(self, request: api.Empty, context: Context) -> api.DevicePluginOptions:  # noqa: ARG002
        """Asked by the kubelet while Register is under way, and by other plugins to see whether we live."""
        return options()

    async def ListAndWatch(
        self,
        request: api.Empty,  # noqa: ARG002
        context: Context,  # noqa: ARG002
    ) -> AsyncIterator[api.ListAndWatchResponse]:
        """The list now and after each change; a slow reader gets the newest, never a queue of old ones."""
        self._count(opened=1, live=1)
        try:
            sent: tuple[tuple[object, ...], ...] | None = None
            async for state in self._node.follow():
                told = _told(state, self.resource)
                if told != sent:
                    yield device_list(state, self.resource)
                    sent = told
                    if state.heard_at is not None:
                        self.instruments.health_push_seconds.observe(self._clock() - state.heard_at)
        finally:
            self._count(opened=0, live=-1)

    async def GetPreferredAllocation(
        self,
        request: api.PreferredAllocationRequest,
        context: Context,  # noqa: ARG002
    ) -> api.PreferredAllocationResponse:
        """Never an error, which would fail the pod: in doubt empty, and the reason in the log."""
        state = self._node.value
        with self.instruments.rpc_seconds.labels("GetPreferredAllocation").time():
            answers = [await self._preferred(state, wanted) for wanted in request.container_requests]
        return api.PreferredAllocationResponse(
            container_responses=[api.ContainerPreferredAllocationResponse(deviceIDs=ids) for ids in answers]
        )

    async def Allocate(self, request: api.AllocateRequest, context: Context) -> api.AllocateResponse:
        """Device nodes and environment for each container, in the order asked."""
        state = self._node.value
        try:
            with self.instruments.rpc_seconds.labels("Allocate").time():
                answers = [self._grant(state, wanted.devices_ids) for wanted in request.container_requests]
        except RefusedError as refused:
            self.instruments.allocations.labels(self.resource, "refused").inc()
            log.warning(
                "allocate refused", extra={"fields": {"resource": self.resource, "reason": refused.message}}
            )
            await context.abort(refused.status, refused.message)
        self.instruments.allocations.labels(self.resource, "granted").inc()
        self._on_allocated()
        log.info("allocated", extra={"fields": {"resource": self.resource, "devices": _ids(request)}})
        return api.AllocateResponse(container_responses=[_container_response(answer) for answer in answers])

    async def PreStartContainer(
        self,
        request: api.PreStartContainerRequest,  # noqa: ARG002
        context: Context,  # noqa: ARG002
    ) -> api.PreStartContainerResponse:
        """Nothing to do: a GPU is neither reset nor cleaned between containers by this plugin."""
        return api.PreStartContainerResponse()

    def _count(self, *, opened: int, live: int) -> None:
        before = self.streams.value
        counter = self.instruments.streams_opened if opened else self.instruments.streams_lost
        counter.labels(self.resource).inc()
        self.streams.set(Streams(before.opened + opened, before.live + live))

    async def _preferred(
        self, state: NodeState, wanted: api.ContainerPreferredAllocationRequest
    ) -> Sequence[str]:
        asked = Request(wanted.available_deviceIDs, wanted.must_include_deviceIDs, wanted.allocation_size)
        fields = {"resource": self.resource}
        try:
            choice = await self._choice(state, asked)
        except Exception:
            log.exception("no preference: a fault of ours", extra={"fields": fields})
            return ()
        if isinstance(choice, NoPreference):
            log.warning("no preference", extra={"fields": {**fields, "reason": choice.reason}})
            return ()
        return choice.best.devices

    async def _choice(self, state: NodeState, asked: Request) -> Choice | NoPreference:
        """On the loop where that is a matter of milliseconds, else on a thread."""
        devices = state.devices_of(self.resource)
        layout = self._layouts.of(state.inventory, state.devices)
        explained = log.isEnabledFor(logging.DEBUG)
        choice: Choice | NoPreference | Hung | None = prefer_at_once(
            layout, devices, asked, spread=self._spread, runner_up=explained
        )
        if choice is None:
            weigh = partial(prefer, layout, devices, asked, spread=self._spread, runner_up=explained)
            choice = await self._weighing.ask(weigh, deadline=_PREFERENCE_SECONDS)
        if isinstance(choice, Hung):
            return NoPreference(str(choice))
        if explained and isinstance(choice, Choice):
            reasons = "; ".join(explain(layout, asked, choice, self._spread))
            told = {"resource": self.resource, "devices": ",".join(choice.best.devices), "why": reasons}
            log.debug("preferred", extra={"fields": told})
        return choice

    def _grant(self, state: NodeState, ids: Sequence[str]) -> Grant:
        devices = allocatable(state, self.resource, ids, strict_sharing=self._strict_sharing)
        if len(devices) < len(ids) and (twice := shared_with_itself(ids)):
            fields = {"resource": self.resource, "devices": _some(twice)}
            log.warning("several replicas of one device in one container", extra={"fields": fields})
        return grant(
            devices,
            kfd=state.inventory.driver.kfd != "absent",
            simulated=self._simulated,
            extras=self._extras,
        )


def device_list(state: NodeState, resource: str) -> api.ListAndWatchResponse:
    """The resource's devices, each by all its replicas. No topology where the NUMA node is not known."""
    return api.ListAndWatchResponse(
        devices=[
            _device(served_id, listed.healthy, listed.gpu.numa_node)
            for listed in state.devices_of(resource)
            for served_id in listed.device.served_ids
        ]
    )


def _told(state: NodeState, resource: str) -> tuple[tuple[object, ...], ...]:
    """What a device list is made of, and cheaper to compare."""
    return tuple(
        (listed.id, listed.device.replicas, listed.healthy, listed.gpu.numa_node)
        for listed in state.devices_of(resource)
    )


def allocatable(
    state: NodeState, resource: str, served_ids: Sequence[str], *, strict_sharing: bool = False
) -> list[ListedDevice]:
    """The devices of those IDs, each once. Raises RefusedError, which names those that cannot be given.

    `strict_sharing` refuses several replicas of one device.
    """
    by_id = {listed.id: listed for listed in state.devices}
    wanted = replicas_by_device(served_ids)
    strange = (_strangeness(resource, ids, by_id.get(device_id)) for device_id, ids in wanted.items())
    if problems := [problem for some in strange for problem in some]:
        raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, _sentence(problems))
    devices = [by_id[device_id] for device_id in wanted]
    if ill := [f"device {found.id} is unhealthy: {found.verdict}" for found in devices if found.verdict]:
        raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, _sentence(ill))
    if strict_sharing and (twice := [ids for ids in wanted.values() if len(ids) > 1]):
        shared = [f"{_some(ids, ', ')} are one device, shared with itself" for ids in twice]
        raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, _sentence(shared))
    return devices


def _strangeness(resource: str, served_ids: Sequence[str], found: ListedDevice | None) -> Iterator[str]:
    """What is wrong with each ID that one device was asked for by."""
    known = frozenset() if found is None else frozenset(found.device.served_ids)
    for served_id in served_ids:
        if found is None or served_id not in known:
            yield f"{resource} has no device {_shown(served_id)} on this node"
        elif found.device.resource != resource:
            yield f"device {_shown(served_id)} is served as {found.device.resource}, not as {resource}"


def _sentence(problems: Sequence[str]) -> str:
    """All of them, as far as they fit into a status message: gRPC sends it as a header."""
    rest = len(problems) - _NAMED_PROBLEMS
    return "; ".join(problems[:_NAMED_PROBLEMS]) + (f"; and {rest} more" if rest > 0 else "")


@lru_cache(maxsize=1024)
def _device(served_id: str, healthy: bool, numa_node: int | None) -> api.Device:  # noqa: FBT001
    """Made once: a list is made anew for every change of one of its many devices."""
    topology = None if numa_node is None else api.TopologyInfo(nodes=[api.NUMANode(ID=numa_node)])
    return api.Device(ID=served_id, health="Healthy" if healthy else "Unhealthy", topology=topology)


def _container_response(answer: Grant) -> api.ContainerAllocateResponse:
    return api.ContainerAllocateResponse(
        envs=answer.environment,
        devices=[
            api.DeviceSpec(
                container_path=node.container_path, host_path=node.host_path, permissions=node.permissions
            )
            for node in answer.nodes
        ],
        mounts=[
            api.Mount(
                container_path=mount.container_path, host_path=mount.host_path, read_only=mount.read_only
            )
            for mount in answer.mounts
        ],
    )


def _ids(request: api.AllocateRequest) -> str:
    """For the log: not all of thousands."""
    return ";".join(_some(wanted.devices_ids) for wanted in request.container_requests)


def _some(ids: Sequence[str], between: str = ",") -> str:
    rest = len(ids) - _LOGGED_IDS
    return between.join(ids[:_LOGGED_IDS]) + (f" and {rest} more" if rest > 0 else "")


def _shown(device_id: str) -> str:
    return repr(device_id if len(device_id) <= _SHOWN_ID_LENGTH else f"{device_id[:_SHOWN_ID_LENGTH]}…")

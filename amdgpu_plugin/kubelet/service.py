"""The device-plugin service of one resource: what the kubelet asks, answered from NodeState.

Handlers translate only. gRPC status codes are born here and nowhere deeper.
"""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from amdgpu_plugin.allocation.container import Grant, grant
from amdgpu_plugin.allocation.preference import NoPreference, prefer
from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as wire
from amdgpu_plugin.node import Latest, ListedDevice, NodeState

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]

_SHOWN_ID_LENGTH = 80
_NAMED_PROBLEMS = 8


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
        on_allocated: Callable[[], None] = lambda: None,
    ) -> None:
        """`simulated` makes every device node the host's /dev/null. `on_allocated` hears of each Allocate."""
        self.resource = resource
        self.streams = Latest(Streams())
        self._node = node
        self._simulated = simulated
        self._on_allocated = on_allocated

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
            sent: api.ListAndWatchResponse | None = None
            async for state in self._node.follow():
                listed = device_list(state, self.resource)
                if listed != sent:
                    yield listed
                    sent = listed
        finally:
            self._count(opened=0, live=-1)

    async def GetPreferredAllocation(
        self,
        request: api.PreferredAllocationRequest,
        context: Context,  # noqa: ARG002
    ) -> api.PreferredAllocationResponse:
        """Never an error, which would fail the pod: in doubt empty, and the reason in the log."""
        state = self._node.value
        answers = [self._preferred(state, wanted) for wanted in request.container_requests]
        return api.PreferredAllocationResponse(
            container_responses=[api.ContainerPreferredAllocationResponse(deviceIDs=ids) for ids in answers]
        )

    async def Allocate(self, request: api.AllocateRequest, context: Context) -> api.AllocateResponse:
        """Device nodes and environment for each container, in the order asked."""
        state = self._node.value
        try:
            answers = [self._grant(state, wanted.devices_ids) for wanted in request.container_requests]
        except RefusedError as refused:
            log.warning(
                "allocate refused", extra={"fields": {"resource": self.resource, "reason": refused.message}}
            )
            await context.abort(refused.status, refused.message)
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
        self.streams.set(Streams(before.opened + opened, before.live + live))

    def _preferred(self, state: NodeState, wanted: api.ContainerPreferredAllocationRequest) -> Sequence[str]:
        try:
            choice = prefer(
                state.devices_of(self.resource),
                state.inventory.links,
                available=wanted.available_deviceIDs,
                must_include=wanted.must_include_deviceIDs,
                size=wanted.allocation_size,
            )
        except Exception:
            log.exception("no preference: a fault of ours", extra={"fields": {"resource": self.resource}})
            return ()
        if isinstance(choice, NoPreference):
            log.warning(
                "no preference", extra={"fields": {"resource": self.resource, "reason": choice.reason}}
            )
            return ()
        return choice

    def _grant(self, state: NodeState, ids: Sequence[str]) -> Grant:
        devices = allocatable(state, self.resource, ids)
        return grant(devices, kfd=state.inventory.driver.kfd != "absent", simulated=self._simulated)


def device_list(state: NodeState, resource: str) -> api.ListAndWatchResponse:
    """The resource's devices as the kubelet wants them. No topology where the NUMA node is not known."""
    return api.ListAndWatchResponse(devices=[_device(listed) for listed in state.devices_of(resource)])


def allocatable(state: NodeState, resource: str, device_ids: Sequence[str]) -> list[ListedDevice]:
    """The devices of those IDs, each once. Raises RefusedError, which names those that cannot be given."""
    by_id = {listed.id: listed for listed in state.devices}
    wanted = {device_id: by_id.get(device_id) for device_id in device_ids}
    strange = [_strangeness(resource, device_id, found) for device_id, found in wanted.items()]
    if problems := [problem for problem in strange if problem]:
        raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, _sentence(problems))
    devices = [found for found in wanted.values() if found]
    if ill := [f"device {found.id} is unhealthy: {found.verdict}" for found in devices if found.verdict]:
        raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, _sentence(ill))
    return devices


def _strangeness(resource: str, device_id: str, found: ListedDevice | None) -> str | None:
    if found is None:
        return f"{resource} has no device {_shown(device_id)} on this node"
    if found.device.resource != resource:
        return f"device {_shown(device_id)} is served as {found.device.resource}, not as {resource}"
    return None


def _sentence(problems: Sequence[str]) -> str:
    """All of them, as far as they fit into a status message: gRPC sends it as a header."""
    rest = len(problems) - _NAMED_PROBLEMS
    return "; ".join(problems[:_NAMED_PROBLEMS]) + (f"; and {rest} more" if rest > 0 else "")


def _device(listed: ListedDevice) -> api.Device:
    numa_node = listed.gpu.numa_node
    topology = None if numa_node is None else api.TopologyInfo(nodes=[api.NUMANode(ID=numa_node)])
    return api.Device(ID=listed.id, health="Healthy" if listed.healthy else "Unhealthy", topology=topology)


def _container_response(answer: Grant) -> api.ContainerAllocateResponse:
    return api.ContainerAllocateResponse(
        envs=answer.environment,
        devices=[
            api.DeviceSpec(container_path=node.container_path, host_path=node.host_path, permissions="rw")
            for node in answer.nodes
        ],
    )


def _ids(request: api.AllocateRequest) -> str:
    return ";".join(",".join(wanted.devices_ids) for wanted in request.container_requests)


def _shown(device_id: str) -> str:
    return repr(device_id if len(device_id) <= _SHOWN_ID_LENGTH else f"{device_id[:_SHOWN_ID_LENGTH]}…")

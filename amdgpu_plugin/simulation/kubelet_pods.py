"""The containers of one kubelet process: their admission, what they hold, their start.

Enters: requests for devices. Leaves: `held`. The decisions are `kubelet_choice`'s; here the plugin is
asked, in the order and with the errors of kubelet 1.36 (pkg/kubelet/cm/devicemanager/manager.go).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as rpc
from amdgpu_plugin.simulation import kubelet_choice as choice
from amdgpu_plugin.simulation.kubelet_checkpoint import Allocation
from amdgpu_plugin.simulation.kubelet_plugins import Plugins
from amdgpu_plugin.simulation.kubelet_rpc import RpcFailedError, answer

PRE_START_SECONDS = 30.0


class PodRejected(Exception):  # noqa: N818 - what happened to the pod
    """The pod is not admitted; whatever it held is free again. The text is that of the pod's status."""


class ContainerNotStarted(Exception):  # noqa: N818 - what happened to the container
    """The pod is admitted and keeps its devices, and this container of it cannot start."""


class KubeletPanicked(Exception):  # noqa: N818 - what happened to the kubelet
    """A real kubelet dereferences nil here (kubernetes #95041)."""


@dataclass(frozen=True, slots=True)
class Topology:
    """The topology manager's policy, and the NUMA nodes the machine has."""

    policy: choice.Policy
    numa_nodes: tuple[int, ...]


class Pods:
    """The containers that hold devices."""

    def __init__(
        self,
        plugins: Plugins,
        remembered: tuple[Allocation, ...],
        *,
        topology: Topology,
        random: Random,
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called after every change of `held`."""
        self.held = {_key(allocation): allocation for allocation in remembered}
        self._plugins = plugins
        self._topology = topology
        self._random = random
        self._changed = changed
        self._admission = asyncio.Lock()
        self._reusable: dict[tuple[str, str], frozenset[str]] = {}

    async def allocate(self, resource: str, size: int, *, pod: str, container: str, init: bool) -> Allocation:
        """See SimulatedKubelet."""
        if size < 1:
            raise ValueError(f"a container asks for at least one device, not {size}")
        # Pods are admitted one after another: a plugin that does not answer blocks them all.
        async with self._admission:
            try:
                allocation = await self._admit(Allocation(pod, container, resource, (), _NOTHING), size)
            except PodRejected:
                self._release(pod)
                raise
            self._reuse(allocation, init=init)
        await self._pre_start(allocation)
        return allocation

    async def restart_container(self, pod: str, container: str) -> tuple[Allocation, ...]:
        """See SimulatedKubelet."""
        found = tuple(held for held in self.held.values() if (held.pod, held.container) == (pod, container))
        for allocation in found:
            await self._pre_start(allocation)
        return found

    async def free(self, pod: str) -> None:
        """See SimulatedKubelet."""
        async with self._admission:
            self._release(pod)

    def _release(self, pod: str) -> None:
        self.held = {key: held for key, held in self.held.items() if held.pod != pod}
        self._reusable = {key: ids for key, ids in self._reusable.items() if key[0] != pod}
        self._changed()

    def _reuse(self, allocation: Allocation, *, init: bool) -> None:
        key = (allocation.pod, allocation.resource)
        before, held = self._reusable.get(key, frozenset()), frozenset(allocation.device_ids)
        self._reusable[key] = before | held if init else before - held

    async def _admit(self, wanted: Allocation, size: int) -> Allocation:
        before = self.held.get(_key(wanted))
        hint = self._placement(before or wanted, size)
        if not choice.admits(self._topology.policy, hint):
            raise PodRejected("TopologyAffinityError: Resources cannot be allocated with Topology locality")
        if before is not None and len(before.device_ids) != size:
            raise _unexpected(
                f'pod "{wanted.pod}" container "{wanted.container}" changed request for resource '
                f'"{wanted.resource}" from {len(before.device_ids)} to {size}'
            )
        devices = self._plugins.devices.get(wanted.resource)
        refusal = choice.refusal(wanted.resource, devices, before.device_ids if before else ())
        if refusal is not None:
            raise _unexpected(refusal)
        return before or await self._give(replace(wanted, device_ids=await self._choose(wanted, size, hint)))

    def _placement(self, wanted: Allocation, size: int) -> choice.Hint:
        devices = self._plugins.devices.get(wanted.resource, {})
        available, reusable = frozenset(wanted.device_ids), choice.Ids()
        if not wanted.device_ids:
            available, reusable = self._available(wanted.resource), self._reusables(wanted)
        found = choice.hints(
            devices,
            available=available.intersection(devices),
            reusable=reusable.intersection(devices),
            size=size,
            numa_nodes=self._topology.numa_nodes,
        )
        return choice.best_hint(self._topology.policy, found, self._topology.numa_nodes)

    def _available(self, resource: str) -> choice.Ids:
        held = (held.device_ids for held in self.held.values() if held.resource == resource)
        return choice.healthy(self._plugins.devices.get(resource, {})).difference(*held)

    def _reusables(self, wanted: Allocation) -> choice.Ids:
        return self._reusable.get((wanted.pod, wanted.resource), frozenset())

    async def _choose(self, wanted: Allocation, size: int, hint: choice.Hint) -> tuple[str, ...]:
        available, reusable = self._available(wanted.resource), self._reusables(wanted)
        needed = size - len(reusable)
        if len(available) < needed:
            raise _unexpected(
                f"requested number of devices unavailable for {wanted.resource}. "
                f"Requested: {needed}, Available: {len(available)}"
            )
        devices = self._plugins.devices[wanted.resource]
        plan = choice.plan(
            devices, available=available, reusable=reusable, size=size, hint=hint, random=self._random
        )
        preferred = await self._preferred(wanted.resource, plan, size) if plan.ask_over else ()
        return choice.finish(plan, preferred, size, self._random)

    async def _preferred(self, resource: str, plan: choice.Plan, size: int) -> tuple[str, ...]:
        if not self._plugins.endpoints[resource].options.get_preferred_allocation_available:
            return ()
        request = api.ContainerPreferredAllocationRequest(
            available_deviceIDs=self._random.sample(sorted(plan.ask_over), len(plan.ask_over)),
            must_include_deviceIDs=self._random.sample(sorted(plan.taken), len(plan.taken)),
            allocation_size=size,
        )
        asked = api.PreferredAllocationRequest(container_requests=[request])
        try:
            response = await answer(self._stub(resource).GetPreferredAllocation(asked))
        except RpcFailedError as error:
            raise _unexpected(f"device plugin GetPreferredAllocation rpc failed with err: {error}") from None
        return tuple(response.container_responses[0].deviceIDs) if response.container_responses else ()

    async def _give(self, wanted: Allocation) -> Allocation:
        request = api.ContainerAllocateRequest(devices_ids=wanted.device_ids)
        asked = api.AllocateRequest(container_requests=[request])
        try:
            response = await answer(self._stub(wanted.resource).Allocate(asked))
        except RpcFailedError as error:
            raise _unexpected(str(error)) from None
        if not response.container_responses:
            raise _unexpected("no containers return in allocation response")
        dropped = sorted(set(wanted.device_ids).difference(self._plugins.devices.get(wanted.resource, ())))
        if dropped:
            raise KubeletPanicked(f"{', '.join(dropped)}: dropped from the list during Allocate")
        given = replace(wanted, response=response.container_responses[0])
        self.held[_key(given)] = given
        self._changed()
        return given

    async def _pre_start(self, allocation: Allocation) -> None:
        endpoint = self._plugins.endpoints.get(allocation.resource)
        if endpoint is None or not endpoint.options.pre_start_required:
            return
        request = api.PreStartContainerRequest(devices_ids=allocation.device_ids)
        try:
            stub = self._stub(allocation.resource)
            await answer(stub.PreStartContainer(request, timeout=PRE_START_SECONDS))
        except RpcFailedError as error:
            raise ContainerNotStarted(
                f"device plugin PreStartContainer rpc failed with err: {error}"
            ) from None

    def _stub(self, resource: str) -> rpc.DevicePluginStub:
        endpoint = self._plugins.endpoints.get(resource)
        if endpoint is None or endpoint.stub is None or endpoint.stopped_at is not None:
            raise RpcFailedError(f"endpoint of {resource} has been stopped")
        return endpoint.stub


_NOTHING = api.ContainerAllocateResponse()


def _key(allocation: Allocation) -> tuple[str, str, str]:
    return allocation.pod, allocation.container, allocation.resource


def _unexpected(error: str) -> PodRejected:
    return PodRejected(f"UnexpectedAdmissionError: Allocate failed due to {error}, which is unexpected")

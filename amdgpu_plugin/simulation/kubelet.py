"""A simulated kubelet: what a kubelet's device manager does to a device plugin, over real unix sockets.

Enters: a device-plugins directory, and verbs (`allocate`, `restart`, `drop_stream` …). Leaves: what the
kubelet sees of each resource, to be read or waited for. It never polls: conditions are looked at again
whenever something changed.
"""

import asyncio
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from random import Random
from types import TracebackType
from typing import Self

import grpc

from amdgpu_plugin.simulation import kubelet_checkpoint as checkpoint
from amdgpu_plugin.simulation import kubelet_choice as choice
from amdgpu_plugin.simulation.kubelet_checkpoint import Allocation
from amdgpu_plugin.simulation.kubelet_plugins import SOCKET, Changes, Counts, Faults, Plugins
from amdgpu_plugin.simulation.kubelet_pod_resources import PodResourcesServer
from amdgpu_plugin.simulation.kubelet_pods import (
    ContainerNotStarted,
    KubeletPanicked,
    PodRejected,
    Pods,
    Topology,
)

__all__ = ["Allocation", "ContainerNotStarted", "KubeletPanicked", "PodRejected", "SimulatedKubelet"]

GRACE_SECONDS = 300.0
"""A resource without a stream keeps its capacity that long."""


class SimulatedKubelet:
    """One node's kubelet; `async with` starts and stops it."""

    def __init__(
        self,
        directory: str,
        *,
        policy: choice.Policy = "none",
        numa_nodes: tuple[int, ...] = (0, 1),
        random: Random | None = None,
        dial_seconds: float = 10.0,
        pod_resources: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`policy` is the topology manager's, `numa_nodes` are those the machine has, `clock` is in seconds.

        `pod_resources` is the directory of that socket, None for none. Without `random` the kubelet makes the
        same random choices in every run.
        """
        self.directory = directory
        self.counts = Counts()
        self._topology = Topology(policy, numa_nodes)
        self._random = random or Random(0)  # noqa: S311 - no secret
        self._clock = clock
        self._dial_seconds = dial_seconds
        self._faults = Faults()
        self._changes = Changes()
        self._alive = False
        self._plugins = self._new_plugins()
        self._pods = self._new_pods(())
        self._pod_resources = (
            None if pod_resources is None else PodResourcesServer(pod_resources, self._allocations)
        )

    # ---- its life ----

    async def start(self) -> None:
        """Clears the directory of sockets, takes up the checkpoint and listens."""
        os.makedirs(self.directory, exist_ok=True)
        _remove_sockets(self.directory)
        remembered = checkpoint.load(self.directory)
        self._plugins = self._new_plugins()
        self._pods = self._new_pods(remembered.allocations)
        self._alive = True
        for resource, _ in remembered.registered:
            self._plugins.remember(resource)
        await self._plugins.start()
        if self._pod_resources is not None:
            await self._pod_resources.start()
        self._changes.tell()

    async def stop(self, *, leave_socket: bool = True) -> None:
        """Ends as by SIGKILL, which leaves a socket nobody listens at, or with the socket removed."""
        self._alive = False
        await self._plugins.stop()
        if self._pod_resources is not None:
            await self._pod_resources.stop()
        if not leave_socket:
            os.unlink(os.path.join(self.directory, SOCKET))
        self._changes.tell()

    async def restart(self) -> None:
        """Killed and started again."""
        await self.stop()
        await self.start()

    async def __aenter__(self) -> Self:
        """Started."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stopped."""
        await self.stop()

    # ---- what it does wrong when told ----

    def refuse_registers(
        self, count: int, *, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, details: str = "not ready"
    ) -> None:
        """The next `count` Registers fail with that status."""
        self._faults.refusals = count
        self._faults.refusal_code = code
        self._faults.refusal_details = details

    def hang_registers(self, *, hang: bool = True) -> None:
        """Register does not answer; once it no longer hangs, those waiting go on."""
        self._faults.hanging = hang
        self._changes.tell()

    def ignore_plugins(self, *, ignore: bool = True) -> None:
        """Register succeeds, and nothing follows: no options asked, no ListAndWatch."""
        self._faults.ignoring = ignore

    def drop_streams(self, *, drop: bool = True) -> None:
        """Each ListAndWatch is cancelled at its first list."""
        self._faults.dropping = drop

    async def drop_stream(self, resource: str) -> None:
        """Cancels the resource's ListAndWatch. Raises KeyError when nobody is connected for it."""
        await self._plugins.disconnect(resource)

    # ---- what it sees ----

    def devices(self, resource: str) -> dict[str, bool]:
        """Device IDs as last listed, and whether each is healthy."""
        return {
            device_id: device.healthy for device_id, device in self._plugins.devices.get(resource, {}).items()
        }

    def capacity(self, resource: str) -> int:
        """Devices the node has."""
        endpoint = self._plugins.endpoints.get(resource)
        lost_at = endpoint.stopped_at if endpoint else None
        expired = lost_at is not None and self._clock() - lost_at > GRACE_SECONDS
        return 0 if expired else len(self.devices(resource))

    def allocatable(self, resource: str) -> int:
        """Healthy devices, held or not."""
        return sum(self.devices(resource).values())

    def connected(self, resource: str) -> bool:
        """Whether a plugin of the resource is registered and has not been lost since."""
        endpoint = self._plugins.endpoints.get(resource)
        return endpoint is not None and endpoint.stopped_at is None

    @property
    def held(self) -> Mapping[tuple[str, str, str], Allocation]:
        """What containers hold, by pod, container and resource."""
        return dict(self._pods.held)

    # ---- waiting for it to see something ----

    async def until(
        self, predicate: Callable[[], bool], within: float = 10.0, *, what: str = "condition"
    ) -> None:
        """Returns when the predicate holds. Raises TimeoutError after `within` seconds."""
        try:
            async with asyncio.timeout(within):
                await self._changes.until(predicate)
        except TimeoutError:
            seen = {resource: self.devices(resource) for resource in self._plugins.devices}
            raise TimeoutError(f"{what}: not within {within:g} s; seen: {seen}; {self.counts}") from None

    async def registered(self, resource: str, within: float = 10.0) -> None:
        """Returns when a plugin of the resource is connected."""
        await self.until(lambda: self.connected(resource), within, what=f"{resource} registered")

    async def sees(
        self, resource: str, *, healthy: int, unhealthy: int | None = None, within: float = 10.0
    ) -> None:
        """Returns when that many devices are healthy, and unhealthy if given."""

        def seen() -> bool:
            devices = self.devices(resource)
            ill = len(devices) - sum(devices.values())
            return sum(devices.values()) == healthy and unhealthy in {None, ill}

        await self.until(seen, within, what=f"{resource} healthy={healthy} unhealthy={unhealthy}")

    async def sees_unhealthy(self, device_id: str, within: float = 10.0) -> None:
        """Returns when the device, of whichever resource, is listed and unhealthy."""
        await self.until(lambda: self._health(device_id) is False, within, what=f"{device_id} unhealthy")

    async def sees_healthy(self, device_id: str, within: float = 10.0) -> None:
        """Returns when the device, of whichever resource, is healthy."""
        await self.until(lambda: self._health(device_id) is True, within, what=f"{device_id} healthy")

    def _health(self, device_id: str) -> bool | None:
        listed = [
            devices[device_id].healthy for devices in self._plugins.devices.values() if device_id in devices
        ]
        return all(listed) if listed else None

    # ---- pods ----

    async def allocate(
        self, resource: str, size: int, *, pod: str, container: str = "main", init: bool = False
    ) -> Allocation:
        """Admits a container that asks for `size` devices, and starts it.

        A container that holds them already is admitted again, with the answer it got then. What an `init`
        container holds is used again by the containers of its pod that come after it. Raises PodRejected,
        ContainerNotStarted.
        """
        return await self._pods.allocate(resource, size, pod=pod, container=container, init=init)

    async def restart_container(self, pod: str, container: str = "main") -> tuple[Allocation, ...]:
        """Starts a container again in place: no question of health, and the answers it got at first.

        Raises ContainerNotStarted.
        """
        return await self._pods.restart_container(pod, container)

    async def free(self, pod: str) -> None:
        """The pod has ended."""
        await self._pods.free(pod)

    # ---- within ----

    def _new_plugins(self) -> Plugins:
        return Plugins(
            self.directory,
            faults=self._faults,
            counts=self.counts,
            changes=self._changes,
            changed=self._changed,
            clock=self._clock,
            dial_seconds=self._dial_seconds,
        )

    def _new_pods(self, remembered: tuple[Allocation, ...]) -> Pods:
        return Pods(
            self._plugins, remembered, topology=self._topology, random=self._random, changed=self._changed
        )

    def _allocations(self) -> Iterable[Allocation]:
        return self._pods.held.values()

    def _changed(self) -> None:
        self._changes.tell()
        if not self._alive:
            return
        registered = (
            (name, tuple(choice.healthy(devices))) for name, devices in self._plugins.devices.items()
        )
        remembered = checkpoint.Checkpoint(tuple(self._pods.held.values()), tuple(registered))
        try:
            checkpoint.save(self.directory, remembered)
        except OSError as error:
            self.counts.errors.append(f"writing checkpoint encountered {error}")


def _remove_sockets(directory: str) -> None:
    for entry in os.scandir(directory):
        if stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode):
            os.unlink(entry.path)

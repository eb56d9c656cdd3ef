"""All resources of the node, each with its registrar: new ones join, emptied ones leave."""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from amdgpu_plugin.allocation.container import NOTHING_MORE, Extras
from amdgpu_plugin.allocation.shares import Spread
from amdgpu_plugin.instruments import Instruments
from amdgpu_plugin.kubelet.directory import DirectoryWatch
from amdgpu_plugin.kubelet.registrar import Registrar
from amdgpu_plugin.kubelet.service import DevicePluginService
from amdgpu_plugin.kubelet.sockets import SocketNames
from amdgpu_plugin.node import Latest, NodeState

log = logging.getLogger(__name__)


class DirectoryLostError(Exception):
    """The device-plugins directory was deleted on the host while this container holds the old one."""


class KubeletFace:
    """The kubelet's side of NodeState while `run` runs."""

    def __init__(
        self,
        directory: str,
        node: Latest[NodeState],
        *,
        simulated: bool,
        extras: Extras = NOTHING_MORE,
        strict_sharing: bool = False,
        spread: Spread = "distinct",
        on_allocated: Callable[[], None] = lambda: None,
        instruments: Instruments | None = None,
    ) -> None:
        """Nothing is served before `run`. `on_allocated` is told of each Allocate."""
        self.watch = DirectoryWatch(directory)
        self.registrars: dict[str, Registrar] = {}
        self._node = node
        self._service = partial(
            DevicePluginService,
            node=node,
            simulated=simulated,
            extras=extras,
            strict_sharing=strict_sharing,
            spread=spread,
            on_allocated=on_allocated,
            instruments=instruments or Instruments(),
        )
        self._names = SocketNames()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled; all sockets are gone before this returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.watch.run(), name="directory watch")
            group.create_task(self._leave_a_dead_mount(), name="directory mount")
            async for state in self._node.follow():
                for resource in state.resources:
                    if resource not in self.registrars:
                        self._start(resource, group)
                for resource in self.registrars.keys() - set(state.resources):
                    await self._end(resource)

    def _start(self, resource: str, group: asyncio.TaskGroup) -> None:
        registrar = Registrar(self._service(resource), self.watch, self._names, time.monotonic)
        self.registrars[resource] = registrar
        self._tasks[resource] = group.create_task(registrar.run(), name=f"registrar {resource}")

    async def _end(self, resource: str) -> None:
        task = self._tasks.pop(resource)
        del self.registrars[resource]
        task.cancel()
        await asyncio.wait([task])
        log.info("no longer served", extra={"fields": {"resource": resource}})

    async def _leave_a_dead_mount(self) -> None:
        async for view in self.watch.view.follow():
            if view.deleted:
                raise DirectoryLostError(
                    f"{self.watch.directory} was deleted on the host and made again; "
                    "only a restart of this container mounts the new one"
                )

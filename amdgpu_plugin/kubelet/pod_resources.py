"""Who holds which devices, as the kubelet's pod-resources API tells it.

The directory is what is mounted: the socket in it is made anew at each kubelet start, so each question goes
over a connection of its own. Without the socket nothing is known, which is said once, and harms nothing.
"""

import asyncio
import logging
import os
from collections import defaultdict

import grpc

from amdgpu_plugin.instruments import Instruments
from amdgpu_plugin.kubelet import sockets
from amdgpu_plugin.kubelet.api import podresources_pb2 as api
from amdgpu_plugin.kubelet.api import podresources_pb2_grpc as wire
from amdgpu_plugin.node import Held, Holder, Holders, Latest

log = logging.getLogger(__name__)

SOCKET = "kubelet.sock"
REFRESH_SECONDS = 10.0
ANSWER_SECONDS = 5.0
MESSAGE_LIMIT_BYTES = 16 * 1024 * 1024
SHORTEST_PAUSE_SECONDS = 0.2
"""Between two questions: the kubelet allows 100 a second to all its clients together, 10 at once."""


class PodResources:
    """Keeps `holders` up to date while `run` runs; None in it means not known."""

    def __init__(
        self, directory: str, holders: Latest[Holders | None], instruments: Instruments | None = None
    ) -> None:
        """Nothing is asked before `refresh` or `run`."""
        self._failures = (instruments or Instruments()).pod_resources_failures
        self._path = os.path.join(directory, SOCKET)
        self._holders = holders
        self._wanted = asyncio.Event()
        self._said: str | None = None

    def ask_soon(self) -> None:
        """Something was allocated: do not wait for the next turn."""
        self._wanted.set()

    async def run(self) -> None:
        """For ever: every REFRESH_SECONDS, and soon after `ask_soon`."""
        while True:
            await self.refresh()
            await asyncio.sleep(SHORTEST_PAUSE_SECONDS)
            try:
                async with asyncio.timeout(REFRESH_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                continue
            self._wanted.clear()

    async def refresh(self, *, within: float = ANSWER_SECONDS) -> None:
        """Ask once. What fails makes the holders unknown, never an exception."""
        try:
            answer = await self._list(within)
        except grpc.aio.AioRpcError as error:
            self._failures.inc()
            self._holders.set(None)
            told = f"{error.code().name}: {error.details()}"
            self._say(told if os.path.exists(self._path) else "it is not there")
            return
        self._holders.set(holders_in(answer))
        self._say(None)

    async def _list(self, within: float) -> api.ListPodResourcesResponse:
        limit = ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES)
        async with sockets.connect(self._path, limit) as channel:
            lister = wire.PodResourcesListerStub(channel)
            return await lister.List(api.ListPodResourcesRequest(), timeout=within)

    def _say(self, problem: str | None) -> None:
        """Each change between knowing and not knowing, once."""
        if (problem is None) == (self._said is None):
            return
        if problem is None:
            log.info("pod-resources answers", extra={"fields": {"socket": self._path}})
        else:
            log.warning(
                "no pod-resources: who holds a device is not known",
                extra={"fields": {"socket": self._path, "error": problem}},
            )
        self._said = problem


def holders_in(answer: api.ListPodResourcesResponse) -> Holders:
    """The holders of every device of every resource, ours or not; a shared device has several."""
    found: defaultdict[Held, set[Holder]] = defaultdict(set)
    for pod in answer.pod_resources:
        for container in pod.containers:
            holder = Holder(pod.namespace, pod.name, container.name)
            for devices in container.devices:
                for device_id in devices.device_ids:
                    found[Held(devices.resource_name, device_id)].add(holder)
    return {held: tuple(sorted(holders)) for held, holders in found.items()}

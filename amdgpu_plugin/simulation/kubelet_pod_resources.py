"""The pod-resources service of a simulated kubelet: what its pods hold.

The socket is made anew at each start.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import Any

import grpc

from amdgpu_plugin.kubelet.api import podresources_pb2 as api
from amdgpu_plugin.kubelet.api import podresources_pb2_grpc as wire
from amdgpu_plugin.simulation.kubelet_checkpoint import Allocation

SOCKET = "kubelet.sock"
NAMESPACE = "default"


class PodResourcesServer(wire.PodResourcesListerServicer):
    """Serves between `start` and `stop`."""

    def __init__(self, directory: str, held: Callable[[], Iterable[Allocation]]) -> None:
        """`held` is asked for at every List."""
        self._path = os.path.join(directory, SOCKET)
        self._held = held
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """At a new socket, as a kubelet that starts."""
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self._server = grpc.aio.server()
        wire.add_PodResourcesListerServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self._path}")
        await self._server.start()

    async def stop(self) -> None:
        """As killed."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace=0)

    async def List(
        self,
        request: api.ListPodResourcesRequest,  # noqa: ARG002
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002
    ) -> api.ListPodResourcesResponse:
        """One entry for each pod, its containers and their devices."""
        answer = api.ListPodResourcesResponse()
        for allocation in self._held():
            pod = answer.pod_resources.add(name=allocation.pod, namespace=NAMESPACE)
            devices = api.ContainerDevices(
                resource_name=allocation.resource, device_ids=allocation.device_ids
            )
            pod.containers.add(name=allocation.container, devices=[devices])
        return answer

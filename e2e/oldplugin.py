"""A stand-in for AMD's device plugin, as far as it meets ours: `python -m e2e.oldplugin ID …`.

It serves the IDs named as healthy devices of amd.com/gpu on AMD's socket, `amd.com_gpu`, and prefers them in
the order given. Runs on the node, as root, until SIGTERM; the socket is then gone.
"""

import argparse
import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as wire
from e2e.places import KUBELET

RESOURCE = "amd.com/gpu"
SOCKET = "amd.com_gpu"
REGISTERED = "registered"

Context = grpc.aio.ServicerContext[Any, Any]


class OldPlugin(wire.DevicePluginServicer):
    """Gives /dev/null as /dev/kfd, and the IDs in OLD_PLUGIN_DEVICES."""

    def __init__(self, ids: tuple[str, ...]) -> None:
        self._ids = ids

    async def GetDevicePluginOptions(self, request: api.Empty, context: Context) -> api.DevicePluginOptions:  # noqa: N802
        del request, context
        return api.DevicePluginOptions(get_preferred_allocation_available=True)

    async def ListAndWatch(  # noqa: N802
        self, request: api.Empty, context: Context
    ) -> AsyncIterator[api.ListAndWatchResponse]:
        del request, context
        yield api.ListAndWatchResponse(devices=[api.Device(ID=name, health="Healthy") for name in self._ids])
        await asyncio.Event().wait()

    async def GetPreferredAllocation(  # noqa: N802
        self, request: api.PreferredAllocationRequest, context: Context
    ) -> api.PreferredAllocationResponse:
        del context
        answers = [
            sorted(wanted.available_deviceIDs, key=self._ids.index)[: wanted.allocation_size]
            for wanted in request.container_requests
        ]
        return api.PreferredAllocationResponse(
            container_responses=[api.ContainerPreferredAllocationResponse(deviceIDs=ids) for ids in answers]
        )

    async def Allocate(self, request: api.AllocateRequest, context: Context) -> api.AllocateResponse:  # noqa: N802
        del context
        kfd = api.DeviceSpec(container_path="/dev/kfd", host_path="/dev/null", permissions="rw")
        answers = [
            api.ContainerAllocateResponse(
                envs={"OLD_PLUGIN_DEVICES": ",".join(wanted.devices_ids)}, devices=[kfd]
            )
            for wanted in request.container_requests
        ]
        return api.AllocateResponse(container_responses=answers)

    async def PreStartContainer(  # noqa: N802
        self, request: api.PreStartContainerRequest, context: Context
    ) -> api.PreStartContainerResponse:
        del request, context
        return api.PreStartContainerResponse()


async def serve(directory: Path, ids: tuple[str, ...]) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = grpc.aio.server()
    wire.add_DevicePluginServicer_to_server(OldPlugin(ids), server)
    server.add_insecure_port(f"unix:{directory / SOCKET}")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"unix:{directory / 'kubelet.sock'}") as channel:
            request = api.RegisterRequest(version="v1beta1", endpoint=SOCKET, resource_name=RESOURCE)
            await wire.RegistrationStub(channel).Register(request, timeout=15)
        print(REGISTERED, flush=True)
        await stop.wait()
    finally:
        await server.stop(grace=0)
        (directory / SOCKET).unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m e2e.oldplugin", description=__doc__)
    parser.add_argument("ids", nargs="+", metavar="ID")
    asyncio.run(serve(KUBELET / "device-plugins", tuple(parser.parse_args().ids)))


if __name__ == "__main__":
    main()

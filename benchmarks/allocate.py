"""Allocate, as a multiple of an empty grpc.aio call with answers of the same size, by the same client."""

import asyncio
import os
import sys
import tempfile
import time

import grpc

from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as wire
from amdgpu_plugin.simulation.kubelet import SimulatedKubelet
from benchmarks.nodes import daemon, nodes
from benchmarks.report import Row, percentile

CALLS = 3000
WARM_UP = 300
RESOURCE = "amd.com/gpu"
GOAL = 1.5

_ECHO = """
import asyncio, sys, grpc
path, answer = sys.argv[1], bytes.fromhex(sys.argv[2])
async def main():
    async def same(request, context):
        return answer
    handler = grpc.unary_unary_rpc_method_handler(same)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Empty", {"Call": handler}),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()
asyncio.run(main())
"""


async def measure() -> list[Row]:
    with nodes() as (_, node), tempfile.TemporaryDirectory(prefix="bench-") as plugins:
        async with SimulatedKubelet(plugins) as kubelet:
            with daemon(node.root, plugins):
                await kubelet.sees(RESOURCE, healthy=node.devices, within=30)
                ids = sorted(kubelet.devices(RESOURCE))[:8]
                socket = next(name for name in os.listdir(plugins) if name.startswith("amdgpu-plugin-"))
                return await _compare(os.path.join(plugins, socket), os.path.join(plugins, "echo"), ids)


async def _compare(socket: str, echo: str, ids: list[str]) -> list[Row]:
    request = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=ids)])
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        stub = wire.DevicePluginStub(channel)
        answer = (await stub.Allocate(request)).SerializeToString()
        command = [sys.executable, "-c", _ECHO, echo, answer.hex()]
        server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            assert server.stdout is not None
            await server.stdout.readline()
            async with grpc.aio.insecure_channel(f"unix:{echo}") as other:
                empty = other.unary_unary(
                    "/bench.Empty/Call",
                    request_serializer=api.AllocateRequest.SerializeToString,
                    response_deserializer=api.AllocateResponse.FromString,
                )
                ours, theirs = [], []
                for call in range(WARM_UP + CALLS):
                    began = time.perf_counter()
                    await stub.Allocate(request)
                    between = time.perf_counter()
                    await empty(request)
                    ended = time.perf_counter()
                    if call >= WARM_UP:
                        ours.append((between - began) * 1000)
                        theirs.append((ended - between) * 1000)
        finally:
            server.kill()
            await server.wait()
    return [_row(percent, ours, theirs, len(answer)) for percent in (50, 99)]


def _row(percent: int, ours: list[float], theirs: list[float], size: int) -> Row:
    own, other = percentile(ours, percent), percentile(theirs, percent)
    ratio = own / other
    return Row(
        f"8 of 63 devices, {CALLS} calls: p{percent}, and that of an empty call ({size} bytes back)",
        f"{own:.2f} ms, {other:.2f} ms: {ratio:.2f} ×",
        f"≤ {GOAL:g} ×",
        ratio <= GOAL,
    )

"""What scraping costs the rest: Allocate and the health stream meanwhile, and memory with everything on."""

import asyncio
import contextlib
import os
import socket
import tempfile
import time
from collections.abc import AsyncIterator

import grpc

from amdgpu_plugin.commands.inputs import scratch_parent
from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as wire
from amdgpu_plugin.simulation.kubelet import SimulatedKubelet
from amdgpu_plugin.simulation.node import SimulatedNode
from benchmarks.health import RESOURCE, pushes_while
from benchmarks.nodes import daemon, memory_mib
from benchmarks.report import Row, percentile

CALLS, SCRAPES_A_SECOND = 1500, 10
GOAL_RATIO, GOAL_MIB, GOAL_PUSH_MS = 2.0, 60.0, 50.0


async def measure() -> list[Row]:
    rows = [*await _allocations(), *await _memory()]
    if os.geteuid() == 0:
        pushes = await pushes_while(_scraping)
        p99 = percentile(pushes, 99)
        rows.append(
            Row(
                f"kernel event → list, scraped {SCRAPES_A_SECOND} times a second, {len(pushes)} events: p99",
                f"{p99:.1f} ms",
                f"≤ {GOAL_PUSH_MS:g} ms",
                p99 <= GOAL_PUSH_MS,
            )
        )
    return rows


async def _allocations() -> list[Row]:
    async with (
        _registered() as (socket_path, port, _),
        grpc.aio.insecure_channel(f"unix:{socket_path}") as channel,
    ):
        stub = wire.DevicePluginStub(channel)
        watch = aiter(stub.ListAndWatch(api.Empty()))
        ids = [device.ID for device in (await anext(watch)).devices][:8]
        idle = await _calls(stub, ids)
        async with _scraping(port):
            scraped = await _calls(stub, ids)
    before, during = percentile(idle, 99), percentile(scraped, 99)
    return [
        Row(
            f"Allocate of 8 of 64, {CALLS} calls: p99 idle, and scraped {SCRAPES_A_SECOND} times a second",
            f"{before:.2f} ms, {during:.2f} ms: {during / before:.1f} ×",
            f"≤ {GOAL_RATIO:g} ×",
            during / before <= GOAL_RATIO,
        )
    ]


async def _calls(stub: wire.DevicePluginStub, ids: list[str]) -> list[float]:
    request = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=ids)])
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        await stub.Allocate(request)
        times.append((time.perf_counter() - began) * 1000)
    return times


async def _memory() -> list[Row]:
    async with _registered("--http-address", "") as (_, _, process):
        await asyncio.sleep(3)
        without = memory_mib(process)
    async with _registered() as (_, port, process):
        async with _scraping(port):
            await asyncio.sleep(5)
        everything = memory_mib(process)
    return [
        Row(
            "resident memory, 64 devices: everything on and scraped, and without HTTP",
            f"{everything:.1f} MiB, {without:.1f} MiB",
            f"≤ {GOAL_MIB:g} MiB",
            everything <= GOAL_MIB,
        )
    ]


@contextlib.asynccontextmanager
async def _registered(*options: str) -> AsyncIterator[tuple[str, int, int]]:
    """Its socket, its port, its pid."""
    port = _free_port()
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=scratch_parent()) as folder,
        tempfile.TemporaryDirectory(prefix="bench-") as plugins,
    ):
        node = SimulatedNode.create(os.path.join(folder, "node"), "mi300x-cpx")
        chosen = options or ("--http-address", f"127.0.0.1:{port}")
        async with SimulatedKubelet(plugins) as kubelet:
            with daemon(node.root, plugins, *chosen, "--health-interval", "2") as process:
                await kubelet.sees(RESOURCE, healthy=64, within=30)
                name = next(name for name in os.listdir(plugins) if name.startswith("amdgpu-plugin-"))
                yield os.path.join(plugins, name), port, process.pid


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextlib.asynccontextmanager
async def _scraping(port: int) -> AsyncIterator[None]:
    task = asyncio.create_task(_scrape(port))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _scrape(port: int) -> None:
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        await reader.read()
        while await reader.read(65536):
            pass
        writer.close()
        await asyncio.sleep(1 / SCRAPES_A_SECOND)

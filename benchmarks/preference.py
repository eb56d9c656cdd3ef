"""GetPreferredAllocation over gRPC from another process, and how soon a change of health is sent meanwhile.

`python -m benchmarks.preference SHAPE SOCKET` is that process: the device-plugin service over an inventory of
so many GPUs and partitions. While a ListAndWatch stream is open, its list changes every PAUSE_SECONDS (a NUMA
node counts up), and the moment is told on stdout.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

import grpc

from amdgpu_plugin.discovery.inventory import Inventory
from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as wire
from amdgpu_plugin.kubelet.service import DevicePluginService
from amdgpu_plugin.node import Latest, NodeState
from benchmarks.report import Row, percentile
from tests.allocation.nodes import gpu, hives, listed, node, served

Call = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]

RESOURCE = "amd.com/gpu"
AVAILABILITIES = 200
GROWTH_CALLS = 400
PAUSE_SECONDS = 0.02
PUSHES = 300
# Shape, what it is called, and how many milliseconds 99 of 100 answers may take.
GOALS = (
    ("two-hives:16:1", "16 whole GPUs in two hives", 5.0),
    ("irregular:16:1", "16 whole GPUs, links without any order", None),
    ("mesh:8:8", "8 GPUs × 8 partitions, 64", 10.0),
    ("mesh:16:8", "16 GPUs × 8 partitions, 128", 25.0),
)
GROWTH = ("mesh:1:8", "mesh:2:8", "mesh:4:8", "mesh:8:8", "mesh:16:8", "mesh:32:8")


def inventory_of(shape: str) -> Inventory:
    kind, gpus, devices = shape.split(":")
    count, each = int(gpus), int(devices)
    if kind == "two-hives":
        return hives(2, count // 2, devices=each)
    random = Random(count)
    board = [gpu(index, numa=index * 2 // count, hive="0", devices=each) for index in range(count)]
    if kind == "mesh":
        return node(board, lambda _a, _b: ("xgmi", 15, 50000))
    joints = [("xgmi", 15, 200000), ("xgmi", 15, 100000), ("xgmi", 15, 50000), ("xgmi", 30, 50000)]
    return node(board, lambda _a, _b: random.choice(joints))  # type: ignore[arg-type, return-value]


def requests(inventory: Inventory, size: int, random: Random, count: int) -> Iterator[bytes]:
    everything = served(inventory)
    for _ in range(count):
        free = random.sample(everything, random.randint(size, len(everything)))
        must = random.sample(free, random.randint(1, min(3, size))) if random.random() < 0.25 else []
        wanted = api.ContainerPreferredAllocationRequest(
            available_deviceIDs=free, must_include_deviceIDs=must, allocation_size=size
        )
        yield api.PreferredAllocationRequest(container_requests=[wanted]).SerializeToString()


async def measure() -> list[Row]:
    rows = [await _every_size(*each) for each in GOALS]
    rows += [await _growth(shape) for shape in GROWTH]
    return [*rows, await _pushes("mesh:16:8")]


async def _every_size(shape: str, name: str, goal: float | None) -> Row:
    inventory, random = inventory_of(shape), Random(1)
    sizes = range(1, len(served(inventory)) + 1)
    async with _service(shape) as (_, call):
        took = [
            await _timed(call, request)
            for size in sizes
            for request in requests(inventory, size, random, AVAILABILITIES)
        ]
    p99 = percentile(took, 99)
    return Row(
        f"{name}: every size, {AVAILABILITIES} availabilities each: p50, p99, worst",
        f"{percentile(took, 50):.1f} ms, {p99:.1f} ms, {max(took):.1f} ms",
        "" if goal is None else f"p99 ≤ {goal:g} ms",
        None if goal is None else p99 <= goal,
    )


async def _growth(shape: str) -> Row:
    inventory, random = inventory_of(shape), Random(2)
    most = len(served(inventory))
    async with _service(shape) as (_, call):
        took = [
            await _timed(call, next(requests(inventory, random.randint(1, most), random, 1)))
            for _ in range(GROWTH_CALLS)
        ]
    figure = f"{percentile(took, 50):.1f} ms, {percentile(took, 99):.1f} ms"
    return Row(f"{most} devices, {GROWTH_CALLS} random requests: p50, p99", figure)


async def _pushes(shape: str) -> Row:
    """Changes of the list from the process to here, while it answers one request after the other."""
    inventory, random = inventory_of(shape), Random(3)
    everything = list(requests(inventory, len(served(inventory)) // 2, random, 50))
    async with (
        _service(shape) as (process, call),
        grpc.aio.insecure_channel(f"unix:{process.path}") as channel,
    ):
        stream = wire.DevicePluginStub(channel).ListAndWatch(api.Empty())
        seen: dict[int, float] = {}
        told: dict[int, float] = {}

        async def watch() -> None:
            async for answer in stream:
                seen[answer.devices[0].topology.nodes[0].ID] = time.monotonic()

        async def listen() -> None:
            async for line in process.stdout:
                number, moment = line.split()
                told[int(number)] = float(moment)

        tasks = [asyncio.create_task(watch()), asyncio.create_task(listen())]
        while len(seen) < PUSHES:
            await call(random.choice(everything))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    took = [(seen[number] - told[number]) * 1000 for number in seen.keys() & told.keys()]
    return Row(
        f"128 devices: a change of the list to its arrival, while preferences are asked for without a pause, "
        f"{len(took)} changes: p50, p99",
        f"{percentile(took, 50):.1f} ms, {percentile(took, 99):.1f} ms",
    )


async def _timed(call: Call, request: bytes) -> float:
    began = time.perf_counter()
    await call(request)
    return (time.perf_counter() - began) * 1000


@dataclass(frozen=True, slots=True)
class _Process:
    path: str
    stdout: asyncio.StreamReader


@contextlib.asynccontextmanager
async def _service(shape: str) -> AsyncIterator[tuple[_Process, Call]]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = os.path.join(folder, "plugin.sock")
        command = [sys.executable, "-m", "benchmarks.preference", shape, path]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            assert process.stdout is not None
            await process.stdout.readline()
            async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
                call: Call = channel.unary_unary("/v1beta1.DevicePlugin/GetPreferredAllocation")
                await call(next(requests(inventory_of(shape), 1, Random(0), 1)))
                yield _Process(path, process.stdout), call
        finally:
            process.kill()
            await process.wait()


async def _serve(shape: str, path: str) -> None:
    inventory = inventory_of(shape)
    latest = Latest(NodeState(inventory, tuple(listed(inventory))))
    service = DevicePluginService(RESOURCE, latest, simulated=True)
    server = grpc.aio.server()
    wire.add_DevicePluginServicer_to_server(service, server)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    print("ready", flush=True)
    await service.streams.until_other_than(service.streams.value)
    for number in range(1, sys.maxsize):
        await asyncio.sleep(PAUSE_SECONDS)
        print(number, time.monotonic(), flush=True)
        latest.set(_with_numa_node(latest.value, number))


def _with_numa_node(state: NodeState, number: int) -> NodeState:
    first, *others = state.devices
    changed = replace(first, gpu=replace(first.gpu, numa_node=number))
    return state.followed_by(devices=(changed, *others))


def main(arguments: Sequence[str]) -> None:
    asyncio.run(_serve(*arguments))


if __name__ == "__main__":
    main(sys.argv[1:])

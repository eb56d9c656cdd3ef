"""A kubelet that restarts a hundred times: how soon we are back, and what it leaves in us."""

import asyncio
import random
import tempfile
import time
from statistics import median

from amdgpu_plugin.simulation.kubelet import SimulatedKubelet
from benchmarks.nodes import daemon, descriptors, memory_mib, nodes, threads
from benchmarks.report import Row

RESTARTS = 100
RESOURCE = "amd.com/gpu"
GOAL_SECONDS = 1.0


async def measure() -> list[Row]:
    moments = random.Random(1)
    times: list[float] = []
    with nodes() as (node, _), tempfile.TemporaryDirectory(prefix="bench-") as plugins:
        async with SimulatedKubelet(plugins) as kubelet:
            with daemon(node.root, plugins) as process:
                await kubelet.sees(RESOURCE, healthy=node.devices, within=30)
                before = (threads(process.pid), descriptors(process.pid), memory_mib(process.pid))
                for _ in range(RESTARTS):
                    await asyncio.sleep(moments.uniform(0, 0.3))
                    await kubelet.stop()
                    await asyncio.sleep(moments.uniform(0, 0.3))
                    began = time.perf_counter()
                    await kubelet.start()
                    await kubelet.sees(RESOURCE, healthy=node.devices, within=90)
                    times.append(time.perf_counter() - began)
                after = (threads(process.pid), descriptors(process.pid), memory_mib(process.pid))
    middle = median(times)
    return [
        Row(
            f"{RESTARTS} restarts: kubelet started → 8 devices healthy, median",
            f"{middle * 1000:.0f} ms",
            f"≤ {GOAL_SECONDS:g} s",
            middle <= GOAL_SECONDS,
        ),
        Row("the same, worst", f"{max(times) * 1000:.0f} ms"),
        Row("threads before, after", f"{before[0]}, {after[0]}"),
        Row("descriptors before, after", f"{before[1]}, {after[1]}"),
        Row("resident memory before, after", f"{before[2]:.1f} MiB, {after[2]:.1f} MiB"),
    ]

"""From exec to the kubelet holding the first list, beside what importing grpc.aio alone costs."""

import asyncio
import subprocess
import sys
import tempfile
import time

from amdgpu_plugin.simulation.kubelet import SimulatedKubelet
from benchmarks.nodes import BenchNode, daemon, memory_mib, nodes
from benchmarks.report import Row, spread

RUNS = 9
RESOURCE = "amd.com/gpu"
MEMORY_GOAL_MIB = 46


async def measure() -> list[Row]:
    rows: list[Row] = []
    with nodes() as (eight, captured):
        for node in (eight, captured):
            starts: list[float] = []
            imports: list[float] = []
            memory: list[float] = []
            for _ in range(RUNS):
                imports.append(await asyncio.to_thread(_import_milliseconds))
                milliseconds, mib = await _start(node)
                starts.append(milliseconds)
                memory.append(mib)
            rows += [
                Row(
                    f"{node.name}: exec → registered and first list received", spread(starts, "ms", digits=0)
                ),
                Row(
                    f"{node.name}: exec → `import grpc.aio` done, same runs", spread(imports, "ms", digits=0)
                ),
                _memory_row(node, memory),
            ]
    return rows


def _memory_row(node: BenchNode, memory: list[float]) -> Row:
    figure = spread(memory, "MiB")
    if node.devices != 63:
        return Row(f"{node.name}: resident memory after start", figure)
    met = sorted(memory)[len(memory) // 2] <= MEMORY_GOAL_MIB
    return Row(f"{node.name}: resident memory after start", figure, f"≤ {MEMORY_GOAL_MIB} MiB", met)


def _import_milliseconds() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import grpc.aio"], check=True)
    return (time.perf_counter() - began) * 1000


async def _start(node: BenchNode) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="bench-") as plugins:
        async with SimulatedKubelet(plugins) as kubelet:
            began = time.perf_counter()
            with daemon(node.root, plugins) as process:
                await kubelet.sees(RESOURCE, healthy=node.devices, within=30)
                return (time.perf_counter() - began) * 1000, memory_mib(process.pid)

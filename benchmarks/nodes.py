"""Nodes to measure on, and the daemon as a process of its own."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amdgpu_plugin.capture_file import parse_capture
from amdgpu_plugin.commands.inputs import scratch_parent
from amdgpu_plugin.simulation.node import SimulatedNode
from amdgpu_plugin.simulation.shapes import parse_shape
from tests.fixtures.trees import write_tree

CAPTURE_63 = Path("tests/fixtures/sysfs/mi300x-cpx-63.capture")
COMMAND = (sys.executable, "-m", "amdgpu_plugin")


@dataclass(frozen=True, slots=True)
class BenchNode:
    name: str
    root: str
    devices: int


@contextlib.contextmanager
def nodes() -> Iterator[tuple[BenchNode, BenchNode]]:
    """Eight simulated MI300X, and the captured node of 63 partitions, both as directories."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch_parent()) as folder:
        eight = SimulatedNode.create(os.path.join(folder, "eight"), parse_shape("mi300x:8"))
        captured = write_tree(parse_capture(CAPTURE_63.read_text()), Path(folder, "captured"))
        yield (
            BenchNode("8 GPUs", str(eight.root), 8),
            BenchNode("63 partitions", str(captured), 63),
        )


@contextlib.contextmanager
def daemon(root: str, plugins: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`run` as a process; ended by SIGTERM, and its exit status must be 0."""
    process = subprocess.Popen(
        [
            *COMMAND,
            "run",
            "--sysfs-root",
            root,
            "--device-plugins-dir",
            plugins,
            "--log-level",
            "error",
            *(() if "--http-address" in options else ("--http-address", "127.0.0.1:0")),
            # none: a kubelet of this machine has nothing to say of simulated GPUs
            "--pod-resources-dir",
            os.path.join(plugins, "pod-resources"),
            *(() if "--state-dir" in options else ("--state-dir", os.path.join(plugins, "state"))),
            *options,
        ],
    )
    try:
        yield process
    finally:
        process.terminate()
        status = process.wait(timeout=20)
    if status != 0:
        raise RuntimeError(f"the daemon ended with {status}")


def memory_mib(pid: int) -> float:
    """Resident memory (VmRSS)."""
    return _status(pid, "VmRSS") / 1024


def threads(pid: int) -> int:
    return _status(pid, "Threads")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _status(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{key}:")).split()[1])

"""A node whose GPUs are partitioned."""

import time

from e2e.kubernetes import wait_until
from e2e.tests.figures import Figures, seconds
from e2e.tests.installation import PARTITIONED, Installation
from e2e.tests.workload import Workload


def test_64_partitions_are_allocatable_after_install(plugin: Installation, figures: Figures) -> None:
    plugin.uninstall()
    wait_until("a node without GPUs", lambda: not plugin.allocatable(), within_s=60)
    started = time.monotonic()
    plugin.install(PARTITIONED)
    plugin.wait_allocatable(64)
    figures.add(
        "helm install → 64 partitions in the node's allocatable", seconds([time.monotonic() - started])
    )


def test_two_partitions_come_from_one_gpu(partitions: Installation, pods: Workload) -> None:
    (report,) = pods.start("two-slices", 2)
    assert [device.partition("-")[0] for device in report.ids] == report.variables[
        "AMDGPU_PCI_ADDRESSES"
    ].split(",")
    assert len(set(report.variables["AMDGPU_PCI_ADDRESSES"].split(","))) == 1
    assert len(set(report.variables["AMDGPU_RENDER_NODES"].split(","))) == 2

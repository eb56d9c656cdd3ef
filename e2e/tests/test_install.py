"""From `helm install` to GPUs that can be had."""

import time

import pytest

from e2e.kubernetes import wait_until
from e2e.tests.figures import Figures, seconds
from e2e.tests.installation import GPU, WHOLE, Installation
from e2e.tests.kubelet_log import KubeletLog


@pytest.fixture(scope="module")
def started(plugin: Installation) -> float:
    """UNIX time at which `helm install` was called, on a node without GPUs."""
    plugin.uninstall()
    wait_until("a node without GPUs", lambda: not plugin.allocatable(), within_s=60)
    now = time.time()
    plugin.install(WHOLE)
    return now


def test_eight_gpus_are_allocatable_after_install(
    plugin: Installation, started: float, figures: Figures
) -> None:
    plugin.wait_allocatable(8)
    figures.add(
        "helm install → 8 GPUs in the node's allocatable, which the kubelet posts every 10 s",
        seconds([time.time() - started]),
    )
    assert plugin.capacity() == 8


def test_kubelet_has_the_list_before_the_node_shows_it(
    plugin: Installation, started: float, kubelet_log: KubeletLog, figures: Figures
) -> None:
    plugin.wait_allocatable(8)
    reached = kubelet_log.reached(GPU, 8)
    assert reached is not None
    assert reached > started
    figures.add("helm install → the kubelet has the list of 8 GPUs", seconds([reached - started]))

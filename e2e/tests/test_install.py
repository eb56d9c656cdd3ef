"""From `helm install` to GPUs that can be had."""

import time

from e2e.tests.figures import Figures, seconds
from e2e.tests.installation import GPU, WHOLE, Installation
from e2e.tests.kubelet_log import KubeletLog


def test_eight_gpus_are_allocatable_after_install(plugin: Installation, figures: Figures) -> None:
    plugin.uninstall()
    started = time.monotonic()
    plugin.install(WHOLE)
    plugin.wait_allocatable(8)
    figures.add(
        "helm install → 8 GPUs in the node's allocatable, which the kubelet posts every 10 s",
        seconds([time.monotonic() - started]),
    )
    assert plugin.capacity() == 8


def test_kubelet_has_the_list_long_before_the_node_shows_it(
    plugin: Installation, kubelet_log: KubeletLog, figures: Figures
) -> None:
    plugin.uninstall()
    log, started = kubelet_log.from_now(), time.time()
    plugin.install(WHOLE)
    plugin.wait_allocatable(8)
    reached = log.reached(GPU, 8)
    assert reached is not None
    figures.add("helm install → the kubelet has the list of 8 GPUs", seconds([reached - started]))


def test_log_has_no_warning(whole_gpus: Installation) -> None:
    assert [line for line in whole_gpus.log().splitlines() if " INFO " not in line] == []

"""A GPU fails under a running pod, and comes back."""

import time

import pytest

from e2e.kubernetes import wait_until
from e2e.tests.figures import Figures, seconds
from e2e.tests.installation import GPU, Installation
from e2e.tests.kubelet_log import KubeletLog
from e2e.tests.workload import Workload


def says_health_in_pods(plugin: Installation) -> bool:
    """Kubernetes 1.36 is the first that fills allocatedResourcesStatus by default."""
    version = plugin.cluster.node_status(plugin.node)["nodeInfo"]["kubeletVersion"]
    return tuple(int(word) for word in version.removeprefix("v").split(".")[:2]) >= (1, 36)


def test_unbound_gpu_leaves_allocatable_and_its_pod_is_told(whole_gpus: Installation, pods: Workload) -> None:
    if not says_health_in_pods(whole_gpus):
        pytest.skip("allocatedResourcesStatus needs Kubernetes 1.36")
    (report,) = pods.start("holder", 1)
    (device,) = report.ids
    lives = pods.lives()
    wait_until(
        "health in the pod's status", lambda: pods.charged("holder") == {device: "Healthy"}, within_s=30
    )

    whole_gpus.inject(device, "unbind")
    whole_gpus.wait_allocatable(7)
    assert whole_gpus.capacity() == 8
    wait_until(
        "Unhealthy in its status", lambda: pods.charged("holder") == {device: "Unhealthy"}, within_s=30
    )

    whole_gpus.inject(device, "clear")
    whole_gpus.wait_allocatable(8)
    wait_until("Healthy in its status", lambda: pods.charged("holder") == {device: "Healthy"}, within_s=30)
    assert pods.lives() == lives


def test_kubelet_is_told_soon(whole_gpus: Installation, kubelet_log: KubeletLog, figures: Figures) -> None:
    log, started = kubelet_log.from_now(), time.time()
    whole_gpus.inject("0000:05:00.0", "unbind")
    gone = wait_until("7 healthy", lambda: log.reached(GPU, 7), within_s=30)
    whole_gpus.inject("0000:05:00.0", "clear")
    wait_until("8 healthy", lambda: log.reached(GPU, 8), within_s=30)
    assert gone is not None
    figures.add("inject unbind (looked at every second) → the kubelet has 7 GPUs", seconds([gone - started]))

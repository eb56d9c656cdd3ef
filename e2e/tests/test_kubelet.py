"""The kubelet is killed and started again, with pods running."""

import time
from functools import partial

from e2e.kubernetes import wait_until
from e2e.local import LocalCluster
from e2e.tests.figures import Figures, seconds
from e2e.tests.installation import GPU, Installation
from e2e.tests.kubelet_log import KubeletLog
from e2e.tests.test_registration import registrations
from e2e.tests.workload import Workload

TIMES = 10


def test_gpus_come_back_after_each_of_ten_kills(
    whole_gpus: Installation,
    pods: Workload,
    local: LocalCluster,
    kubelet_log: KubeletLog,
    figures: Figures,
) -> None:
    (one,) = pods.start("one", 1)
    pods.start("two", 2)
    lives, plugin_pods = pods.lives(), [pod["status"]["containerStatuses"] for pod in whole_gpus.pods()]
    after_start, after_listening = [], []
    for _ in range(TIMES):
        log = kubelet_log.from_now()
        local.kill_kubelet()
        started = time.time()
        local.start_kubelet()
        reached = wait_until("8 GPUs again", partial(log.reached, GPU, 8), within_s=60)
        listening = log.took_plugins()
        assert reached is not None
        assert listening is not None
        after_start.append(reached - started)
        after_listening.append(reached - listening)
        wait_until("its pods again", lambda: {"one", "two"} <= local.kubelet_pods(local.node), within_s=30)
        assert pods.lives() == lives
    whole_gpus.wait_allocatable(8)
    (next_one,) = pods.start("next", 1)
    assert pods.lives() | lives == pods.lives()
    assert [pod["status"]["containerStatuses"] for pod in whole_gpus.pods()] == plugin_pods
    assert set(next_one.ids).isdisjoint(one.ids)
    assert registrations(whole_gpus) == 1
    figures.add("kubelet killed: its new start → 8 GPUs allocatable", seconds(after_start))
    figures.add("of that, since the kubelet takes registrations", seconds(after_listening))

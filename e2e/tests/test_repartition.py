"""An administrator changes a GPU's partition mode while a pod still holds it."""

from e2e.kubernetes import wait_until
from e2e.tests.installation import Installation
from e2e.tests.workload import Workload

SLICE = "amd.com/cpx_nps1"


def test_slices_wait_for_the_pod_that_holds_the_whole_gpu(whole_gpus: Installation, pods: Workload) -> None:
    (report,) = pods.start("holder", 1)
    (device,) = report.ids
    lives = pods.lives()

    whole_gpus.inject(device, "repartition=CPX")
    whole_gpus.wait_allocatable(7)
    # On a node that has offered slices before, 0 of them are allocatable until the kubelet hears of these.
    wait_until("8 slices", lambda: whole_gpus.capacity(SLICE) == 8, within_s=40)
    assert whole_gpus.allocatable(SLICE) == 0
    pods.create("slice", 1, resource=SLICE)
    pods.wait_pending("slice")
    # retire_after (5 s) is over: the scheduler has had two posts of the node's status in between
    assert whole_gpus.capacity() == 8
    assert {name: lives[name] for name in lives} == {"holder": pods.lives()["holder"]}

    pods.delete("holder")
    whole_gpus.wait_allocatable(8, SLICE)
    (given,) = pods.reports("slice")
    assert given.ids[0].startswith(f"{device}-cpx")
    wait_until("the old ID's end", lambda: whole_gpus.capacity() == 7, within_s=40)
    assert whole_gpus.allocatable() == 7

    pods.delete("slice")
    whole_gpus.inject(device, "clear")
    whole_gpus.wait_allocatable(8)
    wait_until("the slices' end", lambda: not whole_gpus.capacity(SLICE), within_s=40)

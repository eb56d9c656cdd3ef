"""A new version is rolled out and back, with pods running."""

from functools import partial

import pytest

from e2e.kubernetes import wait_until
from e2e.tests.figures import Figures, seconds
from e2e.tests.installation import GPU, WHOLE, Installation, Values
from e2e.tests.kubelet_log import KubeletLog
from e2e.tests.workload import Workload

STRATEGIES = {"maxUnavailable": {"maxUnavailable": 1}, "maxSurge": {"maxSurge": 1}}
Strategy = pytest.mark.parametrize("strategy", STRATEGIES)


def versions(plugin: Installation, strategy: str) -> tuple[Values, Values]:
    """This one and the next, which differ in image and annotations."""
    this = WHOLE | {"updateStrategy": STRATEGIES[strategy]}
    return this, this | {"image": plugin.next_image.values(), "podAnnotations": {"version": "next"}}


@Strategy
def test_pods_do_not_notice_a_rollout_and_its_rollback(
    whole_gpus: Installation, pods: Workload, strategy: str
) -> None:
    this, following = versions(whole_gpus, strategy)
    whole_gpus.upgrade(this)
    before = whole_gpus.pod()
    pods.start("one", 1)
    pods.start("two", 2)
    lives = pods.lives()
    whole_gpus.upgrade(following)
    assert whole_gpus.pod() != before
    whole_gpus.wait_allocatable(8)
    (third,) = pods.start("third", 1)
    whole_gpus.rollback()
    whole_gpus.wait_allocatable(8)
    (fourth,) = pods.start("fourth", 1)
    assert pods.lives() | lives == pods.lives()
    assert set(third.ids).isdisjoint(fourth.ids)


@Strategy
def test_dip_of_a_rollout(
    whole_gpus: Installation, kubelet_log: KubeletLog, figures: Figures, strategy: str
) -> None:
    this, following = versions(whole_gpus, strategy)
    whole_gpus.upgrade(this)
    dips = []
    for roll in (partial(whole_gpus.upgrade, following), whole_gpus.rollback):
        log = kubelet_log.from_now()
        roll()
        wait_until("8 GPUs again", partial(log.reached, GPU, 8), within_s=60)
        dips.append(log.dip(GPU, 8))
    assert [lowest for _, lowest in dips] == [0, 0]
    figures.add(
        f"rollout with {strategy}: the kubelet has no GPU to give for",
        " and back ".join(seconds([dip]) for dip, _ in dips),
    )

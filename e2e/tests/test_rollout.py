"""A new version is rolled out and back, with pods running."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from e2e.kubernetes import Kubernetes, wait_until
from e2e.local import LocalCluster
from e2e.tests.figures import Figures, seconds
from e2e.tests.installation import GPU, WHOLE, Installation
from e2e.tests.kubelet_log import KubeletLog
from e2e.tests.workload import Lives, Report, Workload

STRATEGIES = {"maxUnavailable": {"maxUnavailable": 1}, "maxSurge": {"maxSurge": 1}}


@dataclass(frozen=True, slots=True)
class Rollout:
    """What was seen before, after the next version had come, and after it had gone again.

    `dips`: for each of the two ways, seconds in which the kubelet had fewer than 8 GPUs, and how few at the
    least. None where the kubelet's log cannot be read.
    """

    strategy: str
    plugin_pods: tuple[str, str, str]
    lives: tuple[Lives, Lives, Lives]
    later: tuple[Report, Report]
    dips: tuple[tuple[float, int], tuple[float, int]] | None


@pytest.fixture(scope="module", params=STRATEGIES)
def rollout(request: pytest.FixtureRequest, plugin: Installation, cluster: Kubernetes) -> Iterator[Rollout]:
    strategy: str = request.param
    this = WHOLE | {"updateStrategy": STRATEGIES[strategy]}
    following = this | {"image": plugin.next_image.values(), "podAnnotations": {"version": "next"}}
    log = KubeletLog(cluster.kubelet_log()) if isinstance(cluster, LocalCluster) else None
    plugin.ensure(this)
    plugin.wait_allocatable(8)
    pods = Workload(plugin)
    pods.start("one", 1)
    pods.start("two", 2)
    plugin_pods, lives = [plugin.pod()], [pods.lives()]
    later: list[Report] = []
    dips: list[tuple[float, int]] = []
    ways: tuple[Callable[[], None], ...] = (partial(plugin.upgrade, following), plugin.rollback)
    for number, roll in enumerate(ways):
        log = log and log.from_now()
        roll()
        if log:
            wait_until("8 GPUs again", partial(log.reached, GPU, 8), within_s=60)
            dips.append(log.dip(GPU, 8))
        plugin_pods.append(plugin.pod())
        lives.append(pods.lives())
        later += pods.start(f"later-{number}", 1)
    yield Rollout(
        strategy,
        (plugin_pods[0], plugin_pods[1], plugin_pods[2]),
        (lives[0], lives[1], lives[2]),
        (later[0], later[1]),
        (dips[0], dips[1]) if dips else None,
    )
    pods.delete_all()


def test_running_pods_are_not_disturbed(rollout: Rollout) -> None:
    before, rolled, back = rollout.lives
    assert len(before) == 2
    assert rolled == before
    assert back | before == back
    assert len(set(rollout.plugin_pods)) == 3


def test_pods_that_come_later_get_gpus_nobody_has(rollout: Rollout) -> None:
    first, second = rollout.later
    assert set(first.ids).isdisjoint(second.ids)


def test_dip_of_what_is_allocatable(rollout: Rollout, kubelet_log: KubeletLog, figures: Figures) -> None:
    assert rollout.dips is not None
    assert [lowest for _, lowest in rollout.dips] == [0, 0]
    figures.add(
        f"rollout with {rollout.strategy} and back: the kubelet has no GPU to give for",
        " and ".join(seconds([lasted]) for lasted, _ in rollout.dips),
    )

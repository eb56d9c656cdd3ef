"""Moving from AMD's plugin, by a stand-in for it: nothing is given twice."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

from e2e.kubernetes import wait_until
from e2e.local import LocalCluster
from e2e.oldplugin import REGISTERED
from e2e.tests.figures import Figures, seconds
from e2e.tests.installation import GPU, PARTITIONED, WHOLE, Installation
from e2e.tests.kubelet_log import KubeletLog
from e2e.tests.plugin_image import ROOT
from e2e.tests.test_pages import address, asked
from e2e.tests.test_registration import registrations
from e2e.tests.workload import Report, Workload

BUSES = ("05", "27", "47", "65", "85", "a7", "c7", "e5")
GPUS = tuple(f"0000:{bus}:00.0" for bus in BUSES)
WAITING = "waiting: another plugin serves this resource"


@contextlib.contextmanager
def old_plugin(*ids: str) -> Iterator["subprocess.Popen[str]"]:
    """Registered; ended at the end, if not before."""
    command = [sys.executable, "-m", "e2e.oldplugin", *ids]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == REGISTERED
            yield process
        finally:
            process.terminate()


def old_ids(report: Report) -> list[str]:
    return report.environment["OLD_PLUGIN_DEVICES"].split(",")


def wait_waiting(plugin: Installation) -> None:
    wait_until("ours waits", lambda: WAITING in plugin.log(), within_s=60)
    assert 'detail="amd.com_gpu answers"' in plugin.log()
    assert "registrar: registered" not in plugin.log()
    status, body = asked(address(plugin), "/readyz")
    assert (status, body.splitlines()) == (503, ["not ready", f"{GPU}: {WAITING}: amd.com_gpu answers"])


def test_whole_gpus_stay_charged_to_their_pods(
    plugin: Installation,
    pods: Workload,
    local: LocalCluster,
    kubelet_log: KubeletLog,
    figures: Figures,
) -> None:
    plugin.uninstall()
    with old_plugin(*GPUS) as other:
        plugin.wait_allocatable(8)
        (holder,) = pods.start("holder", 2)
        lives = pods.lives()
        before = registrations(plugin)
        plugin.install(WHOLE)
        wait_waiting(plugin)
        assert registrations(plugin) == before
        log = kubelet_log.from_now()
        other.terminate()
        ended = time.time()
        reached = wait_until("ours has taken over", lambda: log.reached(GPU, 8), within_s=30)
    assert reached is not None
    figures.add("another plugin ends → ours has taken over, 8 GPUs", seconds([reached - ended]))
    (others,) = pods.start("others", 6)
    assert {*old_ids(holder), *others.ids} == set(GPUS)
    pods.create("ninth", 1)
    pods.wait_pending("ninth")
    assert pods.lives()["holder"] == lives["holder"]
    pods.delete("holder")
    (ninth,) = pods.reports("ninth")
    assert set(ninth.ids) <= set(old_ids(holder))


def test_partitions_held_under_old_ids_are_given_out_when_their_pods_end(
    plugin: Installation, pods: Workload, local: LocalCluster
) -> None:
    plugin.uninstall()
    # The kernel numbers the seven further slices of each GPU, GPU by GPU: 10 is the second GPU's slice 4.
    # A bare address may mean a slice or the GPU: all its slices wait.
    slices = ("amdgpu_xcp_10", GPUS[0], *(f"amdgpu_xcp_{number}" for number in range(56) if number != 10))
    waiting = {f"{GPUS[1]}-cpx4", *(f"{GPUS[0]}-cpx{number}" for number in range(8))}
    with old_plugin(*slices, *GPUS[1:]) as other:
        plugin.wait_allocatable(64)
        (first,) = pods.start("first", 1)
        (second,) = pods.start("second", 1)
        assert [old_ids(first), old_ids(second)] == [["amdgpu_xcp_10"], [GPUS[0]]]
        plugin.install(PARTITIONED)
        wait_waiting(plugin)
        other.terminate()
    plugin.wait_allocatable(64 - len(waiting))
    assert plugin.capacity() == 64
    # the scheduler counts the two old pods against what is allocatable as well
    (rest,) = pods.start("rest", 64 - len(waiting) - 2)
    assert waiting.isdisjoint(rest.ids)
    pods.delete("first")
    plugin.wait_allocatable(64 - len(waiting) + 1)
    pods.delete("second")
    plugin.wait_allocatable(64)
    pods.delete("rest")
    (everything,) = pods.start("everything", 64)
    assert len(set(everything.ids)) == 64

"""examples/cluster-demo.sh shows what it says, on a cluster without a GPU, and leaves nothing."""

import json
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from e2e import podmonitor, prometheus, toolbox
from e2e.kubernetes import CommandFailed, wait_until
from e2e.local import LocalCluster
from e2e.machine import ClusterUnavailable
from e2e.prometheus import Prometheus
from e2e.tests.demo import KILL_KUBELET, NAMESPACE, RELEASE, Told, ended, nothing_is_left, read_until, started
from e2e.tests.figures import Figures, seconds
from e2e.tests.installation import CHART, WHOLE, Installation
from e2e.tests.test_health import says_health_in_pods

GPU = r"0000:[0-9a-f]{2}:00\.0"
MOST_S = 150.0
"""Well under the five minutes that it promises."""


@pytest.fixture(scope="module", autouse=True)
def memory_of_demos() -> Iterator[None]:
    """Each leaves a folder of its own on the node, which is this machine."""
    yield
    shutil.rmtree("/run/amdgpu-plugin-demo", ignore_errors=True)


def make_free(plugin: Installation) -> None:
    """No plugin, and the node says so."""
    plugin.uninstall()
    wait_until("no GPU on offer", lambda: not plugin.allocatable(), within_s=60)


@pytest.fixture(scope="module")
def events_before(plugin: Installation) -> set[str]:
    """What earlier tests left: Events last an hour."""
    make_free(plugin)
    return node_events(plugin)


@pytest.fixture(scope="module")
def told(
    plugin: Installation,
    local: LocalCluster,
    events_before: set[str],
    tmp_path_factory: pytest.TempPathFactory,
    figures: Figures,
) -> Told:
    """With all it can show: a Prometheus, and the node's kubelet."""
    del events_before  # only that they are known by now
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        _prometheus(plugin, folder) as watching,
        started(
            plugin, "--prometheus", f"http://{watching.address}", "--kubelet-restart", KILL_KUBELET
        ) as process,
    ):
        found = ended(process)
    assert found.status == 0, found.text
    figures.add("cluster-demo.sh, with Prometheus and a killed kubelet", seconds([found.seconds]))
    return found


@contextmanager
def _prometheus(plugin: Installation, folder: Path) -> Iterator[Prometheus]:
    """By the chart's PodMonitor and rules, as the Operator would set it up for the demo's release."""
    try:
        by = prometheus.program() or str(toolbox.prometheus())
    except ClusterUnavailable as reason:
        pytest.skip(f"no prometheus: {reason}")
    switches = ("--set", "podMonitor.enabled=true,prometheusRule.enabled=true", "--namespace", NAMESPACE)
    rendered = yaml.safe_load_all(plugin.cluster.helm("template", RELEASE, str(CHART), *switches))
    objects = {each["kind"]: each for each in rendered}
    rules = folder / "rules.yaml"
    rules.write_text(prometheus.without_waiting(yaml.safe_dump(objects["PrometheusRule"]["spec"])))
    with _targets(plugin, folder / "targets.json") as found:
        job = podmonitor.scrape_job(objects["PodMonitor"], str(found))
        with prometheus.running(folder, [job], rules, by=by) as running:
            yield running


@contextmanager
def _targets(plugin: Installation, found: Path) -> Iterator[Path]:
    """The pods of the demo's namespace, looked at anew each second."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(1):
            try:
                pods = plugin.cluster.get("pods", namespace=NAMESPACE)["items"]
            except CommandFailed:
                continue
            # never half a file
            part = found.with_suffix(".part")
            part.write_text(json.dumps(podmonitor.targets(pods)))
            part.rename(found)

    found.write_text("[]")
    keeping = threading.Thread(target=keep, name="targets")
    keeping.start()
    try:
        yield found
    finally:
        over.set()
        keeping.join()


def node_events(plugin: Installation) -> set[str]:
    """Names of those by the plugin."""
    words = ("get", "events", "--field-selector", "source=amdgpu-plugin", "--output", "name")
    return set(plugin.cluster.kubectl(*words).split())


def victim(told: Told) -> str:
    """The GPU that it breaks."""
    (title,) = (title for title in told.steps if title.startswith("The kernel says"))
    (found,) = re.findall(GPU, title)
    return str(found)


def test_it_takes_well_under_five_minutes(told: Told) -> None:
    assert told.seconds < MOST_S
    assert re.search(r"^All of it was shown, in \d+ s\.$", told.text, re.MULTILINE)


def test_four_gpus_and_why_these(told: Told) -> None:
    step = told.step("A pod asks for four GPUs")
    (devices,) = re.findall(r"AMDGPU_DEVICES=(\S+)", step)
    given = devices.split(",")
    assert len(set(given)) == 4
    assert sorted(re.findall(rf"^   ({GPU})  {GPU} +\d", step, re.MULTILINE)) == sorted(given)
    assert "on 4 GPUs of one hive, joined by 6 × XGMI weight 15; NUMA node 0" in step
    assert "no choice has less" in step
    assert f"The pod has these: {devices}" in step


def test_same_reason_everywhere(told: Told, plugin: Installation) -> None:
    gpu = victim(told)
    assert f"{gpu}  amd.com/gpu  Unhealthy: Wedged" in told.step("The kernel says")
    events = told.step("The reason in Kubernetes Events")
    assert re.search(rf"Warning +Wedged +pod/train +.*{gpu}", events)
    assert re.search(rf"Warning +Wedged +node/{plugin.node} +.*{gpu}", events)
    metrics = told.step("The reason in the metrics")
    assert re.search(
        rf'^   amdgpu_device_healthy\{{device="{gpu}",gpu="{gpu}"\}} 0\.0$', metrics, re.MULTILINE
    )
    assert f'amdgpu_gpu_condition{{condition="Wedged",gpu="{gpu}"}} 1.0' in metrics
    alert = dict(re.findall(r'"(\w+)":"([^"]*)"', metrics.partition("/api/v1/alerts")[2]))
    assert alert.pop("description").startswith(f"Held by {NAMESPACE}/train; in force: Wedged.")
    assert alert == {
        "alertname": "AmdGpuUnhealthyInUse",
        "gpu": gpu,
        "node": plugin.node,
        "severity": "critical",
        "simulated": "true",
        "state": "firing",
    }
    page = told.step("The reason on the status page").partition("/proxy/\n")[2]
    assert gpu in page
    assert "Wedged" in page


def test_pod_status_has_the_device(told: Told, plugin: Installation) -> None:
    step = told.step("The device in the pod's status")
    if not says_health_in_pods(plugin):
        assert "comes with Kubernetes 1.36" in step
        return
    health = dict(re.findall(rf"^   ({GPU}) (\w+)$", step, re.MULTILINE))
    assert health.pop(victim(told)) == "Unhealthy"
    assert list(health.values()) == ["Healthy"] * 3


def test_acknowledged_and_recovered(told: Told, plugin: Installation) -> None:
    step = told.step("An operator knows of it")
    assert "Wedged of" in step
    assert re.search(r"the alert is over \.\.\. \d+ s", step)
    assert re.search(r"and the pod has four healthy devices \.\.\. \d+ s", step)
    assert re.search(r"Normal +Wedged +pod/train .*acknowledged: ticket 4711", step)
    assert re.search(rf"Normal +WedgedCleared +node/{plugin.node} ", step)
    # nothing of earlier installations, as other tests have left it
    assert set(re.findall(rf"node/{plugin.node} +Simulated: GPU ({GPU})", step)) == {victim(told)}


def test_killed_kubelet_leaves_pods_alone(told: Told) -> None:
    step = told.step("The kubelet is killed")
    assert re.search(r"another kubelet runs \.\.\. \d+ s", step)
    assert re.search(r"the plugin has registered with it \.\.\. \d+ s", step)
    assert "No container was started anew." in step
    assert re.search(r"^   train +1/1 +Running +0 ", step, re.MULTILINE)


def test_nothing_is_left_behind(told: Told, plugin: Installation, events_before: set[str]) -> None:
    assert told.steps[-1] == "Everything is removed again"
    assert nothing_is_left(plugin)
    assert node_events(plugin) <= events_before


def test_node_that_offers_gpus_is_refused(plugin: Installation) -> None:
    plugin.ensure(WHOLE)
    plugin.wait_allocatable(8)
    with started(plugin) as process:
        told = ended(process)
    assert (told.status, told.steps) == (1, [])
    assert f"{plugin.node} offers 8 amd.com/gpu already" in told.text
    make_free(plugin)


def test_what_a_killed_demo_left_goes_first_and_plain_demo_deletes_the_pod(
    plugin: Installation, figures: Figures
) -> None:
    make_free(plugin)
    with started(plugin) as process:
        read_until(process, "Unhealthy: Wedged")
    assert not nothing_is_left(plugin)
    with started(plugin) as process:
        told = ended(process)
    assert told.status == 0, told.text
    assert told.text.startswith("An earlier demo was not removed: that comes first\n")
    figures.add("cluster-demo.sh as it is, after a demo that was killed", seconds([told.seconds]))
    step = told.step("The plugin's pod is deleted")
    assert "Its container was not started anew." in step
    assert "--kubelet-restart" in step
    assert "AmdGpuUnhealthyInUse (critical) fires on these after a minute" in told.text
    assert nothing_is_left(plugin)


def test_interrupted_demo_removes_what_it_made(plugin: Installation) -> None:
    make_free(plugin)
    with started(plugin) as process:
        read_until(process, "the pod runs")
        process.send_signal(signal.SIGTERM)
        told = ended(process)
    assert told.status == 128 + signal.SIGTERM
    assert "Removing what was installed" in told.text
    wait_until("nothing left", lambda: nothing_is_left(plugin), within_s=30)


def test_image_that_is_nowhere_is_named_with_a_remedy(plugin: Installation) -> None:
    make_free(plugin)
    with started(plugin, "--image", "localhost/amdgpu-plugin:nowhere") as process:
        told = ended(process)
    assert told.status == 1
    assert f"{plugin.node} cannot get the image localhost/amdgpu-plugin:nowhere (" in told.text
    assert "kind load docker-image localhost/amdgpu-plugin:nowhere" in told.text
    assert nothing_is_left(plugin)

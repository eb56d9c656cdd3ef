"""What the API server is told of a GPU that fails: Events of the Node and of the pod, and the node condition.

All of it through the chart's admission policy, which must let the plugin's own writes pass.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime

import pytest

from e2e.kubernetes import Json, Kubernetes, TimedOut, wait_until
from e2e.tests.everything import everything
from e2e.tests.figures import Figures, seconds
from e2e.tests.installation import NAMESPACE, QUICK, RELEASE, WHOLE, Installation, Values
from e2e.tests.test_pages import address, asked
from e2e.tests.workload import Workload

TYPE = "AMDGPUUnhealthy"
DELAY_S = 12
SETTLED_S = 3 * 5 + 2
"""When silence means health: three rounds and a read's deadline."""
OURS = "reportingComponent=amdgpu-plugin"
LOOKS = 5
SPARE = "0000:e5:00.0"
"""A GPU that no pod of these tests is given first."""

Told = Counter[tuple[str, str, str, str]]


@pytest.fixture(scope="module")
def telling(plugin: Installation, cluster: Kubernetes) -> Iterator[Installation]:
    """Events and the node condition are on; the plugin and nobody else has told of GPUs."""
    forget(cluster)
    plugin.ensure(values(cluster))
    plugin.wait_allocatable(8)
    yield plugin
    plugin.uninstall()
    patch = {"status": {"conditions": [{"type": TYPE, "$patch": "delete"}]}}
    cluster.kubectl(*("patch", "node", plugin.node, "--subresource", "status", "--patch", json.dumps(patch)))
    assert node_condition(plugin) is None


@pytest.fixture(autouse=True)
def nothing_told(telling: Installation) -> None:
    forget(telling.cluster)


def values(cluster: Kubernetes) -> Values:
    """As the chart's own test has it, and quick."""
    config = {**QUICK, "health": {**QUICK["health"], "read_deadline": 2}}
    api = {key: value for key, value in everything(cluster).items() if key == "extraEnv"}
    return (
        WHOLE
        | api
        | {
            "config": config,
            "kubernetesEvents": {"enabled": True},
            "nodeCondition": {"enabled": True, "delay": DELAY_S},
            "admissionPolicy": {"enabled": True},
        }
    )


def forget(cluster: Kubernetes) -> None:
    for namespace in ("default", NAMESPACE):
        cluster.kubectl("delete", "events", "--namespace", namespace, "--field-selector", OURS)


def events(plugin: Installation) -> list[Json]:
    """Ours, of all namespaces."""
    words = ("get", "events", "--all-namespaces", "--field-selector", OURS, "--output", "json")
    found: list[Json] = json.loads(plugin.cluster.kubectl(*words))["items"]
    return found


def told(plugin: Installation) -> Told:
    """How often: kind and name of the object, type, reason."""
    return Counter(
        (each["involvedObject"]["kind"], each["involvedObject"]["name"], each["type"], each["reason"])
        for each in events(plugin)
    )


def wait_told(plugin: Installation, *expected: tuple[str, str, str, str]) -> None:
    """Until just these were told, each once."""
    try:
        wait_until("Events", lambda: told(plugin) == Counter(expected), within_s=30)
    except TimedOut as error:
        raise TimedOut(f"{expected}: told were {told(plugin)}; {plugin.log()[-3000:]}") from error


def described(plugin: Installation, kind: str, name: str) -> str:
    """The part of `kubectl describe` below `Events:`."""
    words = ("describe", kind, name, "--namespace", NAMESPACE) if kind == "pod" else ("describe", kind, name)
    return plugin.cluster.kubectl(*words).rpartition("\nEvents:")[2]


def node_condition(plugin: Installation) -> Json | None:
    conditions = plugin.cluster.node_status(plugin.node)["conditions"]
    return next((each for each in conditions if each["type"] == TYPE), None)


def status(plugin: Installation) -> str | None:
    found = node_condition(plugin)
    return None if found is None else found["status"]


def test_node_and_pod_are_told_of_a_fault_and_of_its_end(telling: Installation, pods: Workload) -> None:
    (report,) = pods.start("holder", 1)
    (device,) = report.ids
    node, pod = ("Node", telling.node), ("Pod", "holder")
    telling.inject(device, "Overheated")
    telling.wait_allocatable(7)
    # what is above its emergency limit is above its critical one, and that informs: of the Node only
    raised = [(*each, "Warning", "Overheated") for each in (node, pod)] + [(*node, "Warning", "Hot")]
    wait_told(telling, *raised)
    for kind, name in (("node", telling.node), ("pod", "holder")):
        text = described(telling, kind, name)
        assert "Overheated" in text
        assert f"GPU {device}" in text
        assert "amdgpu-plugin" in text
    telling.inject(device, "clear")
    telling.wait_allocatable(8)
    wait_told(
        telling,
        *raised,
        *((*each, "Normal", "OverheatedCleared") for each in (node, pod)),
        (*node, "Normal", "HotCleared"),
    )
    assert "OverheatedCleared" in described(telling, "pod", "holder")


def test_event_comes_soon_after_the_fault(telling: Installation, figures: Figures) -> None:
    happened, seen = [], []
    for number in range(LOOKS):
        address = f"0000:{('05', '27', '47', '65', '85')[number]}:00.0"
        started = time.time()
        telling.inject(address, "unbind")
        found = wait_until(
            "its Event",
            lambda address=address: [  # type: ignore[misc]
                each
                for each in events(telling)
                if each["reason"] == "DriverUnbound" and f"GPU {address}" in each["message"]
            ],
            within_s=30,
        )
        seen.append(time.time() - started)
        happened.append(datetime.fromisoformat(found[0]["eventTime"]).timestamp() - started)
        telling.inject(address, "clear")
    figures.add("inject unbind → the moment that its Event names", seconds(happened))
    figures.add("inject unbind → kubectl shows the Event", seconds(seen))
    assert max(seen) < 10
    telling.wait_allocatable(8)


def test_condition_comes_after_the_delay_and_goes(telling: Installation, figures: Figures) -> None:
    wait_until("False once all was looked at", lambda: status(telling) == "False", within_s=SETTLED_S + 30)
    started = time.time()
    telling.inject(SPARE, "unbind")
    telling.wait_allocatable(7)
    wait_until("True", lambda: status(telling) == "True", within_s=60)
    took = time.time() - started
    assert took >= DELAY_S
    figures.add(f"inject unbind → {TYPE} is True, delay {DELAY_S} s", seconds([took]))
    found = node_condition(telling)
    assert found is not None
    assert (found["reason"], SPARE in found["message"]) == ("DriverUnbound", True)
    since = found["lastTransitionTime"]
    telling.inject(SPARE, "clear")
    wait_until("False again", lambda: status(telling) == "False", within_s=60)
    after = node_condition(telling)
    assert after is not None
    assert after["lastTransitionTime"] > since
    telling.wait_allocatable(8)


def test_another_daemon_tells_nothing_twice(telling: Installation) -> None:
    telling.inject(SPARE, "wedged")
    raised = ("Node", telling.node, "Warning", "Wedged")
    wait_told(telling, raised)
    wait_until("True", lambda: status(telling) == "True", within_s=60)
    before = node_condition(telling)
    telling.replace_pod()
    telling.wait_allocatable(7)
    started = time.time()
    wait_until("all was looked at", lambda: time.time() - started > SETTLED_S + 6, within_s=60)
    assert told(telling) == Counter([raised])
    now = node_condition(telling)
    assert before is not None
    assert now is not None
    assert now["lastTransitionTime"] == before["lastTransitionTime"]
    # the simulated node of this daemon is a new one: the driver is bound anew here
    telling.inject(SPARE, "unbind")
    telling.inject(SPARE, "bind")
    telling.wait_allocatable(8)
    node = ("Node", telling.node)
    wait_told(
        telling,
        raised,
        (*node, "Normal", "WedgedCleared"),
        (*node, "Warning", "DriverUnbound"),
        (*node, "Normal", "DriverUnboundCleared"),
    )


def test_without_rights_gpus_are_served_and_it_is_said_once(telling: Installation) -> None:
    telling.replace_pod()
    telling.cluster.kubectl("delete", "clusterrolebinding", f"{NAMESPACE}.{RELEASE}")
    telling.inject(SPARE, "unbind")
    telling.wait_allocatable(7)
    denied = "not allowed to create events in namespace default"
    wait_until("what is missing, in the log", lambda: denied in telling.log(), within_s=30)
    telling.inject(SPARE, "clear")
    telling.wait_allocatable(8)
    at = address(telling)
    page = wait_until(
        "forbidden, in the metrics",
        lambda: (
            (text := asked(at, "/metrics")[1])
            and 'amdgpu_plugin_kubernetes_errors_total{reason="forbidden"} 0.0' not in text
            and text
        ),
        within_s=30,
    )
    assert 'amdgpu_plugin_kubernetes_events_total{result="sent"} 0.0' in str(page)
    lines = [line for line in telling.log().splitlines() if denied in line]
    assert len(lines) == 1
    assert "kubernetesEvents.enabled" in lines[0]
    assert told(telling) == Counter()

"""From the chart's defaults to everything and back; what the plugin's account may do, and what is refused."""

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.kubernetes import Json, Kubernetes, wait_until
from e2e.tests.everything import Caller, caller, everything, left_over
from e2e.tests.installation import NAMESPACE, RELEASE, SELECTOR, WHOLE, Installation
from e2e.tests.workload import Workload

OTHER = "amdgpu-plugin-e2e-other"
CONDITION = "AMDGPUUnhealthy"
MERGE = "application/strategic-merge-patch+json"
POLICIES = ("events", "node-status")
THEN = "2026-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def full(plugin: Installation, cluster: Kubernetes) -> Installation:
    plugin.ensure(everything(cluster))
    plugin.wait_allocatable(8)
    return plugin


@pytest.fixture(scope="module")
def policies(full: Installation) -> list[Json]:
    """Once the API server has compiled them."""

    def seen() -> list[Json]:
        found = [
            full.cluster.get("validatingadmissionpolicy", f"{NAMESPACE}.{RELEASE}.{name}")
            for name in POLICIES
        ]
        return found if all("typeChecking" in policy.get("status", ()) for policy in found) else []

    return wait_until("the policies' type checking", seen, within_s=30)


@pytest.fixture(scope="module")
def account(full: Installation, policies: list[Json]) -> Iterator[Caller]:
    """With the rights of the plugin's pod; there is another node, and what is written goes again."""
    assert policies
    full.cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": OTHER}})
    yield caller(full)
    full.cluster.kubectl("delete", "node", OTHER)
    full.cluster.kubectl("delete", "events", "--namespace", "default", "--selector", SELECTOR)


def patched(account: Caller, node: str, body: Json) -> tuple[int, Json]:
    return account.call("PATCH", f"/api/v1/nodes/{node}/status", body, MERGE)


def condition(kind: str, **more: str) -> Json:
    said = {"reason": "E2e", "message": "", "lastHeartbeatTime": THEN, "lastTransitionTime": THEN}
    return {"status": {"conditions": [{"type": kind, "status": "False"} | said | more]}}


def told(account: Caller, node: str, **changes: Any) -> tuple[int, Json]:
    """The answer to an Event about this node."""
    labels = dict([SELECTOR.split("=")])
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "e2e-", "namespace": "default", "labels": labels},
        "involvedObject": {"kind": "Node", "name": node, "uid": node},
        "type": "Warning",
        "reason": "E2e",
        "message": "nothing has happened",
        "source": {"component": "amdgpu-plugin", "host": node},
        "reportingComponent": "amdgpu-plugin",
        "reportingInstance": node,
    }
    return account.call("POST", "/api/v1/namespaces/default/events", event | changes)


def test_upgrade_to_everything_and_back_disturbs_no_pod_and_leaves_nothing(
    plugin: Installation, cluster: Kubernetes, pods: Workload
) -> None:
    plugin.ensure(WHOLE)
    plugin.wait_allocatable(8)
    before = left_over(plugin)
    pods.start("holder", 2)
    lives = pods.lives()
    plugin.upgrade(everything(cluster))
    plugin.wait_allocatable(8)
    assert f"ClusterRole/{NAMESPACE}.{RELEASE}" in left_over(plugin)
    plugin.upgrade(WHOLE)
    plugin.wait_allocatable(8)
    assert kept(left_over(plugin)) == kept(before)
    assert pods.lives() == lives


def kept(names: list[str]) -> list[str]:
    """Those of the release itself: not of single pods, versions of the DaemonSet and Helm's memory."""
    passing = ("Pod/", "ControllerRevision/", "Secret/sh.helm.release")
    return [name for name in names if not name.startswith(passing)]


def test_to_node_groups_and_back(plugin: Installation) -> None:
    plugin.ensure(WHOLE)
    group = {"name": "one", "nodeSelector": {"kubernetes.io/os": "linux"}}
    chosen = plugin.with_image(WHOLE | {"nodeGroups": [group]})
    plugin.helm("upgrade", RELEASE, *chosen)
    rolled = ("rollout", "status", "--namespace", NAMESPACE, "--timeout=120s")
    plugin.cluster.kubectl(*rolled, f"daemonset/{RELEASE}-one", timeout_s=130)
    plugin.wait_allocatable(8)
    sets = [name for name in left_over(plugin) if name.startswith("DaemonSet/")]
    assert sets == [f"DaemonSet/{RELEASE}-one"]
    plugin.upgrade(WHOLE)
    plugin.wait_allocatable(8)


def test_policies_compile_for_all_that_they_are_asked_about(policies: list[Json]) -> None:
    assert [policy["status"]["typeChecking"] for policy in policies] == [{}, {}]


def test_own_condition_may_be_set_on_the_own_node(full: Installation, account: Caller) -> None:
    assert patched(account, full.node, condition(CONDITION))[0] == 200


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (condition("Ready"), "conditions nothing but"),
        (condition("Made up"), "conditions nothing but"),
        ({"status": {"conditions": [{"type": "Ready", "$patch": "delete"}]}}, "conditions nothing but"),
        ({"status": {"capacity": {"example.com/gold": "7"}}}, "other parts of its status"),
        ({"status": {"images": None}}, "other parts of its status"),
        (condition(CONDITION) | {"metadata": {"labels": {"stolen": "1"}}}, "its metadata"),
        ({"metadata": {"labels": {"kubernetes.io/os": None}}}, "its metadata"),
        ({"metadata": {"annotations": {"stolen": "1"}}}, "its metadata"),
    ],
    ids=[
        "Ready",
        "new condition",
        "condition gone",
        "capacity",
        "images gone",
        "label beside",
        "label gone",
        "annotation",
    ],
)
def test_nothing_else_of_the_own_node_may_be_changed(
    full: Installation, account: Caller, change: Json, why: str
) -> None:
    status, answer = patched(account, full.node, change)
    assert (status, why in answer["message"]) == (403, True), answer["message"]


def test_other_node_is_not_written_to(account: Caller) -> None:
    status, answer = patched(account, OTHER, condition(CONDITION))
    assert (status, "the token is from" in answer["message"]) == (403, True)


def test_event_of_the_own_node_is_taken(full: Installation, account: Caller) -> None:
    assert told(account, full.node)[0] == 201


def test_event_of_another_node_is_not(full: Installation, account: Caller) -> None:
    about_other: Json = {"involvedObject": {"kind": "Node", "name": OTHER, "uid": OTHER}}
    others: list[Json] = [{"source": {"host": OTHER}}, {"source": {}}, {"reportingInstance": OTHER}]
    for changes in (about_other, *others):
        status, answer = told(account, full.node, **changes)
        assert (status, "where the token is from" in answer["message"]) == (403, True), changes
    assert told(account, OTHER)[0] == 403


def test_event_in_the_name_of_somebody_else_is_not(full: Installation, account: Caller) -> None:
    by: list[Json] = [
        {"source": {"component": "kubelet", "host": full.node}},
        {"source": {"host": full.node}},
        {"reportingComponent": "kubelet"},
    ]
    for changes in by:
        status, answer = told(account, full.node, **changes)
        assert (status, "by amdgpu-plugin" in answer["message"]) == (403, True), changes


def test_token_that_is_of_no_pod_writes_nothing(full: Installation, account: Caller) -> None:
    unbound = caller(full, bound=False)
    assert unbound.server == account.server
    answers = (told(unbound, full.node), patched(unbound, full.node, condition(CONDITION)))
    assert [(status, "bound to no pod" in said["message"]) for status, said in answers] == [(403, True)] * 2


def test_no_other_right_comes_with_it(full: Installation) -> None:
    account = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
    said = full.cluster.kubectl("auth", "can-i", "--list", "--as", account, "--no-headers")
    rights = [line.split() for line in said.splitlines() if "[/" not in line and ".k8s.io" not in line]
    assert sorted((words[0], words[-1]) for words in rights) == [
        ("events", "[create]"),
        ("nodes/status", "[patch]"),
        ("pods", "[get]"),
    ]

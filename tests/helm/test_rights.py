"""What the plugin may do at the API server: nothing, but for what is asked for by name."""

from typing import Any

import pytest
import yaml

from tests.helm.chart import EVERYTHING, Manifest, Values, container, manifests, pod, refusal, render

EVENTS: Values = {"kubernetesEvents": {"enabled": True}}
CONDITION: Values = {"nodeCondition": {"enabled": True, "delay": 60}}
FOR_EVENTS = [
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
]
FOR_CONDITION = [{"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]}]


def options(values: Values) -> Any:
    """The daemon's options about Kubernetes."""
    return yaml.safe_load(render(values)["ConfigMap"]["data"]["config.yaml"]).get("kubernetes")


def role(values: Values) -> Manifest:
    return render(values)["ClusterRole"]


@pytest.mark.parametrize(
    ("values", "rules", "told"),
    [
        (EVENTS, FOR_EVENTS, {"events": True}),
        (CONDITION, FOR_CONDITION, {"node_condition": True, "node_condition_delay": 60}),
        (
            EVENTS | CONDITION,
            FOR_EVENTS + FOR_CONDITION,
            {"events": True, "node_condition": True, "node_condition_delay": 60},
        ),
    ],
    ids=["events", "condition", "both"],
)
def test_just_these_rights_with_the_token_and_the_option(values: Values, rules: object, told: object) -> None:
    assert role(values)["rules"] == rules
    assert options(values) == told
    assert pod(values)["automountServiceAccountToken"] is True


def test_rights_are_the_account_s_alone_wherever_it_is() -> None:
    for extra in ({}, {"namespaceOverride": "gpus"}):
        objects = render(EVENTS | extra)
        account = objects["ServiceAccount"]
        assert objects["ClusterRoleBinding"]["roleRef"]["name"] == objects["ClusterRole"]["metadata"]["name"]
        assert objects["ClusterRoleBinding"]["subjects"] == [
            {"kind": "ServiceAccount"} | {key: account["metadata"][key] for key in ("name", "namespace")}
        ]
        assert account["automountServiceAccountToken"] is False


def test_role_of_a_release_is_no_other_release_s() -> None:
    names = {
        role(EVENTS | {"namespaceOverride": namespace, "fullnameOverride": name})["metadata"]["name"]
        for namespace, name in (("a", "b-c"), ("a-b", "c"), ("a", "c"))
    }
    assert names == {"a.b-c", "a-b.c", "a.c"}


def test_account_that_all_pods_share_gets_no_rights() -> None:
    nobody: Values = {"serviceAccount": {"create": False}}
    assert "name an account" in refusal(EVENTS | nobody)
    assert "name an account" in refusal(CONDITION | nobody)
    assert render(nobody).keys() == {"ConfigMap", "DaemonSet"}
    theirs: Values = {"serviceAccount": {"create": False, "name": "theirs"}}
    assert render(EVENTS | theirs)["ClusterRoleBinding"]["subjects"][0]["name"] == "theirs"


@pytest.mark.parametrize(
    ("option", "value"), [("events", "kubernetesEvents"), ("node_condition", "nodeCondition")]
)
def test_option_without_its_rights_is_refused(option: str, value: str) -> None:
    assert f"set {value}.enabled" in refusal({"config": {"kubernetes": {option: True}}})
    assert manifests({"config": {"kubernetes": {option: False}}}, "ClusterRole") == []


def test_status_page_is_switched_in_the_file() -> None:
    off: Values = {"http": {"statusPage": False}, "config": {"http": {"address": ":9500"}}}
    text = render(off)["ConfigMap"]["data"]["config.yaml"]
    assert yaml.safe_load(text) == {"http": {"address": ":9500", "status_page": False}}
    assert container(off)["ports"] == [{"name": "metrics", "containerPort": 9500}]


def test_more_variables_come_after_ours() -> None:
    more = {"name": "KUBERNETES_SERVICE_HOST", "value": "10.0.0.1"}
    assert container({"extraEnv": [more]})["env"] == [*container()["env"], more]
    assert "/extraEnv/0/name" in refusal({"extraEnv": [{"name": "NODE_NAME", "value": "other"}]})


PINNED: Values = {"admissionPolicy": {"enabled": True}}


def policies(values: Values) -> dict[str, Manifest]:
    """By the last part of their names."""
    found = manifests(PINNED | values, "ValidatingAdmissionPolicy")
    return {policy["metadata"]["name"].rpartition(".")[2]: policy["spec"] for policy in found}


def test_each_right_is_pinned_by_a_policy_of_its_own() -> None:
    assert policies(EVENTS).keys() == {"events"}
    assert policies(CONDITION).keys() == {"node-status"}
    both = policies(EVENTS | CONDITION)
    assert {
        name: policy["matchConstraints"]["resourceRules"][0]["resources"] for name, policy in both.items()
    } == {
        "events": ["events"],
        "node-status": ["nodes/status"],
    }


def test_policies_are_about_the_account_and_deny_in_doubt() -> None:
    name = "system:serviceaccount:kube-system:gpu-amdgpu-plugin"
    for policy in policies(EVENTS | CONDITION).values():
        assert policy["failurePolicy"] == "Fail"
        assert [match["expression"] for match in policy["matchConditions"]] == [
            f"request.userInfo.username == '{name}'"
        ]
        assert {check["reason"] for check in policy["validations"]} == {"Forbidden"}


def test_every_policy_is_bound_and_denies() -> None:
    values = PINNED | EVENTS | CONDITION
    names = [policy["metadata"]["name"] for policy in manifests(values, "ValidatingAdmissionPolicy")]
    bindings = manifests(values, "ValidatingAdmissionPolicyBinding")
    assert [binding["spec"] for binding in bindings] == [
        {"policyName": name, "validationActions": ["Deny"]} for name in names
    ]


def test_policy_without_anything_to_pin_is_refused() -> None:
    assert "enable kubernetesEvents or nodeCondition" in refusal(PINNED)


def test_no_value_brings_another_right() -> None:
    """No verb but these writes, whatever is on."""
    granted = [
        (resource, verb)
        for each in manifests(EVERYTHING, "ClusterRole", "Role")
        for rule in each["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
    assert sorted(granted) == [
        ("events", "create"),
        ("nodes/status", "patch"),
        ("pods", "get"),
        ("securitycontextconstraints", "use"),
    ]

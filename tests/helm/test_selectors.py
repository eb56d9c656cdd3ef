"""Names and selectors, which an upgrade cannot change: the API server refuses it, or pods are left behind."""

from typing import Any

import pytest

from tests.helm.chart import EVERYTHING, Manifest, Values, manifests, refusal, render, without

NAMES = ("nameOverride", "fullnameOverride", "namespaceOverride")
GROUPS: Values = {"nodeGroups": EVERYTHING["nodeGroups"]}
# As every version of the chart has had them.
SELECTOR = {"app.kubernetes.io/name": "amdgpu-plugin", "app.kubernetes.io/instance": "gpu"}
NAMED = {(kind, "gpu-amdgpu-plugin") for kind in ("ConfigMap", "DaemonSet", "ServiceAccount")}


def identity(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def selectors(values: Values) -> list[Any]:
    """What the DaemonSets, Services, monitors and policies select pods by."""
    found = [manifest["spec"] for manifest in manifests(values) if "spec" in manifest]
    return [
        spec[key].get("matchLabels", spec[key])
        for spec in found
        for key in ("selector", "podSelector")
        if key in spec
    ]


def test_names_and_selector_of_the_first_version() -> None:
    assert {identity(manifest) for manifest in manifests()} == NAMED
    assert render()["DaemonSet"]["spec"]["selector"] == {"matchLabels": SELECTOR}


def test_no_other_value_changes_them() -> None:
    everything = without(EVERYTHING, "nodeGroups", *NAMES)
    assert {identity(manifest) for manifest in manifests(everything)} >= NAMED
    assert selectors(everything) == [SELECTOR] * 4
    assert selectors(everything | {"podMonitor": {"enabled": True}, "serviceMonitor": {}}) == [SELECTOR] * 3


def test_each_group_has_its_own() -> None:
    everything = without(EVERYTHING, *NAMES)
    for values in (GROUPS, everything):
        sets = manifests(values, "DaemonSet")
        assert {each["metadata"]["name"]: each["spec"]["selector"]["matchLabels"] for each in sets} == {
            f"gpu-amdgpu-plugin-{group}": SELECTOR | {"amdgpu-plugin/node-group": group}
            for group in ("whole", "sliced")
        }


def test_groups_do_not_hang_on_their_order() -> None:
    turned = {"nodeGroups": GROUPS["nodeGroups"][::-1]}
    assert manifests(turned, "DaemonSet")[::-1] == manifests(GROUPS, "DaemonSet")


@pytest.mark.parametrize("values", [{}, GROUPS, EVERYTHING], ids=["defaults", "groups", "everything"])
def test_pods_have_the_labels_that_they_are_selected_by(values: Values) -> None:
    for each in manifests(values, "DaemonSet"):
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert each["spec"]["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("value", ["commonLabels", "podLabels"])
@pytest.mark.parametrize(
    "label", ["app.kubernetes.io/name", "app.kubernetes.io/instance", "amdgpu-plugin/node-group"]
)
def test_label_of_a_selector_is_not_the_user_s(value: str, label: str) -> None:
    assert f"{value} cannot hold {label}" in refusal({value: {label: "x"}})


def test_common_labels_are_on_every_object_and_on_the_pods_and_lose_to_ours() -> None:
    labels = {"team": "a", "app.kubernetes.io/managed-by": "me"}
    for manifest in manifests(EVERYTHING | {"commonLabels": labels}):
        found = manifest["metadata"]["labels"]
        assert (found["team"], found["app.kubernetes.io/managed-by"]) == ("a", "Helm"), manifest["kind"]
    monitor = render({"podMonitor": {"enabled": True, "labels": labels}})["PodMonitor"]["metadata"]["labels"]
    assert (monitor["team"], monitor["app.kubernetes.io/managed-by"]) == ("a", "Helm")
    template = render({"commonLabels": labels})["DaemonSet"]["spec"]["template"]
    assert template["metadata"]["labels"] == labels | SELECTOR


def test_everything_is_in_the_namespace_that_is_named() -> None:
    found = {manifest["metadata"].get("namespace") for manifest in manifests(EVERYTHING)}
    assert found == {"gpus", None} | {
        manifest["metadata"]["namespace"]
        for manifest in manifests(EVERYTHING, "ConfigMap")
        if "dashboard" in manifest["metadata"]["name"]
    }


def test_names_that_look_like_numbers_stay_text() -> None:
    found = manifests({"nameOverride": "7", "nodeGroups": [{"name": "1", "nodeSelector": {"a": "1"}}]})
    (daemonset,) = (each for each in found if each["kind"] == "DaemonSet")
    assert daemonset["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "7",
        "app.kubernetes.io/instance": "gpu",
        "amdgpu-plugin/node-group": "1",
    }

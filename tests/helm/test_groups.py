"""Node groups: what is a group's own, what it shares, and that no node gets two plugins."""

from typing import Any

import pytest
import yaml

from tests.helm.chart import Manifest, Values, manifests, refusal, rendered_files

NOTES = "amdgpu-plugin/templates/NOTES.txt"


def groups(*selectors: dict[str, str], **common: Any) -> Values:
    """Groups a, b, … with these nodeSelectors."""
    named = [{"name": "abc"[n], "nodeSelector": selector} for n, selector in enumerate(selectors)]
    return {"nodeGroups": named, **common}


def with_config(common: Values, group: Values) -> Any:
    """The options of a group."""
    values = groups({"a": "1"}, config=common)
    values["nodeGroups"][0]["config"] = group
    (made,) = manifests(values, "ConfigMap")
    return yaml.safe_load(made["data"]["config.yaml"])


def spec(values: Values, index: int = 0) -> Manifest:
    found: Manifest = manifests(values, "DaemonSet")[index]["spec"]["template"]["spec"]
    return found


def test_group_s_options_are_merged_over_those_of_all() -> None:
    common: Values = {
        "log_level": "debug",
        "health": {"interval": 5, "mode": "observe"},
        "devices": {"expect": 8, "exclude": ["a"]},
        "sharing": {"rename": True},
    }
    group: Values = {
        "health": {"interval": 10},
        "devices": {"expect": 0, "exclude": ["b"]},
        "sharing": {"rename": False},
    }
    assert with_config(common, group) == {
        "log_level": "debug",
        "health": {"interval": 10, "mode": "observe"},
        "devices": {"expect": 0, "exclude": ["b"]},
        "sharing": {"rename": False},
    }


def test_no_group_s_options_reach_another() -> None:
    values = groups({"gpu": "a"}, {"gpu": "b"}, config={"health": {"mode": "enforce"}})
    values["nodeGroups"][0]["config"] = {"health": {"mode": "observe"}}
    options = [yaml.safe_load(each["data"]["config.yaml"]) for each in manifests(values, "ConfigMap")]
    assert [each["health"]["mode"] for each in options] == ["observe", "enforce"]


def test_each_mounts_its_own_file_and_restarts_for_it_alone() -> None:
    values = groups({"gpu": "a"}, {"gpu": "b"})
    before = manifests(values, "DaemonSet")
    values["nodeGroups"][0]["config"] = {"log_level": "debug"}
    after = manifests(values, "DaemonSet")
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True]
    mounted = [spec(values, index)["volumes"][0]["configMap"]["name"] for index in (0, 1)]
    assert mounted == [made["metadata"]["name"] for made in manifests(values, "ConfigMap")]


def test_node_selector_and_resources_are_merged_too() -> None:
    values = groups({"gpu": "a"}, nodeSelector={"zone": "north"})
    values["nodeGroups"][0]["resources"] = {"limits": {"memory": "512Mi"}}
    assert spec(values)["nodeSelector"] == {"zone": "north", "gpu": "a"}
    assert spec(values)["containers"][0]["resources"] == {
        "requests": {"cpu": "10m", "memory": "64Mi"},
        "limits": {"memory": "512Mi"},
    }


def test_port_is_the_group_s() -> None:
    values = groups({"gpu": "a"}, {"gpu": "b"})
    values["nodeGroups"][1]["config"] = {"http": {"address": ":9500"}}
    ports = [spec(values, index)["containers"][0]["ports"][0]["containerPort"] for index in (0, 1)]
    assert ports == [9400, 9500]


def test_one_account_and_one_pod_monitor_serve_all() -> None:
    values = groups({"gpu": "a"}, {"gpu": "b"}, podMonitor={"enabled": True})
    kinds = [manifest["kind"] for manifest in manifests(values)]
    assert sorted(kinds) == ["ConfigMap"] * 2 + ["DaemonSet"] * 2 + ["PodMonitor", "ServiceAccount"]


@pytest.mark.parametrize(
    ("first", "second"),
    [({"gpu": "a"}, {"gpu": "a"}), ({"gpu": "a"}, {"gpu": "a", "zone": "north"})],
    ids=["same", "part"],
)
def test_groups_of_the_same_nodes_are_refused(first: dict[str, str], second: dict[str, str]) -> None:
    for pair in ((first, second), (second, first)):
        assert 'nodes of "a" and "b" are the same ones' in refusal(groups(*pair))


def test_groups_that_only_labels_keep_apart_are_named_in_the_notes() -> None:
    apart = rendered_files(groups({"gpu": "a"}, {"gpu": "b", "zone": "north"}))[NOTES]
    perhaps = rendered_files(groups({"gpu": "a"}, {"zone": "north"}, {"gpu": "b"}))[NOTES]
    assert "CHECK" not in apart
    assert "keeps these groups apart:\n  a and b\n  b and c\n" in perhaps


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"nodeGroups": [{"name": "a"}]}, "nodeSelector"),
        ({"nodeGroups": [{"name": "a", "nodeSelector": {}}]}, "/nodeGroups/0/nodeSelector"),
        ({"nodeGroups": [{"name": "A", "nodeSelector": {"a": "1"}}]}, "/nodeGroups/0/name"),
        ({"nodeGroups": [{"name": "dashboard-gpu", "nodeSelector": {"a": "1"}}]}, "/nodeGroups/0/name"),
        (
            {"nodeGroups": [{"name": "a", "nodeSelector": {"a": "1"}, "config": {"log_levl": "x"}}]},
            "log_levl",
        ),
        (
            {"nodeGroups": [{"name": "a", "nodeSelector": {"a": "1"}, "config": {"simulate": "mi210"}}]},
            "set simulate.shape",
        ),
        (
            {"nodeGroups": [{"name": "a", "nodeSelector": {"a": value}} for value in "12"]},
            'two are called "a"',
        ),
        (
            {
                "existingConfigMap": "theirs",
                "nodeGroups": [{"name": "a", "nodeSelector": {"a": "1"}, "config": {"log_level": "debug"}}],
            },
            "exclude each other",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_bad_group_is_refused_by_name(values: Values, named: str) -> None:
    assert named in refusal(values)

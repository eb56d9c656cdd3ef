"""The objects for the Prometheus Operator: what is scraped, and by which rules it is judged."""

from typing import Any

import pytest
import yaml

from tests.helm.chart import CHART, Manifest, Values, container, refusal, render, rendered_files

RULES = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())["groups"]
MONITORED: Values = {"podMonitor": {"enabled": True}}
NODE = {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}


def ruled(**values: Any) -> list[Manifest]:
    """The groups of the PrometheusRule."""
    groups: list[Manifest] = render({"prometheusRule": {"enabled": True} | values})["PrometheusRule"]["spec"][
        "groups"
    ]
    return groups


def changed(**changes: dict[str, str]) -> list[Manifest]:
    """The chart's rules, with other `for` and severities by alert."""
    groups: list[Manifest] = yaml.safe_load(yaml.safe_dump(RULES))
    for rule in groups[0]["rules"]:
        for key, value in changes.get(rule.get("alert", ""), {}).items():
            (rule if key == "for" else rule["labels"])[key] = value
    return groups


def test_pod_monitor_finds_the_plugin_s_pods_and_names_their_node() -> None:
    objects = render(MONITORED)
    monitor = objects["PodMonitor"]
    assert (monitor["apiVersion"], monitor["metadata"]["namespace"]) == (
        "monitoring.coreos.com/v1",
        "kube-system",
    )
    assert monitor["spec"] == {
        "selector": objects["DaemonSet"]["spec"]["selector"],
        "podMetricsEndpoints": [
            {"port": "metrics", "path": "/metrics", "honorLabels": True, "relabelings": [NODE]}
        ],
    }


def test_what_the_user_relabels_comes_after_the_node() -> None:
    more: Values = {
        "labels": {"release": "monitoring"},
        "interval": "15s",
        "scrapeTimeout": "5s",
        "relabelings": [{"targetLabel": "cluster", "replacement": "north"}],
        "metricRelabelings": [{"sourceLabels": ["__name__"], "regex": "process_.*", "action": "drop"}],
    }
    monitor = render({"podMonitor": {"enabled": True} | more})["PodMonitor"]
    assert monitor["metadata"]["labels"]["release"] == "monitoring"
    assert monitor["spec"]["podMetricsEndpoints"] == [
        {
            "port": "metrics",
            "path": "/metrics",
            "interval": "15s",
            "scrapeTimeout": "5s",
            "honorLabels": True,
            "relabelings": [NODE, *more["relabelings"]],
            "metricRelabelings": more["metricRelabelings"],
        }
    ]


def test_service_monitor_gives_the_same_job_and_labels_by_a_headless_service() -> None:
    by_service: Values = {"serviceMonitor": {"enabled": True, "relabelings": [NODE]}}
    objects = render(by_service)
    service, monitor = objects["Service"], objects["ServiceMonitor"]
    pods = objects["DaemonSet"]["spec"]["selector"]["matchLabels"]
    assert service["spec"] == {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": pods,
        "ports": [{"name": "metrics", "port": 9400, "targetPort": "metrics"}],
    }
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    (scraped,) = render(MONITORED)["PodMonitor"]["spec"]["podMetricsEndpoints"]
    job = {"targetLabel": "job", "replacement": "kube-system/gpu-amdgpu-plugin"}
    assert endpoint == scraped | {"relabelings": [NODE, job, NODE]}


def test_nothing_is_scraped_twice() -> None:
    assert "twice" in refusal(MONITORED | {"serviceMonitor": {"enabled": True}})


@pytest.mark.parametrize("monitor", ["podMonitor", "serviceMonitor"])
def test_port_is_there_for_prometheus_also_without_probes(monitor: str) -> None:
    off: Values = {"probes": {"enabled": False}}
    monitored: Values = {monitor: {"enabled": True}}
    found = container(off | monitored | {"config": {"http": {"address": "[::]:9500"}}})
    assert found["ports"] == [{"name": "metrics", "containerPort": 9500}]
    assert found.keys() & {"livenessProbe", "readinessProbe"} == set()
    assert "ports" not in container(off)
    assert "cannot reach" in refusal(off | monitored | {"config": {"http": {"address": ""}}})


def test_rules_are_those_of_the_file_unless_something_is_said() -> None:
    assert ruled() == RULES


@pytest.mark.parametrize("monitor", ["podMonitor", "serviceMonitor"])
def test_rules_know_the_job_that_the_monitor_gives(monitor: str) -> None:
    both: Values = {monitor: {"enabled": True}, "prometheusRule": {"enabled": True}}
    (down,) = (
        rule["expr"]
        for rule in render(both)["PrometheusRule"]["spec"]["groups"][0]["rules"]
        if rule.get("alert") == "AmdGpuPluginDown"
    )
    (plain,) = (rule["expr"] for rule in RULES[0]["rules"] if rule.get("alert") == "AmdGpuPluginDown")
    assert plain.count('job=~".*amdgpu-plugin.*"') == 2
    assert down == plain.replace('job=~".*amdgpu-plugin.*"', 'job="kube-system/gpu-amdgpu-plugin"')


def test_alert_may_be_left_out() -> None:
    kept = [rule for rule in RULES[0]["rules"] if rule.get("alert") != "AmdGpuHot"]
    assert ruled(disabled={"AmdGpuHot": True, "AmdGpuMissing": False}) == [RULES[0] | {"rules": kept}]


def test_alert_may_wait_longer_and_weigh_less() -> None:
    custom = {"AmdGpuAllocatedIdle": {"for": "8h", "severity": "warning"}, "AmdGpuMissing": {"for": "1h"}}
    assert ruled(customRules=custom) == changed(**custom)


def test_runbook_is_where_the_user_has_it() -> None:
    (group,) = ruled(runbookUrl="https://wiki.example/gpu", labels={"release": "monitoring"})
    assert {
        rule["alert"]: rule["annotations"]["runbook_url"] for rule in group["rules"] if "alert" in rule
    } == {
        rule["alert"]: f"https://wiki.example/gpu#{rule['alert'].lower()}"
        for rule in RULES[0]["rules"]
        if "alert" in rule
    }


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"prometheusRule": {"disabled": {"AmdGpuColt": True}}}, "AmdGpuColt"),
        ({"prometheusRule": {"customRules": {"AmdGpuHot": {"severity": "page"}}}}, "/AmdGpuHot/severity"),
        ({"prometheusRule": {"customRules": {"AmdGpuHot": {"for": 5}}}}, "/AmdGpuHot/for"),
        ({"podMonitor": {"relabelings": [{"source_labels": []}]}}, "source_labels"),
        ({"podMonitor": {"interval": "15"}}, "/podMonitor/interval"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_bad_value_is_refused_by_name(values: Values, named: str) -> None:
    assert named in refusal(values)


def test_without_them_nothing_of_the_operator_is_rendered() -> None:
    assert "monitoring.coreos.com" not in "".join(rendered_files().values())

"""The translation of a PodMonitor into a scrape job, which the end-to-end tests scrape by."""

from typing import Any

import pytest

from e2e.podmonitor import UnknownField, scrape_job, targets

Json = dict[str, Any]
META = "__meta_kubernetes_"


def monitor(**endpoint: Any) -> Json:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {"name": "plugin", "namespace": "gpu", "labels": {"release": "x"}},
        "spec": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": "amdgpu-plugin"}},
            "podMetricsEndpoints": [{"port": "metrics"} | endpoint],
        },
    }


def pod(name: str, **status: Any) -> Json:
    return {
        "metadata": {
            "name": name,
            "namespace": "gpu",
            "labels": {"app.kubernetes.io/name": "amdgpu-plugin"},
        },
        "spec": {
            "nodeName": "n1",
            "containers": [
                {"name": "c", "ports": [{"name": "metrics", "containerPort": 9400}, {"containerPort": 1}]},
                {"name": "none"},
            ],
        },
        "status": {"phase": "Running", **status},
    }


def test_job_is_what_the_operator_would_write() -> None:
    endpoint = {
        "path": "/metrics",
        "interval": "15s",
        "scrapeTimeout": "5s",
        "honorLabels": True,
        "relabelings": [{"sourceLabels": [f"{META}pod_node_name"], "targetLabel": "node"}],
        "metricRelabelings": [{"sourceLabels": ["__name__"], "regex": "go_.*", "action": "drop"}],
    }
    assert scrape_job(monitor(**endpoint), "/t.json") == {
        "job_name": "podMonitor/gpu/plugin/0",
        "file_sd_configs": [{"files": ["/t.json"], "refresh_interval": "1s"}],
        "metrics_path": "/metrics",
        "scrape_interval": "15s",
        "scrape_timeout": "5s",
        "honor_labels": True,
        "relabel_configs": [
            {"source_labels": [f"{META}namespace"], "regex": "gpu", "action": "keep"},
            {"source_labels": [f"{META}pod_phase"], "regex": "(Failed|Succeeded)", "action": "drop"},
            {
                "source_labels": [
                    f"{META}pod_label_app_kubernetes_io_name",
                    f"{META}pod_labelpresent_app_kubernetes_io_name",
                ],
                "regex": "(amdgpu-plugin);true",
                "action": "keep",
            },
            {"source_labels": [f"{META}pod_container_port_name"], "regex": "metrics", "action": "keep"},
            {"source_labels": [f"{META}namespace"], "target_label": "namespace"},
            {"source_labels": [f"{META}pod_container_name"], "target_label": "container"},
            {"source_labels": [f"{META}pod_name"], "target_label": "pod"},
            {"target_label": "job", "replacement": "gpu/plugin"},
            {"target_label": "endpoint", "replacement": "metrics"},
            {"source_labels": [f"{META}pod_node_name"], "target_label": "node"},
        ],
        "metric_relabel_configs": [{"source_labels": ["__name__"], "regex": "go_.*", "action": "drop"}],
    }


def test_what_is_not_said_is_left_to_prometheus() -> None:
    job = scrape_job(monitor(), "/t.json")
    assert set(job) == {"job_name", "file_sd_configs", "relabel_configs"}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (("status",), "status"),
        (("spec", "namespaceSelector"), "spec.namespaceSelector"),
        (("spec", "jobLabel"), "spec.jobLabel"),
        (("spec", "selector", "matchExpressions"), "spec.selector.matchExpressions"),
        (("spec", "podMetricsEndpoints", 0, "scheme"), "spec.podMetricsEndpoints[0].scheme"),
        (
            ("spec", "podMetricsEndpoints", 0, "relabelings", 0, "source_labels"),
            "spec.podMetricsEndpoints[0].relabelings[0].source_labels",
        ),
        (
            ("spec", "podMetricsEndpoints", 0, "metricRelabelings", 0, "sourceLabel"),
            "spec.podMetricsEndpoints[0].metricRelabelings[0].sourceLabel",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_unknown_field_is_refused_by_its_path(change: tuple[Any, ...], path: str) -> None:
    given = monitor(relabelings=[{}], metricRelabelings=[{}])
    inner: Any = given
    for key in change[:-1]:
        inner = inner[key]
    inner[change[-1]] = "x"
    with pytest.raises(UnknownField) as refused:
        scrape_job(given, "/t.json")
    assert str(refused.value) == path


def test_second_endpoint_is_refused() -> None:
    given = monitor()
    given["spec"]["podMetricsEndpoints"] *= 2
    with pytest.raises(UnknownField, match="podMetricsEndpoints"):
        scrape_job(given, "/t.json")


def test_targets_are_the_ports_of_pods_that_have_an_address() -> None:
    of_pod = {
        f"{META}namespace": "gpu",
        f"{META}pod_name": "p1",
        f"{META}pod_ip": "10.0.0.7",
        f"{META}pod_phase": "Running",
        f"{META}pod_node_name": "n1",
        f"{META}pod_label_app_kubernetes_io_name": "amdgpu-plugin",
        f"{META}pod_labelpresent_app_kubernetes_io_name": "true",
        f"{META}pod_container_name": "c",
        f"{META}pod_container_port_protocol": "TCP",
    }
    assert targets([pod("p1", podIP="10.0.0.7"), pod("pending")]) == [
        {
            "targets": [f"10.0.0.7:{number}"],
            "labels": of_pod
            | {
                f"{META}pod_container_port_name": name,
                f"{META}pod_container_port_number": str(number),
            },
        }
        for name, number in (("metrics", 9400), ("", 1))
    ]

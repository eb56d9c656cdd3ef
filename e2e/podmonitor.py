"""A PodMonitor as a scrape job: what the Prometheus Operator would make of it. Pure.

Debian's Prometheus is built without Kubernetes discovery, so that pods are handed to it as file-based targets
with the labels that its `role: pod` would give (the `__meta_kubernetes_pod_*` of Prometheus' configuration
page). What is not known here is refused: a field passed over would show a job that no cluster has.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]

_META = "__meta_kubernetes_"
_RELABELING = {
    "sourceLabels": "source_labels",
    "separator": "separator",
    "targetLabel": "target_label",
    "regex": "regex",
    "modulus": "modulus",
    "replacement": "replacement",
    "action": "action",
}
_ENDPOINT = {
    "path": "metrics_path",
    "interval": "scrape_interval",
    "scrapeTimeout": "scrape_timeout",
    "honorLabels": "honor_labels",
}


class UnknownField(Exception):  # noqa: N818 - named for the situation
    """The PodMonitor says something that this translation does not know; the message has its path."""


def scrape_job(monitor: Json, targets_file: str) -> Json:
    """An entry of `scrape_configs` for a PodMonitor of one endpoint; `targets_file` holds `targets` as JSON.

    Raises UnknownField for every field, and every selector, that is not translated.
    """
    _only(monitor, "", "apiVersion", "kind", "metadata", "spec")
    spec, namespace = monitor["spec"], monitor["metadata"]["namespace"]
    _only(spec, "spec", "selector", "podMetricsEndpoints")
    _only(spec["selector"], "spec.selector", "matchLabels")
    if len(spec["podMetricsEndpoints"]) != 1:
        raise UnknownField("spec.podMetricsEndpoints: one is known, no fewer and no more")
    (endpoint,) = spec["podMetricsEndpoints"]
    where = "spec.podMetricsEndpoints[0]"
    _only(endpoint, where, "port", "relabelings", "metricRelabelings", *_ENDPOINT)
    name = f"{namespace}/{monitor['metadata']['name']}"
    job: Json = {
        "job_name": f"podMonitor/{name}/0",
        "file_sd_configs": [{"files": [targets_file], "refresh_interval": "1s"}],
        **{_ENDPOINT[key]: value for key, value in endpoint.items() if key in _ENDPOINT},
        "relabel_configs": [
            _keep([f"{_META}namespace"], namespace),
            {"source_labels": [f"{_META}pod_phase"], "regex": "(Failed|Succeeded)", "action": "drop"},
            *_selected(spec["selector"]["matchLabels"]),
            _keep([f"{_META}pod_container_port_name"], endpoint["port"]),
            _copy("namespace", "namespace"),
            _copy("pod_container_name", "container"),
            _copy("pod_name", "pod"),
            {"target_label": "job", "replacement": name},
            {"target_label": "endpoint", "replacement": endpoint["port"]},
            *_relabelings(endpoint.get("relabelings", ()), f"{where}.relabelings"),
        ],
    }
    if more := endpoint.get("metricRelabelings"):
        job["metric_relabel_configs"] = _relabelings(more, f"{where}.metricRelabelings")
    return job


def targets(pods: Iterable[Json]) -> list[Json]:
    """File-based targets for these pods: one for each port of each container, as `role: pod` gives them."""
    return [
        {
            "targets": [f"{pod['status']['podIP']}:{port['containerPort']}"],
            "labels": _of_pod(pod)
            | {
                f"{_META}pod_container_name": container["name"],
                f"{_META}pod_container_port_name": port.get("name", ""),
                f"{_META}pod_container_port_number": str(port["containerPort"]),
                f"{_META}pod_container_port_protocol": port.get("protocol", "TCP"),
            },
        }
        for pod in pods
        if pod["status"].get("podIP")
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
    ]


def _of_pod(pod: Json) -> dict[str, str]:
    metadata, status = pod["metadata"], pod["status"]
    labels = {
        f"{_META}namespace": metadata["namespace"],
        f"{_META}pod_name": metadata["name"],
        f"{_META}pod_ip": status["podIP"],
        f"{_META}pod_phase": status["phase"],
        f"{_META}pod_node_name": pod["spec"]["nodeName"],
    }
    for name, value in metadata.get("labels", {}).items():
        labels[f"{_META}pod_label_{_sane(name)}"] = value
        labels[f"{_META}pod_labelpresent_{_sane(name)}"] = "true"
    return labels


def _selected(labels: Mapping[str, str]) -> list[Json]:
    return [
        _keep(
            [f"{_META}pod_label_{_sane(name)}", f"{_META}pod_labelpresent_{_sane(name)}"], f"({value});true"
        )
        for name, value in sorted(labels.items())
    ]


def _relabelings(given: Iterable[Json], where: str) -> list[Json]:
    found = []
    for number, relabeling in enumerate(given):
        _only(relabeling, f"{where}[{number}]", *_RELABELING)
        found.append({_RELABELING[key]: value for key, value in relabeling.items()})
    return found


def _keep(sources: list[str], regex: str) -> Json:
    return {"source_labels": sources, "regex": regex, "action": "keep"}


def _copy(source: str, target: str) -> Json:
    return {"source_labels": [f"{_META}{source}"], "target_label": target}


def _sane(name: str) -> str:
    """As Prometheus writes a Kubernetes label's name into one of its own."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


def _only(given: Json, where: str, *known: str) -> None:
    if unknown := sorted(given.keys() - set(known)):
        raise UnknownField(f"{where}.{unknown[0]}".lstrip("."))

"""A real Prometheus scrapes the pod over the pods' network, by the chart's PodMonitor and rules."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e import podmonitor, prometheus, toolbox
from e2e.local import LocalCluster
from e2e.machine import ClusterUnavailable
from e2e.prometheus import Prometheus
from e2e.tests.installation import CHART, GPU, NAMESPACE, RELEASE, Installation
from e2e.tests.workload import Workload

WITHIN_S = 60.0


def rendered(plugin: Installation, template: str) -> Any:
    """An object for the Prometheus Operator, which this cluster does not know."""
    switches = ("--set", "podMonitor.enabled=true,prometheusRule.enabled=true")
    return yaml.safe_load(
        plugin.helm("template", RELEASE, str(CHART), *switches, "--show-only", f"templates/{template}.yaml")
    )


@pytest.fixture
def scraping(whole_gpus: Installation, local: LocalCluster, tmp_path: Path) -> Iterator[Prometheus]:
    """The pods' network does not lead out of the machine, and so only on the cluster of this one."""
    try:
        by = prometheus.program() or str(toolbox.prometheus())
    except ClusterUnavailable as reason:
        pytest.skip(f"no prometheus: {reason}")
    found, rules = tmp_path / "targets.json", tmp_path / "rules.yaml"
    whole_gpus.pod()
    found.write_text(json.dumps(podmonitor.targets(whole_gpus.pods())))
    spec = rendered(whole_gpus, "prometheusrule")["spec"]
    rules.write_text(prometheus.without_waiting(yaml.safe_dump(spec)))
    job = podmonitor.scrape_job(rendered(whole_gpus, "podmonitor"), str(found))
    with prometheus.running(tmp_path, [job], rules, by=by) as running:
        yield running


def test_fault_fires_the_alerts_of_the_chart_and_they_resolve(
    whole_gpus: Installation, pods: Workload, scraping: Prometheus
) -> None:
    (report,) = pods.start("holder", 1)
    (device,) = report.ids
    holders = f'amdgpu_device_allocated{{resource="{GPU}",namespace="{NAMESPACE}",pod="holder"}}'
    (held,) = scraping.until(lambda each: each.query(holders), bool, within_s=WITHIN_S)
    assert (held["metric"]["node"], held["metric"]["gpu"], held["metric"]["container"]) == (
        whole_gpus.node,
        device,
        "c0",
    )
    boards = f'node_gpu:amdgpu_device_healthy:min{{node="{whole_gpus.node}"}} == 1'
    scraping.until(lambda each: each.query(boards), lambda found: len(found) == 8, within_s=WITHIN_S)
    scraping.until(lambda each: each.firing("AmdGpuPluginDown"), lambda fire: not fire, within_s=WITHIN_S)
    assert scraping.firing("AmdGpuUnhealthy") == []

    whole_gpus.inject(device, "unbind")
    (alert,) = scraping.until(lambda each: each.firing("AmdGpuUnhealthyInUse"), bool, within_s=WITHIN_S)
    assert alert["labels"] == {
        "alertname": "AmdGpuUnhealthyInUse",
        "severity": "critical",
        "simulated": "true",
        "node": whole_gpus.node,
        "gpu": device,
    }
    assert f"{NAMESPACE}/holder; in force: DriverUnbound." in alert["annotations"]["description"]

    whole_gpus.inject(device, "clear")
    gone = 'ALERTS{alertname=~"AmdGpuUnhealthy|AmdGpuUnhealthyInUse"}'
    scraping.until(lambda each: each.query(gone), lambda firing: not firing, within_s=WITHIN_S)

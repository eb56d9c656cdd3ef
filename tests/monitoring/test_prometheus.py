"""A real Prometheus scrapes a simulated daemon by the chart's PodMonitor, and judges it by the chart's rules."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from amdgpu_plugin.simulation.kubelet import SimulatedKubelet
from e2e import podmonitor, prometheus
from e2e.prometheus import Prometheus
from tests.helm.chart import render
from tests.processes import run

GPU = "amd.com/gpu"
A = "0000:05:00.0"
ON_A = {"node": "n1", "gpu": A, "simulated": "true"}
WITHIN_S = 20.0


def chart() -> dict[str, Any]:
    return render({"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}})


def pod_of(objects: dict[str, Any], port: int, *, node: str = "n1") -> dict[str, Any]:
    """The plugin's pod as the API server would have it, its port being where the daemon really listens."""
    template = objects["DaemonSet"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    ports = [listed | {"containerPort": port} for listed in container["ports"]]
    return {
        "metadata": template["metadata"] | {"name": f"plugin-{node}", "namespace": "kube-system"},
        "spec": {"nodeName": node, "containers": [container | {"ports": ports}]},
        "status": {"podIP": "127.0.0.1", "phase": "Running"},
    }


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


async def inject(state: Path, device: str, what: str) -> None:
    async with run(device, what, "--state-dir", str(state), verb="inject", stdout_too=True) as asked:
        assert await asked.ends() == 0


async def labels_of(alerts: Prometheus, name: str, count: int) -> list[dict[str, str]]:
    """Of that many firing alerts, without name and severity."""
    found = await asyncio.to_thread(
        alerts.until, lambda each: each.firing(name), lambda fire: len(fire) == count, within_s=WITHIN_S
    )
    return [
        {key: value for key, value in each["labels"].items() if key not in {"alertname", "severity"}}
        for each in found
    ]


@pytest.mark.skipif(
    prometheus.program() is None,
    reason="prometheus is not installed here; on Debian: apt-get install prometheus",
)
async def test_injected_fault_fires_alerts_that_name_the_pod_and_resolve_with_it(scratch: Path) -> None:
    plugins, pods, state, port = scratch / "p", scratch / "r", scratch / "s", free_port()
    options = ("--device-plugins-dir", plugins, "--pod-resources-dir", pods, "--state-dir", state)
    quick = ("--health-interval", "1", "--health-recovery-hold", "0")
    objects = chart()
    rules, found = scratch / "rules.yaml", scratch / "targets.json"
    rules.write_text(prometheus.without_waiting(yaml.safe_dump(objects["PrometheusRule"]["spec"])))
    found.write_text(json.dumps(podmonitor.targets([pod_of(objects, port)])))
    job = podmonitor.scrape_job(objects["PodMonitor"], str(found))
    async with (
        SimulatedKubelet(str(plugins), pod_resources=str(pods)) as kubelet,
        run(
            *map(str, options), *quick, "--simulate", "mi300x:2", "--http-address", f"127.0.0.1:{port}"
        ) as daemon,
    ):
        await kubelet.sees(GPU, healthy=2)
        await kubelet.allocate(GPU, 2, pod="train")
        with prometheus.running(scratch, [job], rules) as scraping:
            each_board = "node_gpu:amdgpu_device_allocated:count"
            held = await asyncio.to_thread(
                scraping.until, lambda each: each.query(each_board), bool, within_s=WITHIN_S
            )
            assert sorted((each["metric"]["node"], each["value"][1]) for each in held) == [("n1", "1")] * 2
            for quiet in ("AmdGpuPluginDown", "AmdGpuUnhealthy", "AmdGpuUnhealthyInUse", "AmdGpuMissing"):
                assert await labels_of(scraping, quiet, 0) == []

            await inject(state, A, "unbind")
            assert await labels_of(scraping, "AmdGpuUnhealthy", 1) == [ON_A]
            assert await labels_of(scraping, "AmdGpuUnhealthyInUse", 1) == [ON_A]
            (alert,) = scraping.firing("AmdGpuUnhealthyInUse")
            assert "default/train; in force: DriverUnbound." in alert["annotations"]["description"]
            assert await labels_of(scraping, "AmdGpuMissing", 1) == [{"node": "n1", "simulated": "true"}]

            await inject(state, A, "clear")
            for gone in ("AmdGpuUnhealthyInUse", "AmdGpuUnhealthy", "AmdGpuMissing"):
                assert await labels_of(scraping, gone, 0) == []
        assert await daemon.stop() == 0

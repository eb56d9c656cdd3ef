"""What the chart promises when nobody sets anything."""

import re
from pathlib import Path

import pytest
import yaml

import amdgpu_plugin
from amdgpu_plugin.config import OPTIONS
from tests.helm.chart import (
    CHART,
    EVERYTHING,
    GOLDEN,
    ROOT,
    container,
    helm,
    pod,
    render,
    render_text,
    rendered_files,
)

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_what_is_rendered_is_the_golden_file(path: Path) -> None:
    """After a change that is meant: `.venv/bin/python -m tests.helm.generate`."""
    assert render_text(GOLDEN[path]) == path.read_text()


def test_nothing_depends_on_the_cluster_nor_on_the_hour() -> None:
    sources = "".join(path.read_text() for path in sorted(CHART.rglob("templates/*")))
    words = r"lookup|rand\w+|uuidv4|gen\w+|now|helm\.sh/hook|APIVersions"
    assert re.findall(rf"{{{{[^}}]*\b({words})\b|(helm\.sh/hook)", sources) == []
    assert rendered_files(EVERYTHING) == rendered_files(EVERYTHING)


def test_lint_strict_finds_nothing_but_the_missing_icon() -> None:
    report = helm.lint(CHART, strict=True)
    assert (report["errors"], [found["error"] for found in report["messages"]]) == (
        [],
        ["icon is recommended"],
    )


def test_no_token_in_the_service_account_nor_in_the_pod() -> None:
    assert render()["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod()["automountServiceAccountToken"] is False
    assert pod()["serviceAccountName"] == render()["ServiceAccount"]["metadata"]["name"]


def test_only_these_kinds_and_so_no_role() -> None:
    assert set(render()) == {"ConfigMap", "DaemonSet", "ServiceAccount"}


def test_the_plugin_is_the_only_container_and_holds_nothing_of_privilege() -> None:
    assert [found["name"] for found in pod()["containers"]] == ["amdgpu-plugin"]
    assert container()["securityContext"] == {
        "runAsUser": 0,
        "runAsGroup": 0,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "allowPrivilegeEscalation": False,
    }


def test_pod_shares_nothing_with_the_node_and_is_confined() -> None:
    spec = pod()
    assert spec["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert spec["enableServiceLinks"] is False
    assert spec["priorityClassName"] == "system-node-critical"
    assert (
        spec.keys() & {"hostUsers", "hostNetwork", "hostPID", "hostIPC", "initContainers", "affinity"}
        == set()
    )


def test_three_directories_of_the_node_and_no_more() -> None:
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert {name: volume.get("hostPath") for name, volume in volumes.items()} == {
        "config": None,
        "device-plugins": {"path": "/var/lib/kubelet/device-plugins", "type": "Directory"},
        "pod-resources": {"path": "/var/lib/kubelet/pod-resources", "type": "Directory"},
        "state": {"path": "/run/amdgpu-plugin", "type": "DirectoryOrCreate"},
    }
    writable = {mount["name"] for mount in container()["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"device-plugins", "state"}


def test_memory_is_limited_and_cpu_is_not() -> None:
    assert container()["resources"] == {
        "requests": {"cpu": "10m", "memory": "64Mi"},
        "limits": {"memory": "256Mi"},
    }


def test_tolerations_are_for_taints_of_gpu_nodes_with_any_effect() -> None:
    keys = ("amd.com/gpu", "CriticalAddonsOnly", "amd-gpu-unhealthy", "amd-dcm")
    assert pod()["tolerations"] == [{"key": key, "operator": "Exists"} for key in keys]


def test_probes_are_on_as_soon_as_the_daemon_serves_http() -> None:
    address = next(option for option in OPTIONS if option.field == "http_address")
    assert VALUES["probes"] == {"enabled": bool(address.default)}


def test_mounts_are_where_the_daemon_looks_by_itself() -> None:
    defaults = {option.field: option.default for option in OPTIONS}
    paths = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    assert paths == {
        "config": "/etc/amdgpu-plugin",
        "device-plugins": defaults["device_plugins_dir"],
        "pod-resources": defaults["pod_resources_dir"],
        "state": defaults["state_dir"],
    }
    assert container()["args"] == ["run", "--config", f"{paths['config']}/config.yaml"]
    assert list(render()["ConfigMap"]["data"]) == ["config.yaml"]


def test_chart_and_image_have_the_package_s_version() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (amdgpu_plugin.__version__,) * 2
    assert container()["image"] == f"localhost/amdgpu-plugin:{amdgpu_plugin.__version__}"
    assert "image=${IMAGE:-localhost/amdgpu-plugin:$version}" in (ROOT / "image/build.sh").read_text()


def test_pods_do_not_restart_for_a_new_chart_alone() -> None:
    labels = render()["DaemonSet"]["spec"]["template"]["metadata"]["labels"]
    assert labels == render()["DaemonSet"]["spec"]["selector"]["matchLabels"]

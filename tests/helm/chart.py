"""The chart rendered by the real Helm, as a library and offline; skipped, with the reason, where that is missing."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "amdgpu-plugin"

helm: Any = pytest.importorskip("helm_python", reason="helm-python-sdk is not installed here")

Values = dict[str, Any]
Manifest = dict[str, Any]

# Each value that is off by default on, and something in each that is empty; one that excludes another is left out.
EVERYTHING: Values = {
    "nameOverride": "gpus",
    "fullnameOverride": "amd-gpus",
    "namespaceOverride": "gpus",
    "commonLabels": {"team": "a", "cost-centre": "7"},
    "image": {"registry": "r.example", "repository": "team/plugin", "tag": "v2"},
    "imagePullSecrets": [{"name": "regcred"}],
    "config": {"resource_naming": "mixed", "http": {"address": ":9500"}},
    "http": {"statusPage": False},
    "kubernetesEvents": {"enabled": True},
    "nodeCondition": {"enabled": True, "delay": 60},
    "admissionPolicy": {"enabled": True},
    "simulate": {"shape": "mi300x:8"},
    "kubelet": {"podResourcesPath": "/var/lib/k0s/kubelet/pod-resources"},
    "stateDir": "/run/gpus",
    "nodeGroups": [
        {"name": "whole", "nodeSelector": {"gpu-mode": "spx"}, "config": {"resource_naming": "single"}},
        {
            "name": "sliced",
            "nodeSelector": {"gpu-mode": "cpx"},
            "config": {"http": {"address": ":9501"}, "health": {"interval": 10}},
            "resources": {"limits": {"memory": "512Mi"}},
        },
    ],
    "gpuNodeAffinity": True,
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "site", "operator": "Exists"}]}]
            }
        }
    },
    "tolerations": [{"operator": "Exists"}],
    "priorityClassName": "mine",
    "podSecurityContext": {"seLinuxOptions": {"level": "s0"}},
    "securityContext": {"seLinuxOptions": {"type": "container_device_plugin_t"}},
    "extraArgs": ["--log-format=json"],
    "extraEnv": [{"name": "KUBERNETES_SERVICE_HOST", "value": "10.0.0.1"}],
    "extraVolumes": [{"name": "more", "emptyDir": {"sizeLimit": "1Mi"}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "updateStrategy": {"maxUnavailable": "10%"},
    "minReadySeconds": 10,
    "serviceMonitor": {"enabled": True, "labels": {"release": "monitoring"}, "interval": "15s"},
    "prometheusRule": {"enabled": True, "labels": {"release": "monitoring"}},
    "dashboards": {"enabled": True, "namespace": "grafana", "annotations": {"grafana_folder": "GPUs"}},
    "networkPolicy": {
        "enabled": True,
        "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "apiServer": {"ports": [6443], "to": [{"ipBlock": {"cidr": "10.0.0.10/32"}}]},
    },
    "openshift": {"scc": {"create": True}},
    "serviceAccount": {"annotations": {"by": "us"}},
    "podAnnotations": {"a": "1"},
    "podLabels": {"b": "2"},
}


def without(values: Values, *keys: str) -> Values:
    """The others of them."""
    return {key: value for key, value in values.items() if key not in keys}


# Rules and dashboards are files, and not shown twice.
GOLDEN: dict[Path, Values] = {
    Path(__file__).parent / "golden" / "defaults.yaml": {},
    Path(__file__).parent / "golden" / "everything.yaml": without(EVERYTHING, "prometheusRule", "dashboards"),
}


def rendered_files(
    values: Values | None = None, *, name: str = "gpu", namespace: str = "kube-system", chart: Path = CHART
) -> dict[str, str]:
    """What the templates give, by their paths; values are held to the schema first, as by `helm install`."""
    with helm.Chart.load(chart) as loaded:
        files: dict[str, str] = loaded.render(values or {}, name=name, namespace=namespace)
    return files


def render_text(values: Values | None = None) -> str:
    """All manifests as one YAML stream, in the order of their files."""
    return _rendered_once(json.dumps(values or {}))


@cache
def _rendered_once(values: str) -> str:
    """The same values are asked for by many tests; their order is kept, and counts."""
    files = sorted(rendered_files(json.loads(values)).items())
    texts = [text.strip().removeprefix("---").strip() for path, text in files if path.endswith(".yaml")]
    return "".join(f"---\n{text}\n" for text in texts if text)


def manifests(values: Values | None = None, *kinds: str) -> list[Manifest]:
    """All manifests, or those of these kinds, in the order of their files."""
    documents: list[Manifest] = list(yaml.load_all(render_text(values), yaml.CSafeLoader))
    return [document for document in documents if not kinds or document["kind"] in kinds]


def render(values: Values | None = None) -> dict[str, Manifest]:
    """Manifests by their kind, for values that give no two of one kind."""
    documents = manifests(values)
    assert len({document["kind"] for document in documents}) == len(documents)
    return {document["kind"]: document for document in documents}


def pod(values: Values | None = None) -> Manifest:
    """The DaemonSet's pod spec."""
    spec: Manifest = render(values)["DaemonSet"]["spec"]["template"]["spec"]
    return spec


def container(values: Values | None = None) -> Manifest:
    """The plugin's container, which is the first."""
    first: Manifest = pod(values)["containers"][0]
    assert first["name"] == "amdgpu-plugin"
    return first


def refusal(values: Values) -> str:
    """What `helm install` says to values it does not take."""
    with pytest.raises(helm.HelmError) as caught:
        render_text(values)
    return str(caught.value)

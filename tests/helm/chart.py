"""The chart rendered by the real Helm, as a library and offline; skipped, with the reason, where that is missing."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "amdgpu-plugin"
GOLDEN = Path(__file__).parent / "golden" / "defaults.yaml"

helm: Any = pytest.importorskip("helm_python", reason="helm-python-sdk is not installed here")

Values = dict[str, Any]
Manifest = dict[str, Any]


def rendered_files(
    values: Values | None = None, *, name: str = "gpu", namespace: str = "kube-system"
) -> dict[str, str]:
    """What the templates give, by their paths; values are held to the schema first, as by `helm install`."""
    with helm.Chart.load(CHART) as chart:
        files: dict[str, str] = chart.render(values or {}, name=name, namespace=namespace)
    return files


def render_text(values: Values | None = None) -> str:
    """All manifests as one YAML stream, in the order of their files."""
    files = sorted(rendered_files(values).items())
    manifests = [text.strip() for path, text in files if path.endswith(".yaml")]
    return "".join(f"---\n{text}\n" for text in manifests if text)


def manifests(values: Values | None = None, kind: str = "") -> list[Manifest]:
    """All manifests, or those of one kind, in the order of their files."""
    documents: list[Manifest] = list(yaml.safe_load_all(render_text(values)))
    return [document for document in documents if kind in ("", document["kind"])]


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

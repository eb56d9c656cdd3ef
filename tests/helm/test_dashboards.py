"""Dashboards: a ConfigMap for each file, as it is."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.helm.chart import CHART, Values, rendered_files

ON: Values = {"dashboards": {"enabled": True}}
FILES = {"one.json": '{"title": "{{gpu}}", "a": [1]}\n', "two.json": '{\n  "title": "two"\n}\n'}


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """The chart with just these dashboards."""
    copy = tmp_path / "chart"
    shutil.copytree(CHART, copy)
    shutil.rmtree(copy / "files" / "dashboards", ignore_errors=True)
    (copy / "files" / "dashboards").mkdir()
    for name, text in FILES.items():
        (copy / "files" / "dashboards" / name).write_text(text)
    return copy


def dashboards(chart: Path, values: Values) -> list[dict[str, object]]:
    text = rendered_files(values, chart=chart)["amdgpu-plugin/templates/dashboards.yaml"]
    return [found for found in yaml.safe_load_all(text) if found]


def test_each_file_as_grafana_s_sidecar_looks_for_it(chart: Path) -> None:
    made = dashboards(chart, ON)
    names = [found["metadata"]["name"] for found in made]  # type: ignore[index]
    assert names == ["gpu-amdgpu-plugin-dashboard-one", "gpu-amdgpu-plugin-dashboard-two"]
    assert [found["data"] for found in made] == [
        {f"amdgpu-plugin-{name}": text.rstrip()} for name, text in FILES.items()
    ]
    labels = {found["metadata"]["labels"]["grafana_dashboard"] for found in made}  # type: ignore[index]
    assert labels == {"1"}


def test_namespace_labels_and_annotations_are_the_user_s(chart: Path) -> None:
    theirs: Values = {
        "enabled": True,
        "namespace": "grafana",
        "labels": {"dash": "yes", "grafana_dashboard": None},
        "annotations": {"grafana_folder": "GPUs"},
    }
    metadata = dashboards(chart, {"dashboards": theirs})[0]["metadata"]
    assert isinstance(metadata, dict)
    assert (metadata["namespace"], metadata["annotations"]) == ("grafana", {"grafana_folder": "GPUs"})
    assert "dash" in metadata["labels"]
    assert "grafana_dashboard" not in metadata["labels"]


def test_none_are_made_unasked(chart: Path) -> None:
    assert dashboards(chart, {}) == []

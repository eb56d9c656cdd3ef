"""examples/: each file is listed, valid for Kubernetes, and names images that exist."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import amdgpu_plugin
from tests.helm.chart import manifests

EXAMPLES = Path(__file__).parents[2] / "examples"
VALUES = sorted(EXAMPLES.glob("*-values.yaml"))
MANIFESTS = sorted(set(EXAMPLES.glob("*.yaml")) - set(VALUES))
DEMO = EXAMPLES / "cluster-demo.sh"


def objects(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def ids(path: Path) -> str:
    return path.stem


def test_readme_lists_every_file_and_no_other() -> None:
    linked = set(re.findall(r"\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text()))
    assert linked == {path.name for path in EXAMPLES.iterdir()} - {"README.md"}


@pytest.mark.parametrize("path", MANIFESTS, ids=ids)
@pytest.mark.parametrize("version", ["1.28", "1.36"])
def test_manifest_is_valid(path: Path, version: str) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed here")
    for each in objects(path):
        validator.validate(each, version, strict=True)


@pytest.mark.parametrize("path", [*MANIFESTS, *VALUES], ids=ids)
def test_first_lines_say_what_it_shows_how_to_try_it_and_what_to_change(path: Path) -> None:
    head = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    # as from the repository's folder
    assert f" -f examples/{path.name}" in head
    assert re.search(r"^#   (kubectl|helm) ", head, re.MULTILINE)
    assert path in VALUES or "# Change: " in head
    # or what was set before is lost (docs/troubleshoot.md)
    assert "--reset-then-reuse-values" in head or "helm upgrade" not in head


@pytest.mark.parametrize("path", VALUES, ids=ids)
def test_chart_takes_the_values(path: Path) -> None:
    kinds = {manifest["kind"] for manifest in manifests(yaml.safe_load(path.read_text()))}
    assert "DaemonSet" in kinds


@pytest.mark.parametrize("path", MANIFESTS, ids=ids)
def test_plugin_image_is_the_one_of_this_version(path: Path) -> None:
    images = re.findall(r"image: (\S+)", path.read_text())
    assert set(images) <= {
        f"localhost/amdgpu-plugin:{amdgpu_plugin.__version__}",
        "docker.io/library/debian:stable-slim",
    }


def test_shellcheck_finds_nothing_in_the_demo() -> None:
    if not (by := shutil.which("shellcheck")):
        pytest.skip("shellcheck is not installed here (Debian's package of that name)")
    found = subprocess.run([by, str(DEMO)], check=False, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")

"""The recipe of the image; that it builds and runs is shown by building it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from amdgpu_plugin.commands.inputs import AMDGPU_IDS, PCI_IDS

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SCRIPTS = sorted((ROOT / "image").glob("*.sh"))


def test_hadolint_has_no_complaint() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed here")
    ran = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_bash_and_may_be_run(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", script], check=True)


def test_base_can_be_chosen_and_serves_both_stages() -> None:
    instructions = [line for line in DOCKERFILE.splitlines() if re.match(r"ARG|FROM", line)]
    assert re.fullmatch(r"ARG BASE_IMAGE=\S+:3\.11-slim-bookworm", instructions[0])
    stages = [line for line in instructions if line.startswith("FROM")]
    assert stages == ["FROM ${BASE_IMAGE} AS build", "FROM ${BASE_IMAGE}"]


def test_wheels_are_held_to_the_lock_file() -> None:
    assert (
        "--only-binary :all: --no-deps --require-hashes --requirement /src/requirements/run.txt" in DOCKERFILE
    )


def test_last_stage_needs_no_shell_and_no_pip() -> None:
    last = DOCKERFILE.rpartition("\nFROM")[2]
    started = re.findall(r"^(?:RUN|ENTRYPOINT|CMD) (.)", last, re.MULTILINE)
    assert (started, re.findall(r"\bpip\b", last)) == (["["] * 3, [])


def test_no_heredoc_which_old_buildah_cannot_read() -> None:
    assert "<<" not in DOCKERFILE


def test_names_are_where_the_plugin_looks_for_them() -> None:
    placed = re.findall(r"cp -L (\S+) /names(\S+/)", DOCKERFILE)
    assert {source for source, _ in placed} == {AMDGPU_IDS, PCI_IDS}
    assert [source for source, folder in placed if str(Path(source).parent) + "/" != folder] == []


def test_build_context_is_what_is_copied() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(" ".join(copied).split()) == sorted(allowed)

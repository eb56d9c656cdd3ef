"""What the repository promises around its code."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import amdgpu_plugin

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$")
MARKS = re.compile(r"\b({})\b".format("|".join(mark.upper() for mark in ("todo", "fixme", "xxx"))))
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def pins(lock: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / "requirements" / f"{lock}.txt").read_text()))


def declared(requirements: list[str]) -> set[str]:
    """Names of requirements as lock files spell them."""
    return {re.split(r"[^A-Za-z0-9._-]", name)[0].lower().replace("_", "-") for name in requirements}


def test_no_python_file_has_an_unfinished_mark() -> None:
    sources = (
        path for top in ("amdgpu_plugin", "tests", "benchmarks") for path in (ROOT / top).rglob("*.py")
    )
    written = (path for path in sources if not GENERATED.search(path.name))
    assert [str(path.relative_to(ROOT)) for path in written if MARKS.search(path.read_text())] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_lock_file_has_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    blocks = re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    assert [block for block in blocks if "--hash=sha256:" not in block] == []
    assert re.findall(r"\w+://|--(?:extra-)?index-url|--find-links|-f ", text) == []


def test_lock_files_agree_and_hold_what_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    run, test, lint = pins("run"), pins("test"), pins("lint")
    assert run.items() <= test.items()
    assert {name: lint[name] for name in lint.keys() & test.keys()} == {
        name: test[name] for name in lint.keys() & test.keys()
    }
    assert declared([*project["project"]["dependencies"], *project["build-system"]["requires"]]) <= run.keys()
    assert declared([*groups["test"], *groups["generate"]]) <= test.keys()
    assert declared(groups["lint"]) <= lint.keys()


def test_lock_files_hold_all_that_their_packages_need() -> None:
    # They are installed with --no-deps: pip asked to resolve prefers a newer release to the pin of an extra.
    found = subprocess.run(
        [sys.executable, "-m", "pip", "check"], check=False, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout


def test_readme_names_the_commands_a_newcomer_types() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [command for command in ("make demo", "make test") if command not in readme] == []


def test_one_version_everywhere() -> None:
    newest = re.search(r"^## \[(\d\S*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert newest is not None
    assert newest[1] == amdgpu_plugin.__version__
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "amdgpu_plugin.__version__"}


def test_every_file_that_the_package_reads_is_installed_with_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    package = ROOT / "amdgpu_plugin"
    told = project["tool"]["setuptools"]["package-data"]["amdgpu_plugin"]
    installed = {file for pattern in told for file in package.glob(pattern)}
    kept = (
        path for path in package.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc", ".pyi"}
    )
    assert [str(path.relative_to(ROOT)) for path in kept if path not in installed] == []


def test_help_lists_every_make_target() -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    answer = subprocess.run(
        ["make", "help"], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert targets is not None
    assert re.findall(r"^  make (\S+) +\S", answer, re.MULTILINE) == targets[1].split()

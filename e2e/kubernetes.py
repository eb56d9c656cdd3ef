"""Any cluster, by its kubeconfig: what the tests ask of it and do to it."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from e2e.places import cache

Json = dict[str, Any]
T = TypeVar("T")

POLL_S = 0.2
CLIENT_HOMES = ("KUBECACHEDIR", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")


class CommandFailed(Exception):  # noqa: N818 - named for the situation
    """kubectl, helm or ctr said no; the message holds the command and what it printed on stderr."""


class TimedOut(Exception):  # noqa: N818
    """A condition did not come true in time; the message says what was seen last."""


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """A cluster and the programs to talk to it."""

    kubeconfig: Path
    kubectl_path: Path
    helm_path: Path

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = 60) -> str:
        """Its stdout; CommandFailed when it exits non-zero."""
        return run(self.kubectl_path, *arguments, stdin=stdin, timeout_s=timeout_s, env=self.environment())

    def helm(self, *arguments: str, timeout_s: float = 120) -> str:
        """Its stdout; CommandFailed when it exits non-zero."""
        return run(self.helm_path, *arguments, timeout_s=timeout_s, env=self.environment())

    def get(self, kind: str, name: str = "", *, namespace: str = "default", selector: str = "") -> Json:
        """The object, or the list (`items`) when no name is given."""
        words = [word for word in (kind, name) if word]
        if selector:
            words += ["--selector", selector]
        found: Json = json.loads(self.kubectl("get", *words, "--namespace", namespace, "--output", "json"))
        return found

    def apply(self, *objects: Json) -> None:
        everything = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl("apply", "--filename", "-", stdin=json.dumps(everything))

    def nodes(self) -> tuple[str, ...]:
        return tuple(node["metadata"]["name"] for node in self.get("nodes")["items"])

    def node_status(self, node: str) -> Json:
        """`.status` of the node: conditions, capacity, allocatable, images."""
        status: Json = self.get("node", node)["status"]
        return status

    def is_ready(self, node: str) -> bool:
        """True when the node's condition Ready is True."""
        conditions = self.node_status(node).get("conditions", ())
        return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)

    def kubelet_metrics(self, node: str) -> str:
        """The kubelet's /metrics, through the API server: the text format."""
        return self.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/metrics")

    def kubelet_pods(self, node: str) -> set[str]:
        """Names of the pods that the kubelet has taken up since its start."""
        answer = json.loads(self.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/pods"))
        return {pod["metadata"]["name"] for pod in answer["items"] or ()}

    def pod_log(self, pod: str, container: str = "", *, namespace: str = "default") -> str:
        words = ("--container", container) if container else ()
        return self.kubectl("logs", pod, "--namespace", namespace, *words)

    def environment(self) -> dict[str, str]:
        """What kubectl and helm run with; what they keep goes into the cache, not into the user's folders."""
        homes = {name: str(cache() / "clients") for name in CLIENT_HOMES}
        return {**os.environ, **homes, "KUBECONFIG": str(self.kubeconfig)}


def wait_until(what: str, look: Callable[[], T], *, within_s: float) -> T:
    """The first truthy answer of `look`, asked every 0.2 s; what raises CommandFailed is asked again."""
    deadline = time.monotonic() + within_s
    while True:
        last: object
        try:
            answer = look()
        except CommandFailed as error:
            last = error
        else:
            if answer:
                return answer
            last = answer
        if time.monotonic() > deadline:
            raise TimedOut(f"{what}: not within {within_s:g} s; seen last: {last}")
        time.sleep(POLL_S)


def run(
    program: Path,
    *arguments: str,
    stdin: str | None = None,
    timeout_s: float = 60,
    env: dict[str, str] | None = None,
) -> str:
    """The program's stdout; CommandFailed when it exits non-zero or takes longer."""
    command = [str(program), *arguments]
    shown = " ".join([program.name, *arguments])
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, timeout=timeout_s, env=env
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{shown}: no end within {timeout_s:g} s") from error
    if done.returncode:
        raise CommandFailed(f"{shown}: exit {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout

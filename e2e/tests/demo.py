"""examples/cluster-demo.sh as a process, and what it says."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from e2e.tests.examples import example
from e2e.tests.installation import Installation, api_address

NAMESPACE = "amdgpu-demo"
RELEASE = "demo"
SCRIPT = example("cluster-demo.sh")
KUBELET = "from e2e import cluster; node = cluster.attached(); node.kill_kubelet(); node.start_kubelet()"
KILL_KUBELET = f"{sys.executable} -c '{KUBELET}'"
LIMIT_S = 300


@dataclass(frozen=True, slots=True)
class Told:
    """How it ended, all it said, and how long that took."""

    status: int
    text: str
    seconds: float

    @property
    def steps(self) -> list[str]:
        """Titles."""
        return re.findall(r"^\d+\. (.*)$", self.text, re.MULTILINE)

    def step(self, start: str) -> str:
        """What is under the title that starts so."""
        parts = re.split(r"^\d+\. ", self.text, flags=re.MULTILINE)
        (found,) = (part for part in parts if part.startswith(start))
        return found


@contextmanager
def started(plugin: Installation, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """In a process group of its own, which ends with the block."""
    cluster = plugin.cluster
    words = [str(SCRIPT), "--image", str(plugin.image), "--node", plugin.node, *options]
    words += ["--", "--set-json", f"extraEnv={json.dumps(api_address(cluster))}"]
    environment = cluster.environment()
    programs = {str(cluster.kubectl_path.parent): None, str(cluster.helm_path.parent): None}
    environment["PATH"] = os.pathsep.join([*programs, environment["PATH"]])
    with subprocess.Popen(
        words,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def ended(process: "subprocess.Popen[str]") -> Told:
    """AssertionError when it does not end in five minutes."""
    began = time.monotonic()
    try:
        text, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"the demo does not end: {late.output!r}") from late
    return Told(process.returncode, text, time.monotonic() - began)


def read_until(process: "subprocess.Popen[str]", words: str) -> None:
    """AssertionError when it ends before it says so."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if words in line:
            return
    raise AssertionError("".join(said))


def nothing_is_left(plugin: Installation) -> bool:
    """No namespace, and no GPU on offer."""
    names = {each["metadata"]["name"] for each in plugin.cluster.get("namespaces")["items"]}
    return NAMESPACE not in names and not plugin.allocatable()

"""The chart as it is installed in the cluster, in a namespace of its own, on one node."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e import places
from e2e.kubernetes import Json, Kubernetes, TimedOut, wait_until
from e2e.local import LocalCluster
from e2e.places import SOURCES
from e2e.tests.plugin_image import ImageName

CHART = SOURCES.parent / "helm" / "amdgpu-plugin"
NAMESPACE = "amdgpu-plugin-e2e"
RELEASE = "amdgpu-plugin"
SELECTOR = f"app.kubernetes.io/instance={RELEASE}"
GPU = "amd.com/gpu"

Values = dict[str, Any]

HOLD_S = 3
# Looked at each second and healthy again soon, so that a test need not wait for long.
QUICK: Values = {"health": {"interval": 5, "recovery_hold": HOLD_S}, "retire_after": 5}
WHOLE: Values = {"simulate": {"shape": "mi300x"}, "config": QUICK}
PARTITIONED: Values = {"simulate": {"shape": "mi300x-cpx"}, "config": QUICK}


def api_address(cluster: Kubernetes) -> list[Json]:
    """Variables by which pods reach the API server where its Service has nothing behind it."""
    if not isinstance(cluster, LocalCluster):
        return []
    host, port = places.API.removeprefix("https://").split(":")
    return [
        {"name": "KUBERNETES_SERVICE_HOST", "value": host},
        {"name": "KUBERNETES_SERVICE_PORT", "value": port},
    ]


@dataclass(slots=True)
class Installation:
    """At most one release at a time. `values` is what the one there is now was installed with.

    `memory` is the state file on the node, None where that is not this machine.
    """

    cluster: Kubernetes
    image: ImageName
    next_image: ImageName
    node: str
    memory: Path | None = None
    values: Values | None = field(default=None)

    def make_namespace(self) -> None:
        """Empty, and with Pod Security's leave for hostPath volumes."""
        self.remove_namespace()
        labels = {"pod-security.kubernetes.io/enforce": "privileged"}
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
        )
        account = ("serviceaccount", "default")
        wait_until(
            "the default ServiceAccount",
            lambda: self.cluster.get(*account, namespace=NAMESPACE),
            within_s=30,
        )

    def remove_namespace(self) -> None:
        """With all that is in it."""
        self.cluster.kubectl(
            "delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s", timeout_s=130
        )
        self.values = None

    def ensure(self, values: Values) -> None:
        """Installed with just these values and registered; what is there already is shared."""
        if self.values == values:
            return
        self.uninstall()
        self.install(values)
        if self.has_gpus:
            wait_until("registration", lambda: "registered" in self.log(), within_s=60)

    def install(self, values: Values) -> None:
        """Returns when the API server has it. No test finds what another left in the plugin's memory."""
        if self.memory is not None:
            self.memory.unlink(missing_ok=True)
            self.memory.with_name("events.json").unlink(missing_ok=True)
        self.helm("install", RELEASE, *self.with_image(values))
        self.values = values

    def upgrade(self, values: Values) -> None:
        """To these values; waits until the DaemonSet has rolled."""
        self.helm("upgrade", RELEASE, *self.with_image(values))
        self.values = values
        self.wait_rolled()

    def rollback(self) -> None:
        """To the release before the last upgrade; waits until the DaemonSet has rolled."""
        self.helm("rollback", RELEASE)
        self.values = None
        self.wait_rolled()

    def restart(self) -> None:
        """A rollout of what is there."""
        self.cluster.kubectl("rollout", "restart", f"daemonset/{RELEASE}", "--namespace", NAMESPACE)
        self.wait_rolled()

    def replace_pod(self) -> None:
        """Delete the pod and wait until the next one is ready."""
        self.cluster.kubectl("delete", "pod", "--namespace", NAMESPACE, "--selector", SELECTOR)
        wait_until("another pod", self.is_ready, within_s=60)

    def is_ready(self) -> bool:
        """Whether there is one pod, and its readiness probe is content."""
        pods = self.pods()
        conditions = [found for pod in pods for found in pod["status"].get("conditions", ())]
        ready = [found["status"] for found in conditions if found["type"] == "Ready"]
        return len(pods) == 1 and ready == ["True"]

    def wait_rolled(self) -> None:
        words = ("rollout", "status", f"daemonset/{RELEASE}", "--namespace", NAMESPACE)
        self.cluster.kubectl(*words, "--timeout=120s", timeout_s=130)
        wait_until("one pod", lambda: len(self.pods()) == 1, within_s=60)

    def uninstall(self) -> None:
        """Nothing is left of it in the API when this returns."""
        self.helm("uninstall", RELEASE, "--ignore-not-found", "--wait")
        wait_until("the end of the plugin's pods", lambda: not self.pods(), within_s=90)
        self.values = None

    def helm(self, verb: str, *arguments: str) -> str:
        return self.cluster.helm(verb, *arguments, "--namespace", NAMESPACE)

    def pods(self) -> list[Json]:
        found: list[Json] = self.cluster.get("pods", namespace=NAMESPACE, selector=SELECTOR)["items"]
        return found

    def pod(self) -> str:
        """The name of the only one, or the newest, once it runs."""

        def running() -> str | None:
            pods = [pod for pod in self.pods() if "deletionTimestamp" not in pod["metadata"]]
            newest = max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"], default=None)
            return newest["metadata"]["name"] if newest and newest["status"]["phase"] == "Running" else None

        try:
            name = wait_until("a running plugin", running, within_s=60)
        except TimedOut as error:
            states = [pod["status"].get("containerStatuses", pod["status"]) for pod in self.pods()]
            raise TimedOut(f"no plugin runs: {states}") from error
        assert name is not None
        return name

    def log(self) -> str:
        return self.cluster.pod_log(self.pod(), namespace=NAMESPACE)

    def run(self, *command: str) -> str:
        """stdout of `amdgpu-plugin …` in the plugin's container."""
        words = ("exec", self.pod(), "--namespace", NAMESPACE, "--", "amdgpu-plugin")
        return self.cluster.kubectl(*words, *command)

    def inject(self, device: str, what: str) -> None:
        self.run("inject", device, what)

    @property
    def has_gpus(self) -> bool:
        """Whether it simulates any; the node itself is taken to have none."""
        return self.values is not None and "simulate" in self.values

    def allocatable(self, resource: str = GPU) -> int | None:
        """As the scheduler sees it; None while the node does not know the resource."""
        return self._count("allocatable", resource)

    def capacity(self, resource: str = GPU) -> int | None:
        return self._count("capacity", resource)

    def wait_allocatable(self, count: int, resource: str = GPU, *, within_s: float = 60) -> None:
        """The kubelet posts its node's status every 10 s."""

        what = f"{count} {resource} allocatable"
        try:
            wait_until(what, lambda: self.allocatable(resource) == count, within_s=within_s)
        except TimedOut as error:
            raise TimedOut(f"{what}: after {within_s:g} s it is {self.allocatable(resource)}") from error

    def _count(self, kind: str, resource: str) -> int | None:
        text = self.cluster.node_status(self.node)[kind].get(resource)
        return None if text is None else int(text)

    def with_image(self, values: Values) -> list[str]:
        """The chart for `helm install` or `helm upgrade`, with these values on the one node."""
        chosen = {
            "image": self.image.values(),
            "nodeSelector": {"kubernetes.io/hostname": self.hostname()},
            **values,
        }
        settings = [word for key in chosen for word in ("--set-json", f"{key}={json.dumps(chosen[key])}")]
        return [str(CHART), *settings]

    def hostname(self) -> str:
        name: str = self.cluster.get("node", self.node)["metadata"]["labels"]["kubernetes.io/hostname"]
        return name

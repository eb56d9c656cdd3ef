"""Pods that ask for GPUs and tell what they were given. They run the plugin's own image: it is there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from e2e.kubernetes import CommandFailed, Json, wait_until
from e2e.tests.installation import GPU, NAMESPACE, Installation

LABEL = "amdgpu-plugin-e2e=workload"
NO_LIMITS: Mapping[str, str] = {}
# The CPUs it may use, and device nodes as /dev/path → major:minor. Then until SIGTERM.
REPORT = """
import json, os, signal, stat
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
devices = {}
for folder, _, names in os.walk("/dev"):
    for path in (os.path.join(folder, name) for name in names):
        found = os.lstat(path)
        if not folder.startswith("/dev/pts") and (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
            devices[path] = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
print(json.dumps({"environment": dict(os.environ), "devices": devices, "cpus": sorted(os.sched_getaffinity(0))}), flush=True)
signal.sigwait({signal.SIGTERM})
"""


# By pod: phase, and each container's id, restarts and start. Equal means: nobody was disturbed.
Lives = dict[str, list[tuple[object, ...]]]


@dataclass(frozen=True, slots=True)
class Report:
    """What one container found in itself."""

    environment: Mapping[str, str]
    devices: Mapping[str, str]
    cpus: Sequence[int]

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the devices it was given."""
        return tuple(self.environment["AMDGPU_DEVICES"].split(","))

    @property
    def variables(self) -> dict[str, str]:
        """Those of ours."""
        return {name: value for name, value in self.environment.items() if name.startswith("AMDGPU_")}


@dataclass(frozen=True, slots=True)
class Workload:
    """Pods of the tests, all with one label."""

    installation: Installation

    def create(
        self, name: str, *gpus: int, resource: str = GPU, limits: Mapping[str, str] = NO_LIMITS
    ) -> None:
        """A pod with a container for each number: c0, c1 … `limits` are further ones of each."""
        self.installation.cluster.apply(self._pod(name, gpus, resource, limits))

    def start(
        self, name: str, *gpus: int, resource: str = GPU, limits: Mapping[str, str] = NO_LIMITS
    ) -> tuple[Report, ...]:
        """Create it and wait until each of its containers has told what it was given."""
        self.create(name, *gpus, resource=resource, limits=limits)
        return self.reports(name, containers=len(gpus))

    def reports(self, name: str, *, containers: int = 1) -> tuple[Report, ...]:
        return tuple(self._report(name, f"c{number}") for number in range(containers))

    def wait_pending(self, name: str) -> None:
        """Until the scheduler has said that no node has room for it."""

        def unschedulable() -> bool:
            conditions = self.status(name).get("conditions", ())
            return any(found.get("reason") == "Unschedulable" for found in conditions)

        wait_until(f"{name} unschedulable", unschedulable, within_s=30)
        assert self.status(name)["phase"] == "Pending"

    def delete(self, *names: str) -> None:
        """And wait until they are gone from the API, that is, ended on the node."""
        self._kubectl("delete", "pod", *names, "--timeout=60s")

    def delete_all(self) -> None:
        self._kubectl("delete", "pod", "--selector", LABEL, "--ignore-not-found", "--timeout=60s")

    def status(self, name: str) -> Json:
        status: Json = self.installation.cluster.get("pod", name, namespace=NAMESPACE)["status"]
        return status

    def lives(self) -> Lives:
        pods = self.installation.cluster.get("pods", namespace=NAMESPACE, selector=LABEL)["items"]
        return {
            pod["metadata"]["name"]: [
                (
                    pod["status"]["phase"],
                    found["containerID"],
                    found["restartCount"],
                    found["state"].get("running", {}).get("startedAt"),
                )
                for found in pod["status"].get("containerStatuses", ())
            ]
            for pod in pods
        }

    def charged(self, name: str) -> dict[str, str]:
        """Device ID → Healthy, Unhealthy or Unknown, as the kubelet says of the pod's containers."""
        return {
            device["resourceID"]: device.get("health", "Unknown")
            for container in self.status(name).get("containerStatuses", ())
            for resource in container.get("allocatedResourcesStatus", ())
            for device in resource["resources"]
        }

    def _report(self, name: str, container: str) -> Report:
        line = wait_until(f"a word of {name} {container}", lambda: self._said(name, container), within_s=60)
        return Report(**json.loads(line))

    def _said(self, name: str, container: str) -> str:
        """AssertionError where the pod failed: the kubelet does not try again."""
        try:
            return self.installation.cluster.pod_log(name, container, namespace=NAMESPACE)
        except CommandFailed:
            status = self.status(name)
            assert status["phase"] != "Failed", f"{name}: {status.get('reason')}: {status.get('message')}"
            raise

    def _pod(self, name: str, gpus: tuple[int, ...], resource: str, limits: Mapping[str, str]) -> Json:
        key, _, value = LABEL.partition("=")
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {key: value}},
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": self.installation.hostname()},
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 5,
                "automountServiceAccountToken": False,
                "containers": [
                    self._container(number, {**limits, **({resource: str(count)} if count else {})})
                    for number, count in enumerate(gpus)
                ],
            },
        }

    def _container(self, number: int, limits: Mapping[str, str]) -> Json:
        return {
            "name": f"c{number}",
            "image": str(self.installation.image),
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "-c", REPORT],
            "resources": {"limits": limits},
        }

    def _kubectl(self, *arguments: str) -> None:
        self.installation.cluster.kubectl(*arguments, "--namespace", NAMESPACE, timeout_s=90)

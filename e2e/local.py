"""The cluster on this machine: its processes, and what can be done to its node."""

import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e import places, settings
from e2e.kubernetes import Kubernetes, run
from e2e.places import NODE, STATE
from e2e.processes import Process
from e2e.toolbox import Toolbox

ETCD = Process("etcd")
CONTAINERD = Process("containerd")
APISERVER = Process("kube-apiserver")
CONTROLLER_MANAGER = Process("kube-controller-manager")
SCHEDULER = Process("kube-scheduler")
KUBELET = Process("kubelet")
# In the order they are stopped.
PROCESSES = (KUBELET, SCHEDULER, CONTROLLER_MANAGER, APISERVER, CONTAINERD, ETCD)

MADE = STATE / "made.json"


@dataclass(frozen=True, slots=True)
class LocalCluster(Kubernetes):
    """The cluster that `up` makes: as any other, and its node can be laid hands on."""

    box: Toolbox

    @property
    def node(self) -> str:
        return NODE

    def load(self, image_tar: Path) -> tuple[str, ...]:
        """Import a docker-archive or OCI archive; the names it now has on the node."""
        said = self.ctr(
            "images", "import", "--snapshotter", made()["snapshotter"], str(image_tar), timeout_s=600
        )
        return tuple(line.split()[1] for line in said.splitlines() if line.startswith("unpacking "))

    def kill_kubelet(self) -> None:
        """SIGKILL, as a crash would; the pods stay."""
        KUBELET.kill()

    def start_kubelet(
        self, *, configuration: Path = settings.KUBELET_CONFIGURATION, under: Sequence[str] = ()
    ) -> None:
        """`under` is a command that becomes the one it is given."""
        KUBELET.start([*under, self.box.go("kubelet"), *settings.kubelet(configuration)])

    def kubelet_log(self) -> Path:
        return KUBELET.log

    def pod_log_file(self, pod: str, container: str, *, namespace: str = "default") -> Path:
        """The file the container runtime writes for the container's latest run (CRI lines)."""
        files = sorted(places.pod_logs().glob(f"{namespace}_{pod}_*/{container}/*.log"))
        if not files:
            raise FileNotFoundError(f"no log of {namespace}/{pod} {container} in {places.pod_logs()}")
        return max(files, key=lambda file: file.stat().st_mtime)

    def ctr(self, *arguments: str, timeout_s: float = 60) -> str:
        address = ("--address", str(places.containerd_socket()), "--namespace", "k8s.io")
        return run(self.box.ctr, *address, *arguments, timeout_s=timeout_s)


def made() -> dict[str, str]:
    """Of what the cluster that is up was made: `built`, the folder of its programs, and `snapshotter`."""
    answer: dict[str, str] = json.loads(MADE.read_text())
    return answer


def answers(address: str, path: str) -> bool:
    """True when an HTTP GET of `path` at `host:port` gives 200 within 2 s."""
    connection = http.client.HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

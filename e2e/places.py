"""Where the cluster lives on this machine, and the addresses it takes."""

import os
from pathlib import Path

SOURCES = Path(__file__).parent

# One cluster per machine: the kubelet's device-plugin directory is wired in, so a second could not work.
STATE = Path("/var/lib/amdgpu-plugin-e2e")
KUBELET = Path("/var/lib/kubelet")

NODE = "e2e"
BRIDGE = "e2e-bridge"
NETWORK = "amdgpu-plugin-e2e"
PODS = "10.83.0.0/24"
# The bridge's own address: the node's, and all that the kubelet and the API server listen on.
ADDRESS = "10.83.0.1"
SERVICES = "10.84.0.0/24"
KUBERNETES_SERVICE = "10.84.0.1"
ETCD = "http://127.83.0.1:2379"
ETCD_PEER = "http://127.83.0.1:2380"
API = f"https://{ADDRESS}:6443"

PAUSE_IMAGE = "e2e.local/pause:1"
PODTOOL_IMAGE = "e2e.local/podtool:1"


def cache() -> Path:
    """What is kept between runs: $AMDGPU_E2E_CACHE, else amdgpu-plugin-e2e in the user's cache folder."""
    named = os.environ.get("AMDGPU_E2E_CACHE")
    if named:
        return Path(named).absolute()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home).absolute() / "amdgpu-plugin-e2e"


def credentials() -> Path:
    return STATE / "credentials"


def logs() -> Path:
    return STATE / "logs"


def pod_logs() -> Path:
    return STATE / "pod-logs"


def kubeconfig() -> Path:
    return STATE / "kubeconfig"


def containerd_socket() -> Path:
    return STATE / "run" / "containerd" / "containerd.sock"

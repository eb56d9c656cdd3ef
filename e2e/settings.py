"""What each part of the cluster is told: its command line or its file of settings. Pure."""

import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e import places
from e2e.places import ADDRESS, API, STATE

Json = dict[str, Any]

KUBELET_CONFIGURATION = STATE / "kubelet.json"


@dataclass(frozen=True, slots=True)
class Node:
    """How this machine differs from an ordinary node: see machine.py."""

    snapshotter: str
    unified_cgroups: bool
    may_raise_limits: bool


def etcd() -> list[str]:
    return [
        f"--data-dir={STATE / 'etcd'}",
        f"--listen-client-urls={places.ETCD}",
        f"--advertise-client-urls={places.ETCD}",
        f"--listen-peer-urls={places.ETCD_PEER}",
        f"--initial-advertise-peer-urls={places.ETCD_PEER}",
        f"--initial-cluster=default={places.ETCD_PEER}",
        # a cluster of an hour need not outlive a power cut
        "--unsafe-no-fsync",
    ]


def apiserver() -> list[str]:
    keys = places.credentials()
    return [
        f"--etcd-servers={places.ETCD}",
        f"--bind-address={ADDRESS}",
        f"--advertise-address={ADDRESS}",
        "--secure-port=6443",
        f"--service-cluster-ip-range={places.SERVICES}",
        f"--cert-dir={STATE / 'run'}",
        f"--client-ca-file={keys / 'authority.crt'}",
        f"--tls-cert-file={keys / 'apiserver.crt'}",
        f"--tls-private-key-file={keys / 'apiserver.key'}",
        f"--kubelet-certificate-authority={keys / 'authority.crt'}",
        f"--kubelet-client-certificate={keys / 'admin.crt'}",
        f"--kubelet-client-key={keys / 'admin.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={keys / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={keys / 'service-accounts.key'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
    ]


def controller_manager() -> list[str]:
    keys = places.credentials()
    return [
        f"--kubeconfig={kubeconfig_of('controller-manager')}",
        f"--root-ca-file={keys / 'authority.crt'}",
        f"--service-account-private-key-file={keys / 'service-accounts.key'}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--secure-port=0",
    ]


def scheduler() -> list[str]:
    return [f"--kubeconfig={kubeconfig_of('scheduler')}", "--leader-elect=false", "--secure-port=0"]


def kubelet(configuration: Path = KUBELET_CONFIGURATION) -> list[str]:
    return [
        f"--config={configuration}",
        f"--kubeconfig={kubeconfig_of('kubelet')}",
        f"--root-dir={places.KUBELET}",
        f"--hostname-override={places.NODE}",
        f"--node-ip={ADDRESS}",
        "--v=2",
    ]


def containerd() -> list[str]:
    return [f"--config={STATE / 'containerd.toml'}"]


def kubeconfig_of(user: str) -> Path:
    """The admin's is the one for people; the others lie beside the keys."""
    return places.kubeconfig() if user == "admin" else places.credentials() / f"{user}.kubeconfig"


def kubeconfig(user: str, folder: Path) -> str:
    """Everything in one file, as JSON (which is YAML): the certificates of `user` in `folder` are read."""

    def data(name: str) -> str:
        return b64encode((folder / name).read_bytes()).decode()

    cluster = {"server": API, "certificate-authority-data": data("authority.crt")}
    keys = {"client-certificate-data": data(f"{user}.crt"), "client-key-data": data(f"{user}.key")}
    return _pretty(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": cluster}],
            "users": [{"name": user, "user": keys}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": user}}],
            "current-context": "e2e",
        }
    )


def kubelet_configuration(node: Node) -> str:
    """Kubernetes' defaults, but for what a small container-like machine forces."""
    keys = places.credentials()
    settings: Json = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "healthzBindAddress": ADDRESS,
        "tlsCertFile": str(keys / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(keys / "kubelet-server.key"),
        "authentication": {
            "x509": {"clientCAFile": str(keys / "authority.crt")},
            "webhook": {"enabled": True},
            "anonymous": {"enabled": False},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{places.containerd_socket()}",
        # there is none: a pod's look-ups are refused at once instead of timing out
        "clusterDNS": ["127.0.0.1"],
        "cgroupDriver": "cgroupfs",
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "podLogsDir": str(places.pod_logs()),
        "volumePluginDir": str(STATE / "volume-plugins"),
        # a crowded disk must not evict the pods under test, nor remove images that no registry gives back
        "evictionHard": {"memory.available": "64Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
    }
    if not node.unified_cgroups:
        settings["failCgroupV1"] = False
    if not node.may_raise_limits:
        settings["oomScoreAdj"] = 0
    return _pretty(settings)


def containerd_configuration(node: Node, *, debian: Path) -> str:
    """TOML for containerd 1.6 (`version = 2`). `debian` is where Debian's packages were laid out."""
    run = places.containerd_socket().parent
    return f"""version = 2
root = "{STATE / "containerd"}"
state = "{run}"

[grpc]
address = "{places.containerd_socket()}"

[plugins."io.containerd.internal.v1.opt"]
path = "{STATE / "opt"}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{places.PAUSE_IMAGE}"
netns_mounts_under_state_dir = true
# without CAP_SYS_RESOURCE runc cannot lower an OOM score
restrict_oom_score_adj = {json.dumps(not node.may_raise_limits)}

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{debian / "usr/lib/cni"}"
conf_dir = "{STATE / "cni"}"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{node.snapshotter}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{debian / "usr/sbin/runc"}"
Root = "{run / "runc"}"
"""


def network() -> str:
    """The CNI configuration: pods on one bridge, reached from the node and from one another only."""
    bridge: Json = {
        "type": "bridge",
        "bridge": places.BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "dataDir": str(STATE / "addresses"),
            "ranges": [[{"subnet": places.PODS, "gateway": ADDRESS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return _pretty({"cniVersion": "0.4.0", "name": places.NETWORK, "plugins": [bridge, {"type": "loopback"}]})


def _pretty(value: Json) -> str:
    return json.dumps(value, indent=1) + "\n"

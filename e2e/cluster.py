"""A one-node cluster on this machine: `python -m e2e.cluster build|up|down|status|load IMAGE.tar`.

`up` and `down` may be called in any state, any number of times; a failed `up` takes away what it began.
All state is in places.STATE; the cluster outlives the process that made it.
"""

import argparse
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from e2e import credentials, images, leftovers, machine, places, settings, toolbox
from e2e.kubernetes import CommandFailed, Kubernetes, TimedOut, wait_until
from e2e.local import (
    APISERVER,
    CONTAINERD,
    CONTROLLER_MANAGER,
    ETCD,
    KUBELET,
    MADE,
    PROCESSES,
    SCHEDULER,
    LocalCluster,
    answers,
    made,
)
from e2e.machine import ClusterUnavailable
from e2e.places import NODE, STATE
from e2e.processes import Process
from e2e.toolbox import Toolbox

VERBS = {
    "build": "make the programs, and nothing else",
    "up": "make the cluster, or find it there",
    "down": "remove it and all its traces, the cache excepted",
    "status": "what there is, as JSON",
    "load": "import an image archive into the node",
}

Json = settings.Json


class PhaseFailed(ClusterUnavailable):
    """A phase of `up` failed; the message names it and shows the end of the log that matters."""


class Busy(ClusterUnavailable):
    """Another `up` or `down` is at work on this machine."""


def up() -> LocalCluster:
    """A cluster with a Ready node: the one that runs, else a new one. ClusterUnavailable says why not."""
    with _alone():
        standing = attached()
        if standing and _is_well(standing):
            return standing
        _remove()
        machine.require()
        with _phase("programs"):
            box = toolbox.provide(say)
        try:
            return _start(box)
        except BaseException as error:
            say(f"failed: {type(error).__name__}; removing what was begun")
            _remove()
            raise


def build() -> Toolbox:
    """The programs alone, so that the long part can be had beforehand."""
    with _alone(), _phase("programs"):
        return toolbox.provide(say)


def down() -> list[str]:
    """Remove the cluster; what is left of it, in words (nothing, when all is well)."""
    with _alone():
        return leftovers.found() if _remove() else []


def attached() -> LocalCluster | None:
    """The cluster that is up on this machine; None when a part does not run, or is not this checkout's."""
    box = toolbox.describe()
    if any(process.pid() is None for process in PROCESSES) or made()["built"] != str(box.built):
        return None
    return _cluster(box)


def given(kubeconfig: Path) -> Kubernetes:
    """Somebody else's cluster; kubectl and helm are built when they are not in the cache."""
    box = toolbox.clients(say)
    return Kubernetes(kubeconfig, box.go("kubectl"), box.go("helm"))


def status() -> Json:
    """Versions, where the kubeconfig is, what runs, and whether the node is Ready."""
    cluster = attached()
    ready = cluster is not None and _is_well(cluster)
    info = cluster.node_status(NODE)["nodeInfo"] if cluster and ready else {}
    return _described(toolbox.describe(), ready=ready, runtime=info.get("containerRuntimeVersion"))


def say(line: str) -> None:
    print(f"cluster: {line}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, text in VERBS.items():
        verbs.add_parser(verb, help=text)
    verbs.choices["load"].add_argument("image_tar", type=Path)
    wanted = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    try:
        return _do(wanted)
    except (ClusterUnavailable, CommandFailed) as error:
        say(f"{error}")
        return 1


def _do(wanted: argparse.Namespace) -> int:
    match wanted.verb:
        case "build":
            build()
        case "up":
            cluster = up()
            print(f"export KUBECONFIG={cluster.kubeconfig}  # kubectl: {cluster.kubectl_path}")
        case "down":
            left = down()
            for line in left:
                say(f"still there: {line}")
            return 1 if left else 0
        case "status":
            print(json.dumps(status(), indent=2))
        case "load":
            cluster_or_none = attached()
            if cluster_or_none is None:
                raise ClusterUnavailable("no cluster is up")
            print("\n".join(cluster_or_none.load(wanted.image_tar)))
    return 0


def _exit_on_signal(number: int, frame: object) -> NoReturn:
    del frame
    sys.exit(128 + number)


def _start(box: Toolbox) -> LocalCluster:
    cluster = _cluster(box)
    with _phase("settings and certificates"):
        _write(box)
    with _phase("etcd and containerd"):
        ETCD.start([box.etcd, *settings.etcd()])
        CONTAINERD.start([box.containerd, *settings.containerd()], path=str(box.containerd.parent))
        _until(ETCD, lambda: answers(places.ETCD.removeprefix("http://"), "/health"))
        _until(CONTAINERD, lambda: bool(cluster.ctr("version")))
    with _phase("API server"):
        APISERVER.start([box.go("kube-apiserver"), *settings.apiserver()])
        for image, verb in ((places.PAUSE_IMAGE, "pause"), (places.PODTOOL_IMAGE, "report")):
            archive = STATE / f"{verb}.tar"
            images.write(archive, name=image, binary=box.go("podtool"), command=(verb,))
            cluster.load(archive)
            archive.unlink()
        _until(APISERVER, lambda: cluster.kubectl("get", "--raw", "/readyz") == "ok")
    with _phase("node"):
        CONTROLLER_MANAGER.start([box.go("kube-controller-manager"), *settings.controller_manager()])
        SCHEDULER.start([box.go("kube-scheduler"), *settings.scheduler()])
        cluster.start_kubelet()
        _until(KUBELET, lambda: cluster.is_ready(NODE))
        _until(CONTROLLER_MANAGER, lambda: bool(cluster.get("serviceaccount", "default")))
    return cluster


def _write(box: Toolbox) -> None:
    """All that is read by what is started next, and the bridge whose address they listen on."""
    for folder in (STATE, STATE / "run", STATE / "cni", places.logs()):
        folder.mkdir(parents=True, mode=0o700)
    leftovers.remember()
    node = settings.Node(
        snapshotter=machine.snapshotter(),
        unified_cgroups=machine.unified_cgroups(),
        may_raise_limits=machine.capable(machine.CAP_SYS_RESOURCE),
    )
    keys = places.credentials()
    credentials.make(keys)
    for user in ("admin", "controller-manager", "scheduler", "kubelet"):
        settings.kubeconfig_of(user).write_text(settings.kubeconfig(user, keys))
    settings.KUBELET_CONFIGURATION.write_text(settings.kubelet_configuration(node))
    (STATE / "containerd.toml").write_text(settings.containerd_configuration(node, debian=box.debian))
    MADE.write_text(json.dumps({"built": str(box.built), "snapshotter": node.snapshotter}))
    (STATE / "cni" / "e2e.conflist").write_text(settings.network())
    machine.make_bridge()


def _remove() -> bool:
    """False when there was nothing to remove: what then looks like a cluster's is somebody else's."""
    if not STATE.exists():
        return False
    for process in PROCESSES:
        process.kill()
    leftovers.remove()
    return True


def _until(process: Process, look: Callable[[], bool], *, within_s: float = 90) -> None:
    """As wait_until, but its end ends the wait; PhaseFailed with the tail of its log."""

    def alive_and_well() -> bool:
        if process.pid() is None:
            raise PhaseFailed(f"{process.name} ended\n{process.tail()}")
        return look()

    try:
        wait_until(process.name, alive_and_well, within_s=within_s)
    except TimedOut as error:
        raise PhaseFailed(f"{error}\n{process.tail()}") from error


def _cluster(box: Toolbox) -> LocalCluster:
    return LocalCluster(places.kubeconfig(), box.go("kubectl"), box.go("helm"), box)


def _is_well(cluster: LocalCluster) -> bool:
    try:
        return cluster.is_ready(NODE)
    except CommandFailed:
        return False


def _described(box: Toolbox, *, ready: bool, runtime: str | None) -> Json:
    return {
        "kubeconfig": str(places.kubeconfig()) if places.kubeconfig().exists() else None,
        "node": NODE,
        "ready": ready,
        "kubernetes": box.kubernetes,
        "helm": box.helm,
        "runtime": runtime,
        "kubectl": str(box.go("kubectl")),
        "processes": {process.name: process.pid() for process in PROCESSES},
        "cache": str(places.cache()),
        "logs": str(places.logs()),
    }


@contextlib.contextmanager
def _phase(name: str) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    except (ClusterUnavailable, CommandFailed, OSError, subprocess.SubprocessError) as error:
        raise PhaseFailed(f"{name}: {error}") from error
    say(f"{time.monotonic() - started:7.1f} s  {name}")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Held while the cluster is made or removed. An abstract socket ends with its process: no stale file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lock:
        try:
            lock.bind(f"\0{STATE.name}")
        except OSError as error:
            raise Busy("another up or down is at work on this machine") from error
        yield


if __name__ == "__main__":
    sys.exit(main())

"""What this machine can and cannot do for a cluster: asked before anything is started."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from e2e.places import ADDRESS, BRIDGE, KUBELET, PODS, STATE

CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_RESOURCE = 12, 21, 24
CGROUP_V1 = ("cpu", "cpuacct", "cpuset", "memory", "devices", "pids")
CGROUP_V2 = ("cpu", "cpuset", "memory", "pids")
CGROUPS = Path("/sys/fs/cgroup")
GIB = 1024**3


class ClusterUnavailable(Exception):  # noqa: N818 - a fact about the machine, not an error of the tests
    """No cluster can be had here; the message says why. Tests turn it into a visible skip."""


def require() -> None:
    """Raise ClusterUnavailable with the first thing that a cluster needs and this machine lacks."""
    if os.geteuid() != 0:
        raise ClusterUnavailable("a cluster needs root (containers, mounts, a bridge)")
    for name, bit in (("CAP_NET_ADMIN", CAP_NET_ADMIN), ("CAP_SYS_ADMIN", CAP_SYS_ADMIN)):
        if not capable(bit):
            raise ClusterUnavailable(f"{name} is missing")
    if not Path("/dev/kmsg").exists():
        raise ClusterUnavailable("/dev/kmsg is missing: the kubelet does not start without it")
    _require_no_node()
    _require_cgroups()
    _require_links()
    require_space(STATE, gib=3)


def tools(*names: str) -> None:
    """Install what is not on PATH, by Debian's package of that name; `command=package` when they differ."""
    pairs = [name.partition("=") for name in names]
    missing = [package or command for command, _, package in pairs if not shutil.which(command)]
    if missing:
        apt_get("install", "--yes", "--no-install-recommends", *missing)


def apt_get(*arguments: str, cwd: Path | None = None) -> None:
    """`apt-get`, its lists brought up to date first; ClusterUnavailable when that cannot be."""
    if not shutil.which("apt-get"):
        raise ClusterUnavailable("no apt-get: etcd, containerd, runc and the CNI plugins come from Debian")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    for command in (("update",), arguments):
        done = subprocess.run(
            ["apt-get", "-qq", *command],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        if done.returncode:
            raise ClusterUnavailable(f"apt-get {' '.join(command)}: {done.stderr.strip()[-500:]}")


def capable(bit: int) -> bool:
    """True when this process has that capability in its effective set."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> bit & 1)
    return False


def unified_cgroups() -> bool:
    """True for cgroup v2 alone; False for v1, the hybrid layout included."""
    return (CGROUPS / "cgroup.controllers").exists()


def snapshotter() -> str:
    """For containerd: overlayfs where it mounts in the state folder, else plain copies."""
    with tempfile.TemporaryDirectory(dir=STATE) as folder:
        for part in ("lower", "upper", "work", "merged"):
            Path(folder, part).mkdir()
        layers = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        if _runs("mount", "-t", "overlay", "overlay", "-o", layers, f"{folder}/merged"):
            _runs("umount", f"{folder}/merged")
            return "overlayfs"
    return "native"


def _require_no_node() -> None:
    """A kubelet of somebody else's would share the device-plugin folder and the cgroups with ours."""
    roots = (CGROUPS, *(CGROUPS / name for name in CGROUP_V1))
    taken = [KUBELET] if KUBELET.is_dir() and any(KUBELET.iterdir()) else []
    taken += [root / "kubepods" for root in roots if (root / "kubepods").exists()]
    if taken:
        raise ClusterUnavailable(f"{taken[0]} is there: this machine seems to be a node already")


def _require_cgroups() -> None:
    if unified_cgroups():
        enabled = (CGROUPS / "cgroup.controllers").read_text().split()
        missing = [name for name in CGROUP_V2 if name not in enabled]
        folders = [CGROUPS]
    else:
        missing = [name for name in CGROUP_V1 if not (CGROUPS / name / "cgroup.procs").exists()]
        folders = [CGROUPS / name for name in CGROUP_V1]
    if missing:
        raise ClusterUnavailable(f"cgroup controllers are missing: {', '.join(missing)}")
    for folder in folders:
        trial = folder / f"{STATE.name}-trial"
        try:
            trial.mkdir()
            trial.rmdir()
        except OSError as error:
            raise ClusterUnavailable(f"cannot make a cgroup: {error}") from error


def _require_links() -> None:
    tools("ip=iproute2")
    for kind, more in (("bridge", ()), ("veth", ("peer", "name", "e2e-trial-b"))):
        if not _runs("ip", "link", "add", "e2e-trial", "type", kind, *more):
            raise ClusterUnavailable(f"the kernel makes no {kind} link")
        _runs("ip", "link", "del", "e2e-trial")


def require_space(folder: Path, *, gib: int) -> None:
    """ClusterUnavailable when less than that is free where `folder` is, or will be."""
    free = shutil.disk_usage(_existing(folder)).free
    if free < gib * GIB:
        raise ClusterUnavailable(f"{free / GIB:.1f} GiB free for {folder}; {gib} are needed")


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _runs(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


def make_bridge() -> None:
    """The bridge of the pods, made before any pod: the API server and the kubelet listen on its address."""
    for command in (
        ("link", "add", BRIDGE, "type", "bridge"),
        ("addr", "add", f"{ADDRESS}/{PODS.partition('/')[2]}", "dev", BRIDGE),
        ("link", "set", BRIDGE, "up"),
    ):
        if not _runs("ip", *command):
            raise ClusterUnavailable(f"ip {' '.join(command)} failed")

"""What a cluster leaves on a machine, and its removal. Works also when every part of it is dead."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e2e.machine import CGROUPS
from e2e.places import BRIDGE, KUBELET, STATE, containerd_socket, pod_logs

BEFORE = STATE / "before.json"

# Wired into kubelet, containerd or libcni: emptied of what is ours, removed when not there before.
FIXED = (
    KUBELET,
    Path("/var/log/containers"),
    Path("/var/lib/cni/results"),
    Path("/var/lib/cni"),
    Path("/run/containerd/s"),
    Path("/run/containerd"),
)

# The kubelet sets the first six (pkg/kubelet/cm), the CNI bridge plugin the last.
SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
)


def remember() -> None:
    """Write down what this machine was like, for `remove`."""
    before = {
        "absent": [str(path) for path in FIXED if not path.exists()],
        "sysctls": {name: text for name in SYSCTLS if (text := _sysctl(name)) is not None},
    }
    BEFORE.write_text(json.dumps(before))


def remove() -> None:
    """Everything but the cluster's own processes, which are stopped before. Raises when a mount stays."""
    if BEFORE.exists():  # else nothing was started
        _remove_traces()
        _restore(json.loads(BEFORE.read_text()))
    unmount(STATE)
    shutil.rmtree(STATE)


def _remove_traces() -> None:
    _kill_containers()
    _unlink_sockets()
    _delete_names()
    unmount(STATE)
    unmount(KUBELET)  # the kubelet mounts it on itself
    _empty(KUBELET)  # as it was before: machine.require() has looked
    _delete_links()
    _delete_cgroups()


def _restore(before: dict[str, Any]) -> None:
    for path in before["absent"]:
        with contextlib.suppress(OSError):  # somebody else's things came in meanwhile
            Path(path).rmdir()
    for name, text in before["sysctls"].items():
        if _sysctl(name) != text:
            Path("/proc/sys", name).write_text(text)


def found() -> list[str]:
    """What is left of a cluster, in words; empty after a `remove`."""
    left = [f"process {pid}" for pid in sorted(_container_pids())]
    left += [f"mount {point}" for point in _mounts(STATE)]
    left += [f"folder {STATE}"] if STATE.exists() else []
    left += [f"link {BRIDGE}"] if _link_exists() else []
    left += [f"cgroup {path}" for path in _cgroups() if path.exists()]
    return left


def unmount(root: Path) -> None:
    """Everything mounted at or beneath `root`, innermost first."""
    for point in reversed(_mounts(root)):
        subprocess.run(["umount", "--lazy", point], capture_output=True, check=False, timeout=30)
    stay = _mounts(root)
    if stay:
        raise RuntimeError(f"cannot unmount {', '.join(stay)}")


def _kill_containers() -> None:
    deadline = time.monotonic() + 20
    while pids := _container_pids():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes do not end: {sorted(pids)}")
        time.sleep(0.05)


def _container_pids() -> set[int]:
    """What runs in the kubelet's cgroups, and the shims: those whose command line names our containerd."""
    pids = set()
    for root in _cgroups():
        for file in root.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                pids |= {int(word) for word in file.read_text().split()}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"shim" in words[0] and str(containerd_socket()).encode() in words:
                pids.add(int(folder.name))
    return {pid for pid in pids if not _ended(pid)}


def _ended(pid: int) -> bool:
    """Zombies have ended too: their parent may be slow to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def _cgroups() -> Iterator[Path]:
    """The kubelet's cgroup in each hierarchy (cgroup v1), or the one of all (v2)."""
    yield CGROUPS / "kubepods"
    yield from (folder / "kubepods" for folder in sorted(CGROUPS.iterdir()) if folder.is_dir())


def _delete_cgroups() -> None:
    for root in _cgroups():
        if not root.is_dir():
            continue
        inner = sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True)
        for path in (*inner, root):
            _rmdir(path)


def _rmdir(path: Path) -> None:
    """A cgroup stays busy for a moment after its last process."""
    deadline = time.monotonic() + 10
    while path.exists():
        try:
            path.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _unlink_sockets() -> None:
    """Shims listen in /run/containerd/s, whatever containerd's own folders are; their bundles say where."""
    for file in containerd_socket().parent.glob("io.containerd.runtime.v2.task/*/*/address"):
        Path(file.read_text().removeprefix("unix://")).unlink(missing_ok=True)


def _delete_names() -> None:
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and os.readlink(link).startswith(str(pod_logs())):
            link.unlink()
    sandboxes = containerd_socket().parent.glob("io.containerd.grpc.v1.cri/sandboxes/*")
    for sandbox in sandboxes:  # the pods' network, and the one libcni calls cni-loopback
        for result in Path("/var/lib/cni/results").glob(f"*-{sandbox.name}-*"):
            result.unlink()


def _empty(folder: Path) -> None:
    for path in folder.iterdir() if folder.exists() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _delete_links() -> None:
    if _link_exists():
        for veth in Path("/sys/class/net", BRIDGE, "brif").iterdir():
            _ip("link", "del", veth.name)
        _ip("link", "del", BRIDGE)


def _link_exists() -> bool:
    return Path("/sys/class/net", BRIDGE).exists()


def _ip(*arguments: str) -> None:
    # a veth whose other end's namespace is just ending may go by itself in between
    subprocess.run(["ip", *arguments], capture_output=True, check=False, timeout=30)


def _mounts(root: Path) -> list[str]:
    """Mount points at or beneath `root`, in the order they were made."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return [point for point in points if Path(point).is_relative_to(root)]


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text()
    except OSError:
        return None

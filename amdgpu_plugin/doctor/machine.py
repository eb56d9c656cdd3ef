"""A look at the machine around the GPUs: /proc, /dev, module settings, the kubelet's directories. Blocks.

Nothing is written, no GPU's file is read, and what cannot be seen is None.
"""

import contextlib
import os
import socket
import stat
from collections.abc import Iterable, Iterator

from amdgpu_plugin.doctor.blacklists import aliases_of_driver, blacklisting_lines, blacklisting_words
from amdgpu_plugin.doctor.looked import DeviceNode, Directory, Machine, Socket, SocketState

KUBELET_SOCKET = "kubelet.sock"
CONNECT_SECONDS = 2.0
_FILE_LIMIT_BYTES = 16 * 1024 * 1024
_MODPROBE_FOLDERS = ("etc", "run", "usr/local/lib", "usr/lib", "lib")


def look_at_machine(
    root: str,
    *,
    device_plugins_dir: str,
    pod_resources_dir: str,
    state_dir: str,
    dev_root: str | None,
    resources: Iterable[str],
    render_nodes: Iterable[str],
    kfd: bool,
) -> Machine:
    """`root` is where /proc, /etc and /lib are. `resources` are those that another plugin may serve as well.

    `render_nodes` are the names that should be below `dri`; `kfd`: there should be a `/dev/kfd`.
    """
    kernel = _line(root, "proc/sys/kernel/osrelease")
    aliases = None if kernel is None else _text(root, f"lib/modules/{kernel}/modules.alias")
    wanted = (*(("kfd",) if kfd else ()), *(f"dri/{name}" for name in sorted(set(render_nodes))))
    return Machine(
        uid=os.geteuid(),
        device_plugins=_directory(device_plugins_dir),
        state=_directory(state_dir),
        kubelet=_socket(os.path.join(device_plugins_dir, KUBELET_SOCKET)),
        pod_resources=_socket(os.path.join(pod_resources_dir, KUBELET_SOCKET)),
        neighbours=tuple(
            _socket(os.path.join(device_plugins_dir, resource.replace("/", "_")))
            for resource in sorted(set(resources))
        ),
        kernel=kernel,
        blacklisted=tuple(_blacklisted(root)),
        aliases=None if aliases is None else aliases_of_driver(aliases),
        selinux_enforcing=_enforcing(_line(root, "sys/fs/selinux/enforce")),
        selinux_context=_line(root, "proc/self/attr/current"),
        uid_map=_line(root, "proc/self/uid_map"),
        device_nodes=_device_nodes(dev_root or os.path.join(root, "dev"), wanted),
    )


def _text(root: str, path: str) -> str | None:
    try:
        with open(os.path.join(root, path), "rb") as file:
            return file.read(_FILE_LIMIT_BYTES).decode(errors="replace")
    except OSError:
        return None


def _line(root: str, path: str) -> str | None:
    text = _text(root, path)
    return None if text is None else text.strip("\0 \t\n") or None


def _enforcing(text: str | None) -> bool | None:
    return None if text is None else text == "1"


def _blacklisted(root: str) -> Iterator[str]:
    for word in blacklisting_words(_text(root, "proc/cmdline") or ""):
        yield f"/proc/cmdline: {word}"
    # A file hides those of the same name in the folders after it (modprobe.d(5)).
    seen: set[str] = set()
    for folder in _MODPROBE_FOLDERS:
        path = f"{folder}/modprobe.d"
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(os.path.join(root, path))):
                if name.endswith(".conf") and name not in seen:
                    seen.add(name)
                    for line in blacklisting_lines(_text(root, f"{path}/{name}") or ""):
                        yield f"/{path}/{name}: {line}"


def _directory(path: str) -> Directory:
    there = os.path.isdir(path)
    nearest = os.path.abspath(path)
    while not os.path.exists(nearest):
        nearest = os.path.dirname(nearest)
    return Directory(path, there, os.path.isdir(nearest) and os.access(nearest, os.W_OK | os.X_OK))


def _socket(path: str) -> Socket:
    return Socket(path, _socket_state(path))


def _socket_state(path: str) -> SocketState:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return "absent"
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(CONNECT_SECONDS)
            probe.connect(path)
    except (FileNotFoundError, NotADirectoryError):
        return "absent"
    except PermissionError:
        return "denied"
    except OSError:
        return "dead"
    return "live"


def _device_nodes(dev: str, names: Iterable[str]) -> tuple[DeviceNode, ...] | None:
    """None where the host's /dev cannot be seen."""
    if not os.path.isdir(os.path.join(dev, "dri")):
        return None
    return tuple(_device_node(os.path.join(dev, name)) for name in names)


def _device_node(path: str) -> DeviceNode:
    try:
        status = os.stat(path)
    except OSError:
        return DeviceNode(path, None)
    return DeviceNode(path, stat.S_IMODE(status.st_mode), status.st_gid)

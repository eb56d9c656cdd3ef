"""The machine as it is looked at, from a small tree in place of its root."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from amdgpu_plugin.doctor.looked import DeviceNode, Directory, Machine, Socket
from amdgpu_plugin.doctor.machine import look_at_machine


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@contextmanager
def listening(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield


def look(root: Path, **facts: Any) -> Machine:
    usual: dict[str, Any] = {
        "device_plugins_dir": str(root / "plugins"),
        "pod_resources_dir": str(root / "pods"),
        "state_dir": str(root / "run" / "state"),
        "dev_root": None,
        "resources": ("amd.com/gpu",),
        "render_nodes": ("renderD129", "renderD128", "renderD128"),
        "kfd": True,
    }
    return look_at_machine(str(root), **usual | facts)


def test_everything_that_can_be_seen(scratch: Path) -> None:
    write(
        scratch,
        {
            "proc/sys/kernel/osrelease": "6.12.9\n",
            "proc/cmdline": "ro nomodeset\n",
            "proc/self/uid_map": "0 0 4294967295\n",
            "proc/self/attr/current": "system_u:system_r:spc_t:s0\0",
            "sys/fs/selinux/enforce": "1",
            "lib/modules/6.12.9/modules.alias": "alias pci:v00001002d* amdgpu\n",
            "etc/modprobe.d/a.conf": "blacklist amdgpu\n",
            "etc/modprobe.d/a.conf.bak": "blacklist amdgpu\n",
            "usr/lib/modprobe.d/a.conf": "install amdgpu /bin/false\n",
            "usr/lib/modprobe.d/b.conf": "install amdgpu /bin/false\n",
            "dev/dri/renderD128": "",
        },
    )
    (scratch / "dev/dri/renderD128").chmod(0o640)
    with listening(scratch / "plugins/kubelet.sock"), listening(scratch / "plugins/amd.com_gpu"):
        machine = look(scratch)
    assert machine == Machine(
        uid=os.geteuid(),
        device_plugins=Directory(str(scratch / "plugins"), there=True, writable=True),
        state=Directory(str(scratch / "run/state"), there=False, writable=True),
        kubelet=Socket(str(scratch / "plugins/kubelet.sock"), "live"),
        pod_resources=Socket(str(scratch / "pods/kubelet.sock"), "absent"),
        neighbours=(Socket(str(scratch / "plugins/amd.com_gpu"), "live"),),
        kernel="6.12.9",
        blacklisted=(
            "/proc/cmdline: nomodeset",
            "/etc/modprobe.d/a.conf: blacklist amdgpu",
            "/usr/lib/modprobe.d/b.conf: install amdgpu /bin/false",
        ),
        aliases=("pci:v00001002d*",),
        selinux_enforcing=True,
        selinux_context="system_u:system_r:spc_t:s0",
        uid_map="0 0 4294967295",
        device_nodes=(
            DeviceNode(str(scratch / "dev/kfd"), None),
            DeviceNode(str(scratch / "dev/dri/renderD128"), 0o640, os.getegid()),
            DeviceNode(str(scratch / "dev/dri/renderD129"), None),
        ),
    )


def test_an_empty_root_is_not_known(scratch: Path) -> None:
    machine = look(scratch, resources=())
    assert machine == Machine(
        uid=os.geteuid(),
        device_plugins=Directory(str(scratch / "plugins"), there=False, writable=True),
        state=Directory(str(scratch / "run/state"), there=False, writable=True),
        kubelet=Socket(str(scratch / "plugins/kubelet.sock"), "absent"),
        pod_resources=Socket(str(scratch / "pods/kubelet.sock"), "absent"),
    )


def test_a_socket_nobody_listens_at_is_dead_and_a_file_is_none(scratch: Path) -> None:
    with listening(scratch / "plugins/kubelet.sock"):
        pass
    write(scratch, {"pods/kubelet.sock": ""})
    machine = look(scratch)
    assert (machine.kubelet.state, machine.pod_resources.state) == ("dead", "absent")


def test_a_path_too_long_for_a_socket_is_no_live_one(scratch: Path) -> None:
    (scratch / ("x" * 120)).mkdir()
    assert look(scratch, device_plugins_dir=str(scratch / ("x" * 120))).kubelet.state == "absent"


def test_permissive_selinux_is_not_enforcing(scratch: Path) -> None:
    write(scratch, {"sys/fs/selinux/enforce": "0"})
    assert look(scratch).selinux_enforcing is False


def test_the_hosts_dev_is_where_the_option_says(scratch: Path) -> None:
    write(scratch, {"host/dri/renderD128": "", "dev/null": ""})
    nodes = look(
        scratch, dev_root=str(scratch / "host"), render_nodes=("renderD128",), kfd=False
    ).device_nodes
    assert nodes is not None
    assert [(node.path, node.mode is None) for node in nodes] == [
        (str(scratch / "host/dri/renderD128"), False)
    ]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc")
def test_a_directory_in_a_read_only_filesystem_is_not_writable(scratch: Path) -> None:
    assert look(scratch, state_dir="/proc/self/state").state == Directory(
        "/proc/self/state", there=False, writable=False
    )


def test_a_file_in_place_of_the_directory_is_not_writable(scratch: Path) -> None:
    write(scratch, {"run/state": ""})
    (scratch / "run/state").chmod(0o755)
    assert look(scratch).state == Directory(str(scratch / "run/state"), there=False, writable=False)


def test_settings_that_are_no_text_are_looked_through(scratch: Path) -> None:
    write(scratch, {"etc/modprobe.d/odd.conf": ""})
    (scratch / "etc/modprobe.d/odd.conf").write_bytes(b"\xff\xfe\nblacklist amdgpu\n\0")
    (scratch / "etc/modprobe.d/folder.conf").mkdir()
    assert look(scratch).blacklisted == ("/etc/modprobe.d/odd.conf: blacklist amdgpu",)

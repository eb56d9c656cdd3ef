"""Findings about what processes may do here: KFD, device nodes, SELinux, namespaces. Pure."""

import re
from collections.abc import Iterator

from amdgpu_plugin.doctor.finding import Finding, found, found_if
from amdgpu_plugin.doctor.looked import DeviceNode, Looked, Machine

_GROUP_RW, _OTHERS_RW = 0o060, 0o006
_INITIAL_UID_MAP = ["0", "0", "4294967295"]
_PLUGIN_TYPES = frozenset({"container_device_plugin_t", "container_device_plugin_init_t"})
_CONTEXT = re.compile(r"[^:]+:[^:]+:([^:]+):.+")
_CONFINED_PREFIXES = ("container_", "svirt_")


def about_access(looked: Looked) -> Iterator[Finding]:
    """What this process, and what containers may use."""
    yield from _about_kfd(looked)
    machine = looked.machine
    missed = tuple(_missed(looked))
    yield from found_if("netlink-deaf" if missed else "events-deaf", (*missed, *_deaf(looked)))
    if machine is None:
        return
    yield from _about_device_nodes(machine.device_nodes or ())
    if looked.daemon is None or not looked.daemon.serves:
        yield from _about_selinux(machine)
    if machine.uid != 0:
        yield found("not-root", f"user id {machine.uid}")
    elif not machine.state.writable:
        yield found("state-not-writable", f"{machine.state.path} is not writable")


def _about_kfd(looked: Looked) -> Iterator[Finding]:
    inventory = looked.node.inventory
    if not inventory.gpus:
        return
    if inventory.driver.kfd == "absent":
        yield found("kfd-absent", "class/kfd/kfd/topology is not there")
    elif inventory.driver.kfd == "denied":
        yield found("kfd-denied", "class/kfd/kfd/topology/nodes: denied")


def _about_device_nodes(nodes: tuple[DeviceNode, ...]) -> Iterator[Finding]:
    missing = (f"{node.path} is missing" for node in nodes if node.mode is None)
    yield from found_if("device-node-missing", tuple(missing))
    there = [(node, node.mode) for node in nodes if node.mode is not None]
    private = (
        _shown(node, mode) for node, mode in there if not _for_a_group(node, mode) and not _for_all(mode)
    )
    yield from found_if("device-permissions", tuple(private))
    grouped = [node for node, mode in there if _for_a_group(node, mode) and not _for_all(mode)]
    groups = sorted({node.gid for node in grouped})
    told = (f"group {gid}: {', '.join(node.path for node in grouped if node.gid == gid)}" for gid in groups)
    yield from found_if("non-root-pods", tuple(told))


def _for_a_group(node: DeviceNode, mode: int) -> bool:
    """Group 0 is root's: pods that are given it might as well run as root."""
    return node.gid != 0 and mode & _GROUP_RW == _GROUP_RW


def _for_all(mode: int) -> bool:
    return mode & _OTHERS_RW == _OTHERS_RW


def _shown(node: DeviceNode, mode: int) -> str:
    return f"{node.path}: group {node.gid}, mode {mode:04o}"


def _about_selinux(machine: Machine) -> Iterator[Finding]:
    """`system_u:system_r:container_t:s0:c1,c2`; other security modules write other things there."""
    found_context = _CONTEXT.fullmatch(machine.selinux_context or "")
    kind = found_context[1] if found_context else ""
    confined = kind.startswith(_CONFINED_PREFIXES) and kind not in _PLUGIN_TYPES
    if confined and machine.selinux_enforcing is not False:
        mode = "enforcing" if machine.selinux_enforcing else "whether it enforces is not visible"
        yield found("selinux-denial", f"this process is {machine.selinux_context}; {mode}")


def _missed(looked: Looked) -> Iterator[str]:
    """That nothing was heard is no sign: on a quiet node there is nothing to hear."""
    if looked.daemon is not None and looked.daemon.missed_events:
        yield f"changes of GPUs that no event told of since the daemon started: {looked.daemon.missed_events}"


def _deaf(looked: Looked) -> Iterator[str]:
    if looked.daemon is not None and looked.daemon.events == "none":
        yield "the daemon listens to no kernel events"
    uid_map = None if looked.machine is None else looked.machine.uid_map
    simulated = looked.daemon is not None and looked.daemon.events == "simulated"
    if uid_map is not None and uid_map.split() != _INITIAL_UID_MAP and not simulated:
        yield f"/proc/self/uid_map is '{' '.join(uid_map.split())}': a user namespace"

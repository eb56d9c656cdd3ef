"""Findings about the life with the kubelet. The daemon's word goes before our own look. Pure."""

from collections.abc import Iterator

from amdgpu_plugin.doctor.finding import Finding, found, found_if
from amdgpu_plugin.doctor.looked import Daemon, Looked, Machine, Registration, Socket


def about_serving(looked: Looked) -> Iterator[Finding]:
    """Directory, kubelet, other plugins, registrations, pod-resources."""
    daemon, machine = looked.daemon, looked.machine
    if machine is not None and (daemon is None or not daemon.serves):
        yield from _about_kubelet(machine)
    yield from found_if("other-plugin", tuple(_others(daemon, machine)))
    if daemon is not None:
        waiting = (each for each in daemon.registrations if not each.registered and not each.conflict)
        yield from found_if("not-registered", tuple(_line(each) for each in waiting))
    yield from _about_pod_resources(daemon, machine)


def _about_kubelet(machine: Machine) -> Iterator[Finding]:
    directory, root = machine.device_plugins, machine.uid == 0
    if not directory.there:
        yield found("device-plugins-missing", f"{directory.path} is not there")
        return
    if root and not directory.writable:
        yield found("device-plugins-not-writable", f"{directory.path} is not writable")
    if _is_silent(machine.kubelet, root=root):
        yield found("kubelet-silent", f"{machine.kubelet.path}: {machine.kubelet.state}")


def _is_silent(socket: Socket, *, root: bool) -> bool:
    """Who is not root may be denied what the daemon is not."""
    return socket.state != "live" and (root or socket.state != "denied")


def _others(daemon: Daemon | None, machine: Machine | None) -> Iterator[str]:
    for registration in daemon.registrations if daemon is not None else ():
        if registration.conflict:
            yield _line(registration)
    for neighbour in machine.neighbours if machine is not None else ():
        if neighbour.state == "live":
            yield f"{neighbour.path} accepts connections"


def _line(registration: Registration) -> str:
    return f"{registration.resource}: " + ": ".join(filter(None, (registration.phase, registration.detail)))


def _about_pod_resources(daemon: Daemon | None, machine: Machine | None) -> Iterator[Finding]:
    if daemon is not None:
        if not daemon.holders_known:
            yield found("pod-resources-silent", "the daemon does not know who holds its devices")
    elif machine is not None and _is_silent(machine.pod_resources, root=machine.uid == 0):
        yield found("pod-resources-silent", f"{machine.pod_resources.path}: {machine.pod_resources.state}")

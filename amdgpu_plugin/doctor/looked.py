"""What findings are made of: a node, the daemon that told of it, and the machine around it. All immutable.

None means not looked at or not visible from here, never that something is missing.
"""

from dataclasses import dataclass
from typing import Literal

from amdgpu_plugin.node import NodeState

Source = Literal["daemon", "sysfs", "capture", "simulated"]
SocketState = Literal["live", "absent", "dead", "denied"]


@dataclass(frozen=True, slots=True)
class PciFunction:
    """An AMD GPU on the PCI bus, whatever drives it; `driver` is None where nothing does.

    `lanes` are those in use, `most_lanes` what both ends of the link can do.
    """

    address: str
    driver: str | None
    modalias: str | None = None
    lanes: int | None = None
    most_lanes: int | None = None


@dataclass(frozen=True, slots=True)
class Bus:
    """The PCI bus, and whether the amdgpu module is in the kernel."""

    amdgpu_loaded: bool
    gpus: tuple[PciFunction, ...]


@dataclass(frozen=True, slots=True)
class Directory:
    """`writable` is that of the nearest folder above where it is not there."""

    path: str
    there: bool
    writable: bool


@dataclass(frozen=True, slots=True)
class Socket:
    """`dead`: there, and nobody accepts connections; `denied`: this process may not connect."""

    path: str
    state: SocketState


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A node below /dev; `mode` are its permission bits, None where it is missing."""

    path: str
    mode: int | None
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """What is around the GPUs, as this process sees it.

    `blacklisted` are the settings that keep amdgpu from loading, each as `file: words`. `aliases` are the
    devices that the kernel's amdgpu claims (modules.alias). `selinux_context` and `uid_map` are this
    process's, as in /proc/self. `device_nodes` are /dev/kfd and those of the node's devices.
    """

    uid: int
    device_plugins: Directory
    state: Directory
    kubelet: Socket
    pod_resources: Socket
    neighbours: tuple[Socket, ...] = ()
    kernel: str | None = None
    blacklisted: tuple[str, ...] = ()
    aliases: tuple[str, ...] | None = None
    selinux_enforcing: bool | None = None
    selinux_context: str | None = None
    uid_map: str | None = None
    device_nodes: tuple[DeviceNode, ...] | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """How one resource stands with the kubelet, in the daemon's words."""

    resource: str
    registered: bool
    phase: str
    detail: str | None
    conflict: bool


@dataclass(frozen=True, slots=True)
class Daemon:
    """What the running daemon says of itself. `events` is where it hears of kernel events.

    `missed_events` are changes of GPUs that it saw and no event told of, though it listens.
    """

    version: str
    simulated: bool
    events: str
    holders_known: bool
    registrations: tuple[Registration, ...]
    missed_events: int = 0

    @property
    def serves(self) -> bool:
        """True when the kubelet hears of every resource."""
        return bool(self.registrations) and all(each.registered for each in self.registrations)


@dataclass(frozen=True, slots=True)
class Looked:
    """One look. `where` is the daemon's socket, the sysfs root, or the shape.

    Without `daemon` the node comes of one scan: of health it tells nothing. `unanswered` is why the daemon
    did not tell. `shares_one_name`: devices of all partition styles are meant to be served as one resource.
    """

    source: Source
    where: str
    node: NodeState
    shares_one_name: bool
    expected_gpus: int | None = None
    daemon: Daemon | None = None
    unanswered: str | None = None
    bus: Bus | None = None
    machine: Machine | None = None

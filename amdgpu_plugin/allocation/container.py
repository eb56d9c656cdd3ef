"""What a container is given with its devices. Pure.

Identity goes into variables of our own: ROCR_, HIP_ or AMD_VISIBLE_DEVICES take indices of the host, which
are wrong inside a container that sees only its own GPUs. Who wants them gets the container's own indices.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from amdgpu_plugin.node import ListedDevice

Visible = Literal["none", "rocr", "hip"]

_NULL = "/dev/null"
_VISIBLE_VARIABLES: Mapping[Visible, str] = {"rocr": "ROCR_VISIBLE_DEVICES", "hip": "HIP_VISIBLE_DEVICES"}


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A device node: its path in the container and on the host; permissions out of `r`, `w` and `m`."""

    container_path: str
    host_path: str
    permissions: str = "rw"


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path mounted into the container."""

    container_path: str
    host_path: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Extras:
    """What the operator has every container given along with a GPU, beyond what it needs.

    `card_nodes` are /dev/dri/card<N> of its devices; `visible_devices` the runtime that is told indices.
    """

    card_nodes: bool = False
    nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[Mount, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    visible_devices: Visible = "none"


NOTHING_MORE = Extras()


@dataclass(frozen=True, slots=True)
class Grant:
    """Device nodes, environment variables and mounts of one container."""

    nodes: tuple[DeviceNode, ...]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...] = ()


def grant(
    devices: Sequence[ListedDevice], *, kfd: bool, simulated: bool, extras: Extras = NOTHING_MORE
) -> Grant:
    """What a container gets that was allocated `devices` (distinct, in the order asked for).

    `kfd` tells whether the node has /dev/kfd. Simulated devices make every node the host's /dev/null, which
    every host has, and mount nothing, so that pods start anywhere.
    """
    if not devices:
        return Grant((), {})
    paths = dict.fromkeys(_paths(devices, kfd=kfd, card_nodes=extras.card_nodes))
    own = tuple(DeviceNode(path, path) for path in paths)
    nodes = own + tuple(node for node in extras.nodes if node.container_path not in paths)
    environment = _identity(devices) | _visible(len(devices), extras) | dict(extras.environment)
    if simulated:
        nulls = tuple(replace(node, host_path=_NULL) for node in nodes)
        return Grant(nulls, environment | {"AMDGPU_SIMULATED": "1"})
    return Grant(nodes, environment, extras.mounts)


def _paths(devices: Sequence[ListedDevice], *, kfd: bool, card_nodes: bool) -> Iterator[str]:
    if kfd:
        yield "/dev/kfd"
    for listed in devices:
        yield f"/dev/dri/{listed.device.render_node}"
        if card_nodes and listed.device.card_node is not None:
            yield f"/dev/dri/{listed.device.card_node}"


def _identity(devices: Sequence[ListedDevice]) -> dict[str, str]:
    numa = [listed.gpu.numa_node for listed in devices]
    return {
        "AMDGPU_DEVICES": ",".join(listed.id for listed in devices),
        "AMDGPU_PCI_ADDRESSES": ",".join(listed.gpu.pci_address for listed in devices),
        "AMDGPU_RENDER_NODES": ",".join(listed.device.render_node for listed in devices),
        "AMDGPU_NUMA_NODES": ",".join("" if node is None else str(node) for node in numa),
    }


def _visible(count: int, extras: Extras) -> dict[str, str]:
    """All that the container has: right in whatever order ROCm counts them."""
    variable = _VISIBLE_VARIABLES.get(extras.visible_devices)
    return {} if variable is None else {variable: ",".join(map(str, range(count)))}

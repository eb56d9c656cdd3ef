"""What a container is given with its devices. Pure.

Identity goes into variables of our own: ROCR_, HIP_ or AMD_VISIBLE_DEVICES take indices of the host, which
are wrong inside a container that sees only its own GPUs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amdgpu_plugin.node import ListedDevice


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A device node: its path in the container and on the host, with permissions `rw`."""

    container_path: str
    host_path: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Device nodes and environment variables of one container."""

    nodes: tuple[DeviceNode, ...]
    environment: Mapping[str, str]


def grant(devices: Sequence[ListedDevice], *, kfd: bool, simulated: bool) -> Grant:
    """What a container gets that was allocated `devices` (distinct, in the order asked for).

    `kfd` tells whether the node has /dev/kfd. A simulated device's nodes are the host's /dev/null, which
    every host has, so that pods start anywhere.
    """
    if not devices:
        return Grant((), {})
    paths = (["/dev/kfd"] if kfd else []) + [f"/dev/dri/{listed.device.render_node}" for listed in devices]
    nodes = tuple(DeviceNode(path, "/dev/null" if simulated else path) for path in paths)
    return Grant(nodes, _environment(devices) | ({"AMDGPU_SIMULATED": "1"} if simulated else {}))


def _environment(devices: Sequence[ListedDevice]) -> dict[str, str]:
    numa = [listed.gpu.numa_node for listed in devices]
    return {
        "AMDGPU_DEVICES": ",".join(listed.id for listed in devices),
        "AMDGPU_PCI_ADDRESSES": ",".join(listed.gpu.pci_address for listed in devices),
        "AMDGPU_RENDER_NODES": ",".join(listed.device.render_node for listed in devices),
        "AMDGPU_NUMA_NODES": ",".join("" if node is None else str(node) for node in numa),
    }

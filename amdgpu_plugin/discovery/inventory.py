"""What a node has: the values discovery returns. All immutable; None means not known, never 0 or -1."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

KfdAccess = Literal["readable", "denied", "absent"]
LinkKind = Literal["xgmi", "pcie", "internal"]

SHARED = ".shared"
"""At the end of a shared resource's name, where the operator wants it told apart."""
_REPLICA = "::"


@dataclass(frozen=True, slots=True)
class Driver:
    """The amdgpu kernel module. `version` is None for in-tree builds, which have none."""

    name: str
    version: str | None
    kfd: KfdAccess


@dataclass(frozen=True, slots=True)
class ComputeDevice:
    """What can be given to a container: a whole GPU, or one compute partition of it.

    `id` is `0000:05:00.0`, or `0000:05:00.0-cpx3` for partition 3 in CPX mode. `render_node` and
    `card_node` are names below /dev/dri. `kfd_node` is the node's number in KFD's topology. `replicas` is
    how many containers may share it.
    """

    id: str
    resource: str
    partition: int | None
    render_node: str
    card_node: str | None
    kfd_node: int | None
    replicas: int = 1

    @property
    def served_ids(self) -> tuple[str, ...]:
        """The IDs the kubelet counts it by: its own, or `<id>::0` to `<id>::3` for four replicas."""
        if self.replicas == 1:
            return (self.id,)
        return tuple(f"{self.id}{_REPLICA}{number}" for number in range(self.replicas))


def device_of(served_id: str) -> str:
    """The ID of the device that an ID of the kubelet's stands for: itself, or without its replica."""
    return served_id.partition(_REPLICA)[0]


def is_replica(served_id: str) -> bool:
    """True for `<id>::2`: who holds it may share the device."""
    return _REPLICA in served_id


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU bound to amdgpu, by its PCI function.

    `integrated` is True for an APU. `left_out` is why the configuration offers none of its devices. `bridges`
    are the addresses of the PCI bridges above it, root port first, joined by slashes.
    """

    pci_address: str
    product: str | None
    pci_id: str | None
    unique_id: str | None
    numa_node: int | None
    vram_bytes: int | None
    compute_partition: str | None
    memory_partition: str | None
    xgmi_hive: str | None
    devices: tuple[ComputeDevice, ...]
    integrated: bool | None = None
    left_out: str | None = None
    bridges: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Link:
    """The best connection of two GPUs (`a` < `b` by PCI address), or within one (`a` == `b`, internal).

    `weight` is KFD's (15 per XGMI hop, 20 per PCIe hop, 13 inside a package); `bandwidth_mb_s` its
    `max_bandwidth`.
    """

    a: str
    b: str
    kind: LinkKind
    weight: int | None
    bandwidth_mb_s: int | None


@dataclass(frozen=True, slots=True, order=True)
class Skipped:
    """A thing found and not used, wholly or in part: where in sysfs, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class XcpDevice:
    """A platform device `amdgpu_xcp_<number>`, by which AMD's plugin calls a partition.

    `gpu` is the PCI address of the GPU whose minors it follows; None where none goes before it.
    """

    number: int
    render_node: str
    gpu: str | None


@dataclass(frozen=True, slots=True)
class Inventory:
    """A node's AMD GPUs at one moment: GPUs by PCI address, links by pair, skipped by path.

    `xcp_devices` are names others use for the same hardware, no part of what the node has.
    """

    driver: Driver
    gpus: tuple[Gpu, ...]
    links: tuple[Link, ...]
    skipped: tuple[Skipped, ...]
    xcp_devices: tuple[XcpDevice, ...] = field(default=(), compare=False)


@lru_cache(maxsize=1024)
def address_order(address: str) -> tuple[int, ...]:
    """Sort key: domain, bus, device, function as numbers (domains may have more than four digits)."""
    return tuple(int(part, 16) for part in re.split("[:.]", address))

"""What was read from DRM, PCI and KFD, put together into one Inventory. Pure.

Nothing found wrong in one GPU hides another: what cannot be told is left out with its reason.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from amdgpu_plugin.discovery.drm import DrmMinors
from amdgpu_plugin.discovery.inventory import (
    ComputeDevice,
    Driver,
    Gpu,
    Inventory,
    Skipped,
    XcpDevice,
    address_order,
)
from amdgpu_plugin.discovery.kfd import KfdNode, KfdTopology, node_path
from amdgpu_plugin.discovery.links import link_graph
from amdgpu_plugin.discovery.partitions import Unproven, minors_in_order, whole_or_partitions
from amdgpu_plugin.discovery.pci import PciGpu, is_address
from amdgpu_plugin.product_names import ProductNames

_ByLocation = Mapping[tuple[int, ...], frozenset[str]]


@dataclass(frozen=True, slots=True)
class Scan:
    """All that one look at a node's sysfs gave.

    `hives` are the XGMI hives' ids by their GPUs' addresses; `foreign` the paths of devices that have a minor
    and are none of AMD's.
    """

    driver_version: str | None
    gpus: tuple[PciGpu, ...]
    drm: DrmMinors
    kfd: KfdTopology
    hives: Mapping[str, str]
    skipped: tuple[Skipped, ...]
    foreign: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Owned:
    """KFD nodes by the address of the GPU they are proven to belong to, and those that are not."""

    by_address: Mapping[str, tuple[KfdNode, ...]]
    contested_minors: frozenset[int]
    hung: frozenset[str]
    minors_in_order: bool
    skipped: tuple[Skipped, ...]


def build(scan: Scan, names: ProductNames) -> Inventory:
    """The inventory; its devices' resources are still unnamed (`naming.name_resources`)."""
    owned = _own(scan)
    gpus: list[Gpu] = []
    skipped = [*scan.skipped, *scan.drm.skipped, *scan.kfd.skipped, *owned.skipped]
    for pci in sorted(scan.gpus, key=lambda gpu: address_order(gpu.address)):
        skipped += pci.skipped
        nodes = owned.by_address.get(pci.address, ())
        devices = _devices(pci, scan, owned)
        if isinstance(devices, Unproven):
            skipped.append(Skipped(pci.path, devices.reason))
            devices = ()
        gpus.append(
            Gpu(
                pci_address=pci.address,
                product=pci.product or _name(pci, names),
                pci_id=pci.pci_id,
                unique_id=pci.unique_id or _unique_id(nodes),
                numa_node=pci.numa_node,
                vram_bytes=pci.vram_bytes if pci.vram_bytes is not None else _vram(nodes),
                compute_partition=pci.compute_partition if isinstance(pci.compute_partition, str) else None,
                memory_partition=pci.memory_partition,
                xgmi_hive=_first(str(node.hive_id) for node in nodes if node.hive_id)
                or scan.hives.get(pci.address),
                devices=devices,
                integrated=pci.integrated,
                bridges="/".join(filter(is_address, pci.path.split("/")[:-1])) or None,
            )
        )
    for node in scan.kfd.nodes:
        skipped += node.skipped
    return Inventory(
        driver=Driver("amdgpu", scan.driver_version, scan.kfd.access),
        gpus=tuple(gpus),
        links=link_graph(tuple(gpus), owned.by_address),
        skipped=tuple(sorted(set(skipped))),
        xcp_devices=_xcp_devices(scan),
    )


def _xcp_devices(scan: Scan) -> tuple[XcpDevice, ...]:
    """By the order of minors: the driver registers them right after their GPU's own."""
    addresses = {gpu.path: gpu.address for gpu in scan.gpus}
    found: list[XcpDevice] = []
    gpu: str | None = None
    for minor in scan.drm.render_nodes.values():
        if minor.xcp_number is None:
            gpu = addresses.get(minor.device)
        else:
            found.append(XcpDevice(minor.xcp_number, minor.name, gpu))
    return tuple(found)


def _devices(gpu: PciGpu, scan: Scan, owned: _Owned) -> tuple[ComputeDevice, ...] | Unproven:
    nodes = owned.by_address.get(gpu.address, ())
    own = scan.drm.of(gpu.path, "render")
    if own is not None and own.number in owned.contested_minors and not nodes:
        return Unproven(f"several KFD nodes claim {own.name}")
    if not nodes and gpu.address in owned.hung:
        return Unproven(f"no answer from KFD node {', '.join(map(str, scan.kfd.hung))}")
    return whole_or_partitions(
        gpu, scan.drm, nodes, kfd_complete=scan.kfd.complete, in_order=owned.minors_in_order
    )


def _own(scan: Scan) -> _Owned:
    claims = Counter(node.render_minor for node in scan.kfd.nodes)
    contested = frozenset(minor for minor, count in claims.items() if count > 1)
    by_address: defaultdict[str, list[KfdNode]] = defaultdict(list)
    by_location = _by_location(scan)
    skipped: list[Skipped] = []
    for node in scan.kfd.nodes:
        if node.render_minor in contested:
            others = [other.number for other in scan.kfd.nodes if other.render_minor == node.render_minor]
            owner: str | Unproven = Unproven(
                f"nodes {', '.join(map(str, others))} all claim renderD{node.render_minor}"
            )
        else:
            owner = _owner(node, scan, by_location)
        if isinstance(owner, Unproven):
            skipped.append(Skipped(node_path(node.number), owner.reason))
        else:
            by_address[owner].append(node)
    owned = {address: tuple(nodes) for address, nodes in by_address.items()}
    in_order = minors_in_order(scan.gpus, scan.drm, scan.foreign)
    return _Owned(owned, contested, _hung(scan, frozenset(owned)), in_order, tuple(skipped))


def _hung(scan: Scan, owning: frozenset[str]) -> frozenset[str]:
    """GPUs whose KFD node must be among those that hang, as no other has one missing."""
    without = frozenset(gpu.address for gpu in scan.gpus) - owning
    return without if len(without) <= len(scan.kfd.hung) else frozenset()


def _owner(node: KfdNode, scan: Scan, by_location: _ByLocation) -> str | Unproven:
    """The address of the GPU a KFD node belongs to: by its render minor, and by its location where told."""
    minor = scan.drm.render_nodes.get(node.render_minor)
    if minor is None:
        return Unproven(f"its render node renderD{node.render_minor} does not exist")
    located = _located(node, by_location)
    if not minor.is_xcp:
        gpu = next((gpu for gpu in scan.gpus if gpu.path == minor.device), None)
        if gpu is None:
            return Unproven(f"{minor.name} belongs to no usable GPU")
        if node.domain is not None and gpu.address not in located:
            return Unproven(f"it claims {minor.name} of {gpu.address}, but its location is another device's")
        return gpu.address
    if len(located) > 1:
        # Virtual functions share bus and device; a partition's parent is then function 0.
        located = frozenset(address for address in located if address.endswith(".0"))
    usable = [gpu.address for gpu in scan.gpus if gpu.address in located]
    return usable[0] if len(usable) == 1 else Unproven("no usable GPU at its location")


def _located(node: KfdNode, by_location: _ByLocation) -> frozenset[str]:
    """The addresses at a node's location; what is left of location_id is the function or the partition.

    A kernel that does not tell the domain means any.
    """
    bus, device = node.location_id >> 8 & 0xFF, node.location_id >> 3 & 0x1F
    if node.domain is not None:
        return by_location.get((node.domain, bus, device), frozenset())
    anywhere = (addresses for place, addresses in by_location.items() if place[1:] == (bus, device))
    return frozenset().union(*anywhere)


def _by_location(scan: Scan) -> _ByLocation:
    """Addresses of the GPUs, and of whatever else has a minor: a GPU that cannot be used is still there."""
    devices = {minor.device.rpartition("/")[2] for minor in scan.drm.minors}
    found: defaultdict[tuple[int, ...], frozenset[str]] = defaultdict(frozenset)
    for address in {gpu.address for gpu in scan.gpus} | set(filter(is_address, devices)):
        found[address_order(address)[:3]] |= {address}
    return found


def _name(gpu: PciGpu, names: ProductNames) -> str | None:
    return None if gpu.device_id is None else names.name(gpu.device_id, gpu.revision, gpu.subsystem)


def _vram(nodes: tuple[KfdNode, ...]) -> int | None:
    sizes = [node.vram_bytes for node in nodes if node.vram_bytes is not None]
    return sum(sizes) if sizes and len(sizes) == len(nodes) else None


def _unique_id(nodes: tuple[KfdNode, ...]) -> str | None:
    # newer kernels give each partition its own
    ids = {node.unique_id for node in nodes if node.unique_id}
    return f"{ids.pop():016x}" if len(ids) == 1 else None


def _first(values: Iterable[str]) -> str | None:
    return next(iter(values), None)

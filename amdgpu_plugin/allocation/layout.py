"""What a choice among a node's devices rests on and no request changes. Made once for an inventory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amdgpu_plugin.allocation.distance import distances
from amdgpu_plugin.allocation.graph import Graph, graph_of
from amdgpu_plugin.discovery.inventory import ComputeDevice, Gpu, Inventory, Link, address_order
from amdgpu_plugin.node import ListedDevice


@dataclass(frozen=True, slots=True)
class Layout:
    """GPUs by address; `devices` are all that each has, under whatever resource.

    `gpu_of` gives the place of a device's GPU in `gpus`, `order` the device's own among all.
    """

    gpus: tuple[Gpu, ...]
    devices: tuple[tuple[ComputeDevice, ...], ...]
    gpu_of: Mapping[str, int]
    order: Mapping[str, int]
    links: Mapping[frozenset[str], Link]
    graph: Graph


class Layouts:
    """Keeps the newest layout: a scan that finds nothing new costs the next request nothing."""

    def __init__(self) -> None:
        """Nothing is made before it is asked for."""
        self._made: tuple[Inventory, tuple[ListedDevice, ...], Layout] | None = None

    def of(self, inventory: Inventory, listed: Sequence[ListedDevice]) -> Layout:
        """The layout of an inventory, and of what is still listed although its GPU is gone."""
        known = {gpu.pci_address for gpu in inventory.gpus}
        gone = tuple(each for each in listed if each.gpu.pci_address not in known)
        if self._made is None or self._made[0] is not inventory or self._made[1] != gone:
            self._made = inventory, gone, layout_of(inventory, gone)
        return self._made[2]


def layout_of(inventory: Inventory, gone: Sequence[ListedDevice] = ()) -> Layout:
    """`gone` are listed devices whose GPUs the inventory lacks: their hives are no longer whole."""
    devices = {gpu.pci_address: list(gpu.devices) for gpu in inventory.gpus}
    by_address = {gpu.pci_address: gpu for gpu in inventory.gpus}
    for listed in gone:
        by_address.setdefault(listed.gpu.pci_address, listed.gpu)
        devices.setdefault(listed.gpu.pci_address, []).append(listed.device)
    addresses = sorted(by_address, key=address_order)
    gpus = tuple(by_address[address] for address in addresses)
    in_order = [(device.id, place) for place, address in enumerate(addresses) for device in devices[address]]
    return Layout(
        gpus=gpus,
        devices=tuple(tuple(devices[address]) for address in addresses),
        gpu_of=dict(in_order),
        order={device_id: number for number, (device_id, _) in enumerate(in_order)},
        links={frozenset((link.a, link.b)): link for link in inventory.links},
        graph=graph_of(distances(gpus, inventory.links), [gpu.xgmi_hive for gpu in gpus]),
    )

"""`discover`: what this node has, and what was skipped and why."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict

from amdgpu_plugin.commands.look import inventory_of
from amdgpu_plugin.commands.tables import columns
from amdgpu_plugin.config import Config
from amdgpu_plugin.discovery.inventory import ComputeDevice, Gpu, Inventory

_GIB = 1024**3


def run(config: Config, args: argparse.Namespace) -> int:
    """0: it could look, whatever was skipped."""
    inventory = inventory_of(config)
    print(as_json(inventory) if args.output == "json" else as_table(inventory))
    return 0


def as_json(inventory: Inventory) -> str:
    """The contract of `discover -o json`: the Inventory's own fields; what is not known is null.

    What the configuration makes of a GPU shows in its devices' resources and in `skipped`.
    """
    facts = asdict(inventory)
    del facts["xcp_devices"]
    for gpu in facts["gpus"]:
        del gpu["integrated"], gpu["left_out"], gpu["bridges"]
        for device in gpu["devices"]:
            del device["replicas"]
    return json.dumps(facts, indent=2)


def as_table(inventory: Inventory) -> str:
    """For people: a line per device, then what was skipped."""
    return "\n".join(_lines(inventory))


def _lines(inventory: Inventory) -> Iterator[str]:
    driver = inventory.driver
    loaded = driver.version or ("(in-tree)" if inventory.gpus or driver.kfd != "absent" else "not seen")
    yield f"Driver {driver.name} {loaded}, KFD {driver.kfd}"
    yield ""
    rows = [row for gpu in inventory.gpus for row in _rows(gpu)]
    if rows:
        header = ("DEVICE", "RESOURCE", "PRODUCT", "MODE", "GPU VRAM", "NUMA", "RENDER NODE", "CARD", "KFD")
        yield from columns((header, *rows))
    else:
        yield "No GPU."
    if inventory.skipped:
        yield ""
        yield "Skipped"
        yield from columns([(f"  {skipped.path}", skipped.reason) for skipped in inventory.skipped])


def _rows(gpu: Gpu) -> Iterator[tuple[str, ...]]:
    mode = " ".join(filter(None, (gpu.compute_partition, gpu.memory_partition)))
    vram = None if gpu.vram_bytes is None else f"{gpu.vram_bytes / _GIB:.1f} GiB"
    for device in gpu.devices or (None,):
        yield tuple(
            _shown(value)
            for value in (
                device.id if device else gpu.pci_address,
                _served_as(device) if device else "not served",
                gpu.product or gpu.pci_id,
                mode,
                vram,
                gpu.numa_node,
                *_nodes(device),
            )
        )


def _served_as(device: ComputeDevice) -> str:
    return device.resource if device.replicas == 1 else f"{device.resource} × {device.replicas}"


def _nodes(device: ComputeDevice | None) -> tuple[str | int | None, ...]:
    return (device.render_node, device.card_node, device.kfd_node) if device else (None, None, None)


def _shown(value: str | int | None) -> str:
    return "-" if value is None or value == "" else str(value)

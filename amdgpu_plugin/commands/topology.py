"""`topology`: how this node's GPUs are connected, as a matrix or a picture."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from amdgpu_plugin.commands.look import inventory_of
from amdgpu_plugin.commands.tables import columns
from amdgpu_plugin.config import Config, ConfigError
from amdgpu_plugin.discovery.inventory import Gpu, Inventory, Link
from amdgpu_plugin.exposition.picture.drawing import svg_file

_LEGEND = (
    "XGMI, PCIE: the kind of link, with KFD's weight (lower is nearer) and bandwidth in GB/s where known;",
    "INTERNAL: between partitions of one GPU; none: KFD tells of no link. For programs: discover -o json.",
)


def run(config: Config, args: argparse.Namespace) -> int:
    """0: it could look. ConfigError where the picture cannot be written."""
    inventory = inventory_of(config)
    if args.svg is None:
        print(as_text(inventory))
    else:
        _write(args.svg, svg_file(inventory))
    return 0


def _write(file: str, picture: bytes) -> None:
    try:
        Path(file).write_bytes(picture)
    except OSError as error:
        hint = "give a path in a folder that can be written"
        raise ConfigError(f"cannot be written: {error.strerror}", where=file, hint=hint) from error
    # not on stdout, which may be what FILE is
    print(f"{file}: {len(picture)} bytes; any browser shows it", file=sys.stderr)


def as_text(inventory: Inventory) -> str:
    """The matrix, and who is where."""
    if not inventory.gpus:
        return "No GPU."
    return "\n".join(_lines(inventory))


def _lines(inventory: Inventory) -> Iterator[str]:
    links = {(link.a, link.b): link for link in inventory.links}
    gpus = inventory.gpus
    names = [f"GPU{number}" for number in range(len(gpus))]
    yield from columns(
        [
            ("", *names),
            *((name, *(_cell(links, a, b) for b in gpus)) for name, a in zip(names, gpus, strict=True)),
        ]
    )
    yield ""
    header = ("", "ADDRESS", "PRODUCT", "NUMA", "HIVE", "DEVICES")
    yield from columns([header, *(_about(name, gpu) for name, gpu in zip(names, gpus, strict=True))])
    yield ""
    yield from _LEGEND


def _cell(links: dict[tuple[str, str], Link], a: Gpu, b: Gpu) -> str:
    if a is b and len(a.devices) <= 1:
        return "-"
    link = links.get((a.pci_address, b.pci_address)) or links.get((b.pci_address, a.pci_address))
    if link is None:
        return "none"
    return " ".join(
        filter(
            None,
            (
                link.kind.upper(),
                None if link.weight is None else str(link.weight),
                None if link.bandwidth_mb_s is None else f"({link.bandwidth_mb_s / 1000:g})",
            ),
        )
    )


def _about(name: str, gpu: Gpu) -> tuple[str, ...]:
    numa = "-" if gpu.numa_node is None else str(gpu.numa_node)
    product = gpu.product or gpu.pci_id or "-"
    return (name, gpu.pci_address, product, numa, gpu.xgmi_hive or "-", str(len(gpu.devices)))

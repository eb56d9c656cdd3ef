"""Which of a node's GPUs are offered at all: by address, PCI id or product, and APUs beside discrete cards.

Pure. A GPU left out keeps its place in the inventory, without devices and with the reason.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from amdgpu_plugin.discovery.inventory import Gpu, Inventory, Skipped
from amdgpu_plugin.discovery.pci import DEVICES

LEFT_OUT = "left out"
"""How the reason begins for a GPU that the configuration leaves out."""

_MUCH_MORE = 2
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Offering:
    """What is offered. Selectors are PCI addresses, PCI ids and product names, in any case of letters.

    No `include` is all. `integrated`: `auto` offers an APU where no discrete card is offered beside it, or
    where `include` names it.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    integrated: Literal["auto", "always", "never"] = "auto"


USUAL = Offering()


def offered(inventory: Inventory, offering: Offering, *, beside_discrete: bool = False) -> Inventory:
    """The inventory without the devices of GPUs that are left out, each with a line in `skipped`.

    `beside_discrete` says that discrete cards were offered earlier: an APU does not take the place of one
    that failed.
    """
    reasons = {gpu.pci_address: _by_selectors(gpu, offering) for gpu in inventory.gpus}
    discrete = beside_discrete or any(
        not gpu.integrated and reasons[gpu.pci_address] is None for gpu in inventory.gpus
    )
    gpus: list[Gpu] = []
    skipped: list[Skipped] = []
    for gpu in inventory.gpus:
        reason = reasons[gpu.pci_address] or _by_kind(gpu, offering, discrete=discrete)
        gpus.append(gpu if reason is None else replace(gpu, devices=(), left_out=reason))
        if reason is not None:
            skipped.append(Skipped(f"{DEVICES}/{gpu.pci_address}", reason))
    return replace(inventory, gpus=tuple(gpus), skipped=tuple(sorted({*inventory.skipped, *skipped})))


def has_discrete(inventory: Inventory) -> bool:
    """True where a discrete card is offered; what is not known to be an APU counts as one."""
    return any(not gpu.integrated and gpu.left_out is None for gpu in inventory.gpus)


def remarks(inventory: Inventory, offering: Offering) -> tuple[str, ...]:
    """What the operator should know: selectors that name nothing, and names that promise too little.

    `inventory` has its resources named. Nothing is said of selectors where there is no GPU yet.
    """
    return (*(_unmatched(inventory, offering) if inventory.gpus else ()), *_unequal(inventory))


def _unmatched(inventory: Inventory, offering: Offering) -> Iterator[str]:
    for option, selectors in (("include", offering.include), ("exclude", offering.exclude)):
        for selector in selectors:
            if not any(_names(selector, gpu) for gpu in inventory.gpus):
                yield f"devices.{option}: {selector} names no GPU of this node"


def _unequal(inventory: Inventory) -> Iterator[str]:
    sizes: defaultdict[str, set[int]] = defaultdict(set)
    for gpu in inventory.gpus:
        if gpu.vram_bytes is not None:
            for resource in {device.resource for device in gpu.devices}:
                sizes[resource].add(gpu.vram_bytes // len(gpu.devices))
    for resource, found in sorted(sizes.items()):
        if max(found) > _MUCH_MORE * min(found):
            least, most = (f"{size / _GIB:.1f} GiB" for size in (min(found), max(found)))
            yield f"{resource} covers devices with {least} and with {most} of VRAM: a pod may get either"


def _by_selectors(gpu: Gpu, offering: Offering) -> str | None:
    if offering.include and not _named_by(offering.include, gpu):
        return f"{LEFT_OUT}: not named by devices.include"
    if selector := _named_by(offering.exclude, gpu):
        return f"{LEFT_OUT} by devices.exclude: {selector}"
    return None


def _by_kind(gpu: Gpu, offering: Offering, *, discrete: bool) -> str | None:
    if not gpu.integrated or offering.integrated == "always":
        return None
    if offering.integrated == "never":
        return f"{LEFT_OUT} by devices.integrated: never, and it is an APU"
    if discrete and not _named_by(offering.include, gpu):
        return f"{LEFT_OUT} by devices.integrated: auto, and it is an APU beside discrete cards"
    return None


def _named_by(selectors: Iterable[str], gpu: Gpu) -> str | None:
    """The first selector that names the GPU."""
    return next((selector for selector in selectors if _names(selector, gpu)), None)


def _names(selector: str, gpu: Gpu) -> bool:
    known = (gpu.pci_address, gpu.pci_id, gpu.product)
    return selector.casefold() in {name.casefold() for name in known if name}

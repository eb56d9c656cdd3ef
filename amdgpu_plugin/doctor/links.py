"""Findings about how GPUs are linked and cut up. Pure."""

from collections import defaultdict
from collections.abc import Iterator

from amdgpu_plugin.discovery.inventory import Gpu
from amdgpu_plugin.doctor.finding import Finding, found_if
from amdgpu_plugin.doctor.looked import Looked

_WHOLE = "SPX"


def about_links(looked: Looked) -> Iterator[Finding]:
    """PCIe lanes, hives, partition modes."""
    yield from found_if("link-narrow", tuple(_narrow(looked)))
    yield from found_if("outside-hive", tuple(_outside_hive(looked.node.inventory.gpus)))
    if looked.shares_one_name:
        yield from found_if("modes-mixed", tuple(_modes(looked.node.inventory.gpus)))


def _narrow(looked: Looked) -> Iterator[str]:
    """What the daemon judged, under load as well, it has told already."""
    judged = {
        address
        for address, status in looked.node.statuses.items()
        if any(condition.name == "LinkDegraded" for condition in status.conditions)
    }
    for gpu in looked.bus.gpus if looked.bus is not None else ():
        known = gpu.lanes is not None and gpu.most_lanes is not None
        if known and gpu.lanes < gpu.most_lanes and gpu.address not in judged:  # type: ignore[operator]
            yield f"{gpu.address}: x{gpu.lanes} of x{gpu.most_lanes}"


def _outside_hive(gpus: tuple[Gpu, ...]) -> Iterator[str]:
    in_hives = {gpu.pci_id for gpu in gpus if gpu.xgmi_hive is not None}
    for gpu in gpus:
        if gpu.xgmi_hive is None and gpu.pci_id is not None and gpu.pci_id in in_hives:
            yield f"{gpu.pci_address} ({gpu.product or gpu.pci_id}) is in no hive"


def _modes(gpus: tuple[Gpu, ...]) -> Iterator[str]:
    """A line for each mode, where there are several."""
    by_mode: defaultdict[str, list[Gpu]] = defaultdict(list)
    for gpu in gpus:
        if gpu.compute_partition is not None and gpu.devices:
            memory = None if gpu.compute_partition == _WHOLE else gpu.memory_partition
            by_mode[" ".join(filter(None, (gpu.compute_partition, memory)))].append(gpu)
    if len(by_mode) > 1:
        for mode, its in sorted(by_mode.items()):
            resources = ", ".join(sorted({device.resource for gpu in its for device in gpu.devices}))
            yield f"{mode} as {resources}: {', '.join(gpu.pci_address for gpu in its)}"

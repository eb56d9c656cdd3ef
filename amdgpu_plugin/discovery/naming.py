"""Under which resource each device is served, and to how many containers. Pure.

`single`: everything is amd.com/gpu, until partition styles differ on the node: then whole GPUs keep that
name and partitions go by their own, so that no name ever stands for two sizes.
`mixed`: every partitionable GPU goes by its partition style, as AMD's plugin names them.
A shared resource may have `.shared` at the end of either name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from amdgpu_plugin.discovery.inventory import SHARED, ComputeDevice, Gpu, Inventory

Naming = Literal["single", "mixed"]

NAMESPACE = "amd.com"
WHOLE = f"{NAMESPACE}/gpu"


@dataclass(frozen=True, slots=True)
class Shares:
    """How many containers may share each device of a resource, and whether its name says so."""

    replicas: int = 1
    rename: bool = False


@dataclass(frozen=True, slots=True)
class Sharing:
    """`resources` are those that differ from `default`, by their names without `.shared`."""

    default: Shares = Shares()
    resources: Mapping[str, Shares] = field(default_factory=lambda: MappingProxyType({}))

    def served(self, device: ComputeDevice, resource: str) -> ComputeDevice:
        """The device as one of the resource, whose name may end in `.shared` already."""
        plain = resource.removesuffix(SHARED)
        shares = self.resources.get(plain, self.default)
        name = plain + SHARED if shares.replicas > 1 and shares.rename else plain
        return replace(device, resource=name, replicas=shares.replicas)


UNSHARED = Sharing()


@dataclass(frozen=True, slots=True)
class GivenNames:
    """The names that styles got in this boot (`names_of`), and by which naming."""

    naming: Naming
    names: Mapping[str, str]


def style_of(gpu: Gpu) -> str | None:
    """`cpx_nps1` for a partitioned GPU, None for a whole one. Devices of one style are of one size."""
    if gpu.compute_partition is None or gpu.compute_partition == "SPX":
        return None
    return _style(gpu)


def name_resources(
    inventory: Inventory,
    naming: Naming,
    kept: Mapping[str, str] | None = None,
    sharing: Sharing = UNSHARED,
) -> Inventory:
    """The inventory with every device's resource and replicas filled in.

    `kept` holds names that styles got earlier (`names_of`): under `single` a style keeps its first name,
    since an ID's resource is fixed while it is listed.
    """
    styles = {style_of(gpu) for gpu in inventory.gpus if gpu.devices}
    # What is not known of one GPU must not rename another's devices.
    known = {style_of(gpu) for gpu in inventory.gpus if gpu.devices and _is_known(gpu)}
    shared = known or styles
    kept = kept or {}

    def resource(gpu: Gpu) -> str:
        style = style_of(gpu)
        if naming == "mixed":
            return WHOLE if gpu.compute_partition is None else f"{NAMESPACE}/{_style(gpu)}"
        if gpu.compute_partition is None:
            return WHOLE
        whole = (style is None or shared == {style}) and WHOLE not in kept.values()
        return kept.get(style or "") or (WHOLE if whole else f"{NAMESPACE}/{_style(gpu)}")

    gpus = tuple(
        replace(gpu, devices=tuple(sharing.served(device, resource(gpu)) for device in gpu.devices))
        for gpu in inventory.gpus
    )
    return replace(inventory, gpus=gpus)


def names_of(inventory: Inventory) -> dict[str, str]:
    """The resource each style goes by, without `.shared`; whole GPUs under the empty style."""
    return {
        style_of(gpu) or "": gpu.devices[0].resource.removesuffix(SHARED)
        for gpu in inventory.gpus
        if gpu.devices
    }


def _is_known(gpu: Gpu) -> bool:
    return style_of(gpu) is None or gpu.memory_partition is not None


def _style(gpu: Gpu) -> str:
    return "_".join(part.lower() for part in (gpu.compute_partition, gpu.memory_partition) if part)

"""What the tests of nodes in a bad way share."""

from amdgpu_plugin.discovery.inventory import ComputeDevice, Driver, Gpu, Inventory, Skipped
from amdgpu_plugin.discovery.inventory import Link as GpuLink
from tests.discovery.trees import (
    ADDRESSES,
    KFD,
    Tree,
    mi300x,
    pci_path,
    put_minors,
    put_pci,
)

READABLE = Driver("amdgpu", None, "readable")
DENIED = Driver("amdgpu", None, "denied")
ABSENT = Driver("amdgpu", None, "absent")
ILL = 3
"""The GPU of `mi300x_node` that a test damages."""
ILL_PATH = pci_path(ADDRESSES[ILL])
NO_GPU = Skipped("bus/pci/drivers/amdgpu", "no GPU is bound to amdgpu")
NOT_LOADED = Skipped("class/drm", "no DRM: the amdgpu module is not loaded, or has no GPU")
NO_ACCESS = "denied: no device-cgroup access to its render node"


def whole_node(mode: str = "SPX", **changed: Gpu) -> tuple[Gpu, ...]:
    """The GPUs of `mi300x_node`; `gpu3=` replaces one."""
    return tuple(changed.get(f"gpu{index}", mi300x(index, mode)) for index in range(8))


def skipped_nodes(numbers: range, reason: str = NO_ACCESS) -> tuple[Skipped, ...]:
    return tuple(sorted(Skipped(f"{KFD}/{number}", reason) for number in numbers))


def bmc_skipped() -> Skipped:
    return Skipped("class/drm/card0", "not an amdgpu device (vendor 0x1a03)")


def radeon(address: str, render: int, card: int, *, kfd_node: int | None = None) -> Gpu:
    """What is known of a bare PCI function that amdgpu drives."""
    return Gpu(
        pci_address=address,
        product=None,
        pci_id="1002:744c",
        unique_id=None,
        numa_node=0,
        vram_bytes=None,
        compute_partition=None,
        memory_partition=None,
        xgmi_hive=None,
        devices=(ComputeDevice(address, "amd.com/gpu", None, f"renderD{render}", f"card{card}", kfd_node),),
    )


def put_radeon(tree: Tree, address: str, *, render: int, card: int) -> None:
    put_minors(tree, put_pci(tree, address, device=0x744C, pci_class=0x030000), card=card, render=render)


def without_the_ill(inventory: Inventory) -> tuple[tuple[Gpu, ...], tuple[GpuLink, ...]]:
    gpus = tuple(gpu for gpu in inventory.gpus if gpu.pci_address != ADDRESSES[ILL])
    return gpus, tuple(found for found in inventory.links if ADDRESSES[ILL] not in (found.a, found.b))

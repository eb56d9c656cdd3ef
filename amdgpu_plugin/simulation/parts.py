"""The words in which a simulated machine is described: GPUs, CPUs, slots and the wires between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class PciId:
    """What a PCI function says of itself. `pci_class` has 24 bits, as in the file `class`."""

    vendor: int
    device: int
    subsystem_vendor: int
    subsystem_device: int
    pci_class: int
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Product:
    """One kind of GPU.

    `modes`: compute partition mode to number of partitions; empty when it cannot be partitioned.
    `kfd`: properties of a KFD node that do not depend on the mode; what does is counted per XCC.
    `memory_bank`: what KFD tells of the whole GPU's memory: bytes, width in bits, clock in MHz.
    `sensors`: hwmon file to value. `metrics`: size, format and content revision of gpu_metrics.
    """

    pci: PciId
    fru_name: str | None
    kfd_name: str
    vram_bytes: int
    vram_used_bytes: int
    gtt_bytes: int
    memory_bank: tuple[int, int, int]
    vbios: str
    link_speed: str
    kfd: Mapping[str, int]
    simds_per_xcc: int
    arrays_per_xcc: int
    caches_per_xcc: int
    sdma_per_xcc: int
    sensors: Mapping[str, str]
    metrics: tuple[int, int, int]
    xccs: int = 1
    modes: Mapping[str, int] = field(default_factory=dict)
    memory_modes: tuple[str, ...] = ()
    ras_blocks: tuple[str, ...] = ()
    connectors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a GPU sits: PCI address, root port, KFD's CPU node. A unique_id of 0 is none."""

    address: str
    root_port: str
    cpu: int
    unique_id: int


@dataclass(frozen=True, slots=True)
class Cpu:
    """A NUMA node's processor, one CPU node of KFD's."""

    cores: int
    core_id_base: int
    cpulist: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Wire:
    """A link as KFD tells it; bandwidths in MB/s, 0 for unknown. `kind`: 1 CPU to CPU, 2 PCIe, 11 XGMI."""

    kind: int
    weight: int
    min_bandwidth: int = 0
    max_bandwidth: int = 0
    sdma_mask: int = 3


@dataclass(frozen=True, slots=True)
class Board:
    """A machine. `hives`: hive id to the slots in it; `xgmi_links`: pair of slots to number of XGMI links.

    `bridges` is how many PCI bridges sit between a root port and its GPU; with `switch_on_card` the last two
    are on the card, so that the slot's link is above them. `numa` is false where firmware tells no NUMA node.
    """

    product: Product
    cpus: tuple[Cpu, ...]
    slots: tuple[Slot, ...]
    bridges: int
    cpu_wire: Wire
    cpu_clock_mhz: int
    cpu_distance: int = 10
    cpus_in_hive: bool = False
    hives: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    xgmi_links: Mapping[tuple[int, int], int] = field(default_factory=dict)
    xgmi_wire: Wire = Wire(kind=11, weight=15)
    switch_on_card: bool = False
    numa: bool = True
    bmc: bool = True

    def numa_node(self, slot: Slot) -> int:
        """The number in `numa_node`; -1 is the kernel's none."""
        return slot.cpu if self.numa else -1

    def hive_of(self, slot: int) -> int | None:
        """The hive a slot is in, by the slot's index."""
        return next((hive for hive, members in self.hives.items() if slot in members), None)

    def xgmi_hops(self, slot: int, other: int) -> int:
        """The length of the shortest way over XGMI; both slots are in one hive."""
        reached, hops = {slot}, 0
        while other not in reached:
            reached |= {b for pair in self.xgmi_links for a, b in (pair, pair[::-1]) if a in reached}
            hops += 1
        return hops

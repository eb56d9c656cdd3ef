"""Simulated machines: which GPU sits where and how they are wired. Data only.

Addresses, NUMA nodes, hives, unique ids and wires are those of public captures: MI300X, MI210 (AMD's
device-plugin test data), MI300A (the CEEMS exporter's test data), MI250X (RCCL's topology models; its ids
are made up). Root ports and bridges follow `lspci -PP` of a MI300X node and are derived elsewhere.
"""

from amdgpu_plugin.simulation.gpus import (
    MI210_GPU,
    MI250X_GPU,
    MI300A_GPU,
    MI300X_GPU,
    PHOENIX_GPU,
    RX7900XTX_GPU,
)
from amdgpu_plugin.simulation.parts import GIB, Board, Cpu, PciId, Slot, Wire

BMC = PciId(
    vendor=0x1A03, device=0x2000, subsystem_vendor=0x1A03, subsystem_device=0x2000, pci_class=0x030000
)
BMC_PATH = "devices/pci0000:f0/0000:f0:05.2/0000:f1:00.0/0000:f2:00.0"
BRIDGE = PciId(
    vendor=0x1022, device=0x1500, subsystem_vendor=0x1022, subsystem_device=0x1500, pci_class=0x060400
)

CARD_SWITCH = PciId(
    vendor=0x1002, device=0x1478, subsystem_vendor=0x1002, subsystem_device=0x1478, pci_class=0x060400
)
"""A port of the switch that is on RDNA cards themselves."""


def _mesh(*groups: tuple[int, ...]) -> dict[tuple[int, int], int]:
    return {(a, b): 1 for group in groups for a in group for b in group if a < b}


MI300X = Board(
    product=MI300X_GPU,
    cpus=(Cpu(96, 0, "0-95,192-287", 1160 * GIB), Cpu(96, 128, "96-191,288-383", 1160 * GIB)),
    slots=(
        Slot("0000:05:00.0", "0000:00:01.1", 0, 0xE3AA140F9A5F9E31),
        Slot("0000:27:00.0", "0000:20:01.1", 0, 0x2250F807CAF2231A),
        Slot("0000:47:00.0", "0000:40:01.1", 0, 0xD802D560D4BA851D),
        Slot("0000:65:00.0", "0000:60:01.1", 0, 0xA70757A01276547A),
        Slot("0000:85:00.0", "0000:80:01.1", 1, 0xD465AF38BCAA89BD),
        Slot("0000:a7:00.0", "0000:a0:01.1", 1, 0xBD5B5286DA906CEA),
        Slot("0000:c7:00.0", "0000:c0:01.1", 1, 0xB8F159DCBA049DE9),
        Slot("0000:e5:00.0", "0000:e0:01.1", 1, 0xDD197AD1B50577F6),
    ),
    bridges=4,
    cpu_wire=Wire(kind=2, weight=20, max_bandwidth=64000),
    cpu_clock_mhz=2750,
    cpu_distance=32,
    hives={15188982192727901047: tuple(range(8))},
    xgmi_links=_mesh(tuple(range(8))),
    xgmi_wire=Wire(kind=11, weight=15, min_bandwidth=64000, max_bandwidth=64000),
)
MI300A = Board(
    product=MI300A_GPU,
    cpus=tuple(
        Cpu(48, 64 * n, f"{24 * n}-{24 * n + 23},{96 + 24 * n}-{119 + 24 * n}", 128 * GIB) for n in range(4)
    ),
    slots=(
        Slot("0000:02:00.0", "0000:00:01.1", 0, 0x6CDB410C2F219AC0),
        Slot("0001:02:00.0", "0001:00:01.1", 1, 0xA5B43667C73CAC87),
        Slot("0002:02:00.0", "0002:00:01.1", 2, 0x655F5D89689C7F67),
        Slot("0003:02:00.0", "0003:00:01.1", 3, 0x5F8FB5CF1F014BE1),
    ),
    bridges=0,
    cpu_wire=Wire(kind=11, weight=13, min_bandwidth=819200, max_bandwidth=819200),
    cpu_clock_mhz=3700,
    cpu_distance=32,
    cpus_in_hive=True,
    hives={9034655720432782706: (0, 1, 2, 3)},
    xgmi_links=_mesh((0, 1, 2, 3)),
    xgmi_wire=Wire(kind=11, weight=15, min_bandwidth=64000, max_bandwidth=64000),
)
MI210 = Board(
    product=MI210_GPU,
    cpus=(Cpu(64, 0, "0-63", 504 * GIB), Cpu(64, 64, "64-127", 504 * GIB)),
    slots=(
        Slot("0000:63:00.0", "0000:60:03.1", 0, 0x1901EAD3A2ECD4A6),
        Slot("0000:43:00.0", "0000:40:01.1", 0, 0x51276AC12CE05DB3),
        Slot("0000:03:00.0", "0000:00:03.1", 0, 0x93BB3629C01AEA1C),
        Slot("0000:26:00.0", "0000:20:03.1", 0, 0x4344E78B718814CD),
        Slot("0000:e3:00.0", "0000:e0:03.1", 1, 0xAEA834AA2723EB57),
        Slot("0000:c3:00.0", "0000:c0:01.1", 1, 0xA3781B5A10FCF54A),
        Slot("0000:83:00.0", "0000:80:03.1", 1, 0xF83F06EFB714E6CF),
        Slot("0000:a3:00.0", "0000:a0:03.1", 1, 0xC34EC50444DD0A6D),
    ),
    bridges=2,
    cpu_wire=Wire(kind=2, weight=20, min_bandwidth=312, max_bandwidth=32000),
    cpu_clock_mhz=2450,
    cpu_distance=32,
    hives={12609507387757274807: (0, 1, 2, 3), 18091350218769748594: (4, 5, 6, 7)},
    xgmi_links=_mesh((0, 1, 2, 3), (4, 5, 6, 7)),
    xgmi_wire=Wire(kind=11, weight=15, min_bandwidth=50000, max_bandwidth=50000, sdma_mask=28),
)
# The two dies of a package are neighbours in the list and joined by four links.
MI250X = Board(
    product=MI250X_GPU,
    cpus=tuple(
        Cpu(32, 32 * n, f"{16 * n}-{16 * n + 15},{64 + 16 * n}-{79 + 16 * n}", 126 * GIB) for n in range(4)
    ),
    slots=(
        Slot("0000:c1:00.0", "0000:c0:01.1", 3, 0x1A7C3E2B90D45F01),
        Slot("0000:c5:00.0", "0000:c0:02.1", 3, 0x1A7C3E2B90D45F02),
        Slot("0000:c9:00.0", "0000:c0:03.1", 1, 0x2B8D4F3CA1E56011),
        Slot("0000:cd:00.0", "0000:c0:04.1", 1, 0x2B8D4F3CA1E56012),
        Slot("0000:d1:00.0", "0000:c0:05.1", 0, 0x3C9E504DB2F67121),
        Slot("0000:d5:00.0", "0000:c0:06.1", 0, 0x3C9E504DB2F67122),
        Slot("0000:d9:00.0", "0000:c0:07.1", 2, 0x4DAF615EC3078231),
        Slot("0000:dd:00.0", "0000:c0:08.1", 2, 0x4DAF615EC3078232),
    ),
    bridges=0,
    cpu_wire=Wire(kind=11, weight=15, min_bandwidth=50000, max_bandwidth=50000),
    cpu_clock_mhz=2450,
    cpu_distance=12,
    cpus_in_hive=True,
    hives={5760416393521208493: tuple(range(8))},
    xgmi_links={
        (0, 1): 4,
        (0, 2): 1,
        (0, 6): 2,
        (1, 3): 1,
        (1, 5): 1,
        (2, 3): 4,
        (2, 4): 2,
        (3, 7): 1,
        (4, 5): 4,
        (4, 6): 1,
        (5, 7): 1,
        (6, 7): 4,
    },
    xgmi_wire=Wire(kind=11, weight=15, min_bandwidth=50000, max_bandwidth=50000, sdma_mask=28),
)
RADEON = Board(
    product=RX7900XTX_GPU,
    cpus=(Cpu(32, 0, "0-31", 62 * GIB),),
    slots=tuple(
        Slot(f"0000:{bus:02x}:00.0", f"0000:{bus & 0xE0:02x}:01.1", 0, 0x9C1E6F0A4B270000 + bus)
        for bus in (0x03, 0x23, 0x43, 0x63, 0x83, 0xA3, 0xC3, 0xE3)
    ),
    bridges=2,
    switch_on_card=True,
    cpu_wire=Wire(kind=2, weight=20, max_bandwidth=32000),
    cpu_clock_mhz=4500,
    numa=False,
    bmc=False,
)
APU = Board(
    product=PHOENIX_GPU,
    cpus=(Cpu(16, 0, "0-15", 62867955712),),
    slots=(Slot("0000:64:00.0", "0000:00:08.1", 0, 0),),
    bridges=0,
    cpu_wire=Wire(kind=2, weight=20, max_bandwidth=32000, sdma_mask=1),
    cpu_clock_mhz=3301,
    numa=False,
    bmc=False,
)

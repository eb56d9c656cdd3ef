"""The GPUs of simulated machines. Data only.

KFD's numbers are those of public captures: MI300X and MI210 (AMD's device-plugin test data), MI300A (the
CEEMS exporter's test data), Phoenix and RX 7900 XTX (LACT's snapshots). Where a capture is silent, as on
MI250X, values are derived: by the kernel's formula where there is one, otherwise plausible.
"""

from amdgpu_plugin.simulation.parts import GIB, PciId, Product


def _sensor(number: int, label: str, now: int, critical: int, emergency: int) -> dict[str, str]:
    return {
        f"temp{number}_label": label,
        f"temp{number}_input": f"{now}",
        f"temp{number}_crit": f"{critical}",
        f"temp{number}_crit_hyst": "-273150",
        f"temp{number}_emergency": f"{emergency}",
    }


def _clocks(shader_mhz: int, memory_mhz: int) -> dict[str, str]:
    return {
        "freq1_label": "sclk",
        "freq1_input": f"{shader_mhz}000000",
        "freq2_label": "mclk",
        "freq2_input": f"{memory_mhz}000000",
    }


_CDNA_KFD = {
    "max_waves_per_simd": 8,
    "lds_size_in_kb": 64,
    "num_gws": 64,
    "wave_front_size": 64,
    "simd_arrays_per_engine": 1,
    "cu_per_simd_array": 14,
    "simd_per_cu": 4,
    "max_slots_scratch_cu": 32,
    "gfx_target_version": 90010,
    "num_sdma_queues_per_engine": 8,
    "num_cp_queues": 24,
    "max_engine_clk_fcompute": 1700,
    "fw_version": 92,
    "capability": 746037888,
    "debug_prop": 470,
    "sdma_fw_version": 9,
}
_MI300_KFD = _CDNA_KFD | {
    "cu_per_simd_array": 10,
    "gfx_target_version": 90402,
    "max_engine_clk_fcompute": 2100,
    "debug_prop": 1511,
}
_RDNA_KFD = _CDNA_KFD | {
    "max_waves_per_simd": 16,
    "wave_front_size": 32,
    "simd_arrays_per_engine": 2,
    "simd_per_cu": 2,
    "num_sdma_queues_per_engine": 6,
    "num_cp_queues": 8,
    "debug_prop": 1495,
    "sdma_fw_version": 23,
    "capability": 709075584,
}

# smu_v13_0_6 knows no edge sensor, no voltage and no averaged power.
_MI300_SENSORS = (
    _sensor(2, "junction", 41000, 100000, 105000)
    | _sensor(3, "mem", 34000, 105000, 110000)
    | _clocks(132, 900)
    | {"power1_label": "PPT", "power1_input": "138000000", "power1_cap": "750000000"}
)
_MI200_SENSORS = (
    _sensor(1, "edge", 38000, 100000, 105000)
    | _sensor(2, "junction", 40000, 105000, 110000)
    | _sensor(3, "mem", 39000, 95000, 100000)
    | _clocks(800, 1600)
    | {"power1_label": "PPT", "power1_average": "41000000", "power1_cap": "300000000"}
)
_RAS = ("umc", "sdma", "gfx", "mmhub", "xgmi_wafl")

MI300X_GPU = Product(
    pci=PciId(
        vendor=0x1002, device=0x74A1, subsystem_vendor=0x1002, subsystem_device=0x74A1, pci_class=0x120000
    ),
    fru_name="AMD Instinct MI300X",
    kfd_name="ip discovery",
    vram_bytes=206141652992,
    vram_used_bytes=297504768,
    gtt_bytes=540 * GIB,
    memory_bank=(206141652992, 8192, 1300),
    vbios="113-M3000100-102",
    link_speed="32.0 GT/s PCIe",
    kfd=_MI300_KFD | {"fw_version": 177, "capability": 2893521536, "sdma_fw_version": 24},
    simds_per_xcc=152,
    arrays_per_xcc=4,
    caches_per_xcc=78,
    sdma_per_xcc=2,
    sensors=_MI300_SENSORS,
    metrics=(1664, 1, 6),
    xccs=8,
    modes={"SPX": 1, "DPX": 2, "QPX": 4, "CPX": 8},
    memory_modes=("NPS1", "NPS4"),
    ras_blocks=_RAS,
)
MI300A_GPU = Product(
    pci=PciId(
        vendor=0x1002, device=0x74A0, subsystem_vendor=0x1002, subsystem_device=0x74A0, pci_class=0x120000
    ),
    fru_name="AMD Instinct MI300A",
    kfd_name="ip discovery",
    vram_bytes=128 * GIB,
    vram_used_bytes=297504768,
    gtt_bytes=128 * GIB,
    memory_bank=(128 * GIB, 8192, 1300),
    vbios="113-M3000A00-100",
    link_speed="32.0 GT/s PCIe",
    kfd=_MI300_KFD | {"fw_version": 138, "capability": 1013424768, "sdma_fw_version": 19},
    simds_per_xcc=152,
    arrays_per_xcc=4,
    caches_per_xcc=78,
    sdma_per_xcc=2,
    sensors=_MI300_SENSORS | {"power1_cap": "550000000"},
    metrics=(1664, 1, 6),
    xccs=6,
    modes={"SPX": 1, "TPX": 3, "CPX": 6},
    memory_modes=("NPS1",),
    ras_blocks=_RAS,
)
MI210_GPU = Product(
    pci=PciId(
        vendor=0x1002,
        device=0x740F,
        subsystem_vendor=0x1002,
        subsystem_device=0x0C34,
        pci_class=0x038000,
        revision=2,
    ),
    fru_name="AMD Instinct MI210",
    kfd_name="aldebaran",
    vram_bytes=68702699520,
    vram_used_bytes=10858496,
    gtt_bytes=252 * GIB,
    memory_bank=(68702699520, 4096, 1600),
    vbios="113-D67301-063",
    link_speed="16.0 GT/s PCIe",
    kfd=_CDNA_KFD,
    simds_per_xcc=416,
    arrays_per_xcc=8,
    caches_per_xcc=215,
    sdma_per_xcc=5,
    sensors=_MI200_SENSORS,
    metrics=(120, 1, 3),
    ras_blocks=_RAS,
)
MI250X_GPU = Product(
    pci=PciId(
        vendor=0x1002,
        device=0x7408,
        subsystem_vendor=0x1002,
        subsystem_device=0x0B0C,
        pci_class=0x038000,
        revision=1,
    ),
    fru_name="AMD Instinct MI250X",
    kfd_name="aldebaran",
    vram_bytes=68702699520,
    vram_used_bytes=10858496,
    gtt_bytes=252 * GIB,
    memory_bank=(68702699520, 4096, 1600),
    vbios="113-D65201-042",
    link_speed="16.0 GT/s PCIe",
    kfd=_CDNA_KFD,
    simds_per_xcc=440,
    arrays_per_xcc=8,
    caches_per_xcc=223,
    sdma_per_xcc=5,
    sensors=_MI200_SENSORS | {"power1_cap": "560000000"},
    metrics=(120, 1, 3),
    ras_blocks=_RAS,
)
RX7900XTX_GPU = Product(
    pci=PciId(
        vendor=0x1002,
        device=0x744C,
        subsystem_vendor=0x1DA2,
        subsystem_device=0xE471,
        pci_class=0x030000,
        revision=0xC8,
    ),
    fru_name=None,
    kfd_name="ip discovery",
    vram_bytes=25753026560,
    vram_used_bytes=912261120,
    gtt_bytes=31 * GIB,
    memory_bank=(25753026560, 384, 1249),
    vbios="113-D70401XT-N11",
    link_speed="16.0 GT/s PCIe",
    kfd=_RDNA_KFD | {"cu_per_simd_array": 8, "gfx_target_version": 110000, "max_engine_clk_fcompute": 2526},
    simds_per_xcc=192,
    arrays_per_xcc=12,
    caches_per_xcc=157,
    sdma_per_xcc=2,
    sensors=_sensor(1, "edge", 53000, 100000, 105000)
    | _sensor(2, "junction", 61000, 110000, 115000)
    | _sensor(3, "mem", 68000, 108000, 113000)
    | _clocks(31, 1249)
    | {"power1_label": "PPT", "power1_average": "68000000", "power1_cap": "290000000"}
    | {"fan1_input": "0", "in0_label": "vddgfx", "in0_input": "686"},
    metrics=(120, 1, 3),
    connectors=("DP-1", "HDMI-A-1"),
)
PHOENIX_GPU = Product(
    pci=PciId(
        vendor=0x1002,
        device=0x15BF,
        subsystem_vendor=0x17AA,
        subsystem_device=0x50DA,
        pci_class=0x030000,
        revision=0xDD,
    ),
    fru_name=None,
    kfd_name="ip discovery",
    vram_bytes=GIB // 2,
    vram_used_bytes=96 << 20,
    gtt_bytes=31433977856,
    # an APU computes in the system's memory and tells that, not its carve-out
    memory_bank=(31433977856, 128, 800),
    vbios="113-PHXGENERIC-001",
    link_speed="16.0 GT/s PCIe",
    kfd=_RDNA_KFD
    | {
        "cu_per_simd_array": 6,
        "gfx_target_version": 110003,
        "max_engine_clk_fcompute": 2700,
        "fw_version": 67,
    },
    simds_per_xcc=24,
    arrays_per_xcc=2,
    caches_per_xcc=25,
    sdma_per_xcc=1,
    sensors={
        "temp1_label": "edge",
        "temp1_input": "25000",
        "freq1_label": "sclk",
        "freq1_input": "800000000",
        "power1_label": "PPT",
        "power1_average": "3103000",
        "power1_input": "3142000",
        "in0_label": "vddgfx",
        "in0_input": "814",
    },
    metrics=(120, 2, 1),
    connectors=("eDP-1",),
)

"""Real Radeons, as captured by LACT: the whole of what is read of each."""

import pytest

from amdgpu_plugin.capture_file import load_capture
from amdgpu_plugin.telemetry.readings import (
    AerCounters,
    Memory,
    MetricsFormat,
    PcieLink,
    Readings,
    Tally,
    Temperature,
)
from amdgpu_plugin.telemetry.sampler import read_gpu_readings

PHOENIX = Readings(
    taken_at=5.0,
    tally=Tally(answered=7, guarded=7),
    temperatures=(Temperature("edge", 25.0, None, None),),
    power_watts=3.103,
    clocks_hertz={"sclk": 800e6},
    gfx_busy_ratio=0.0,
    vcn_busy_ratio=0.0,
    vram=Memory(4294967296, 1272893440),
    visible_vram=Memory(4294967296, 1272893440),
    gtt=Memory(31433977856, 211398656),
    pcie_link=PcieLink(16e9, 16, 16e9, 16),
    metrics_format=MetricsFormat(120, 2, 1),
)
RX6900XT = Readings(
    taken_at=5.0,
    tally=Tally(answered=11, guarded=11),
    temperatures=(
        Temperature("edge", 56.0, 100.0, 105.0),
        Temperature("junction", 59.0, 110.0, 115.0),
        Temperature("mem", 54.0, 100.0, 105.0),
    ),
    power_watts=36.0,
    power_cap_watts=289.0,
    clocks_hertz={"sclk": 500e6, "mclk": 1000e6},
    fan_rpm=0,
    gfx_busy_ratio=0.03,
    memory_busy_ratio=0.0,
    vram=Memory(17163091968, 668274688),
    visible_vram=Memory(17163091968, 668274688),
    gtt=Memory(16786171904, 62369792),
    pcie_link=PcieLink(16e9, 16, 16e9, 16),
    pcie_replays=0,
    aer=AerCounters(0, 0, 0),
    metrics_format=MetricsFormat(120, 1, 3),
)
RX7600S = Readings(
    taken_at=5.0,
    tally=Tally(answered=10, guarded=10),
    temperatures=(
        Temperature("edge", 53.0, 100.0, 105.0),
        Temperature("junction", 54.0, 100.0, 105.0),
        Temperature("mem", 60.0, 105.0, 110.0),
    ),
    power_watts=1.0,
    power_cap_watts=95.0,
    clocks_hertz={"sclk": 0.0, "mclk": 96e6},
    fan_rpm=0,
    gfx_busy_ratio=0.0,
    pcie_link=PcieLink(16e9, 8, None, None),
    metrics_format=MetricsFormat(120, 1, 3),
)
VANGOGH = Readings(
    taken_at=5.0,
    tally=Tally(answered=6, guarded=6),
    temperatures=(Temperature("edge", 56.0, None, None),),
    power_watts=3.218,
    power_cap_watts=15.0,
    clocks_hertz={"sclk": 200e6},
    gfx_busy_ratio=0.0,
    pcie_link=PcieLink(8e9, 16, None, None),
)
RX580 = Readings(
    taken_at=5.0,
    tally=Tally(answered=8, guarded=8),
    temperatures=(Temperature("edge", 44.0, 94.0, None),),
    power_watts=41.045,
    power_cap_watts=155.0,
    clocks_hertz={"sclk": 798080000.0, "mclk": 1750e6},
    fan_rpm=595,
    gfx_busy_ratio=0.11,
    memory_busy_ratio=0.02,
    vram=Memory(4294967296, 536870912),
    visible_vram=Memory(268435456, 150302720),
    gtt=Memory(8342712320, 92377088),
    pcie_link=PcieLink(8e9, 16, 8e9, 16),
    pcie_replays=3,
)
HD7870 = Readings(taken_at=5.0, pcie_link=PcieLink(8e9, 1, None, None))


@pytest.mark.parametrize(
    ("fixture", "address", "expected"),
    [
        ("lact-phoenix", "0000:64:00.0", PHOENIX),
        ("lact-rx6900xt", "0000:0c:00.0", RX6900XT),
        ("lact-rx7600s", "0000:03:00.0", RX7600S),
        ("lact-vangogh", "0000:04:00.0", VANGOGH),
        ("lact-rx580", "0000:09:00.0", RX580),
        ("lact-hd7870", None, HD7870),
    ],
)
def test_readings_of_real_gpus(fixture: str, address: str | None, expected: Readings) -> None:
    sysfs = load_capture(f"tests/fixtures/sysfs/{fixture}.capture")
    found = sysfs.list("bus/pci/devices")
    last = address or getattr(found, "value", ("",))[-1]
    assert read_gpu_readings(sysfs, last, lambda: 5.0) == expected

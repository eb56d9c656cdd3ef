import pytest

from amdgpu_plugin.telemetry.readings import Temperature
from amdgpu_plugin.telemetry.throttle import causes_in_force

HOTSPOT = 1 << 36


@pytest.mark.parametrize(
    ("bits", "causes"),
    [
        (None, ()),
        (0, ()),
        (1 << 0, ("power",)),
        (1 << 15 | 1 << 16, ("power", "current")),
        (1 << 34, ("thermal",)),
        (1 << 47 | 1 << 48, ("thermal", "other")),
        (1 << 63 | 1 << 31 | 1 << 7, ("power", "current", "other")),
        (HOTSPOT, ()),
        (HOTSPOT | 1 << 5, ("power",)),
    ],
)
def test_kinds_of_causes_by_their_bits(bits: int | None, causes: tuple[str, ...]) -> None:
    assert causes_in_force(bits, ()) == causes


@pytest.mark.parametrize(
    ("temperature", "believed"),
    [
        (Temperature("junction", 95.0, 100.0, 105.0), True),
        (Temperature("junction", 94.9, 100.0, 105.0), False),
        (Temperature("junction", 54.0, 100.0, 105.0), False),
        (Temperature("junction", 120.0, None, 105.0), False),
        (Temperature("mem", 104.0, 105.0, 110.0), False),
    ],
)
def test_hotspot_is_believed_only_near_its_critical_temperature(
    temperature: Temperature, *, believed: bool
) -> None:
    assert causes_in_force(HOTSPOT, (temperature,)) == (("thermal",) if believed else ())

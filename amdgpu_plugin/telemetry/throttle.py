"""Why the clocks are held down now: the bits that gpu_metrics 1.3 and 2.2–2.4 end with.

The same for all ASICs (SMU_THROTTLER_*_BIT in the kernel's drivers/gpu/drm/amd/pm/swsmu/inc/amdgpu_smu.h):
bits 0–15 power, 16–31 current, 32–47 temperature, the rest other.
"""

from collections.abc import Iterable

from amdgpu_plugin.telemetry.readings import Temperature

_KINDS = {"power": 0xFFFF, "current": 0xFFFF << 16, "thermal": 0xFFFF << 32, "other": 0xFFFF << 48}
_HOTSPOT = 1 << 36
_NEAR_CELSIUS = 5
_HOTSPOT_SENSOR = "junction"


def causes_in_force(bits: int | None, temperatures: Iterable[Temperature]) -> tuple[str, ...]:
    """The kinds of causes, each once. The hotspot's bit counts only within 5 °C of its critical temperature.

    On RDNA3 and RDNA4 it is set for ever, at whatever temperature (ROCm/rocm-systems issue 11781).
    """
    if bits is None:
        return ()
    if not any(_is_near_critical(each) for each in temperatures):
        bits &= ~_HOTSPOT
    return tuple(kind for kind, mask in _KINDS.items() if bits & mask)


def _is_near_critical(temperature: Temperature) -> bool:
    critical = temperature.critical_celsius
    if temperature.sensor != _HOTSPOT_SENSOR or critical is None:
        return False
    return temperature.celsius >= critical - _NEAR_CELSIUS

"""Sensors: `<device>/hwmon/hwmonN/`, whose N changes with every load of the driver.

Which sensor a channel is, its label says, not its number: MI300 has no edge, APUs nothing but edge. Units are
the kernel's (Documentation/hwmon/sysfs-interface): millidegrees Celsius, microwatts, hertz, turns a minute.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from amdgpu_plugin.telemetry.numbers import bare, parse_measured
from amdgpu_plugin.telemetry.readings import Temperature

DRIVER_NAME = "amdgpu"

_STATIC = re.compile(r"temp[1-9][0-9]?_(label|crit|emergency)|freq[1-9][0-9]?_label", re.ASCII)
_MEASURED = re.compile(r"(temp|freq)[1-9][0-9]?_input|power1_(average|input|cap)|fan1_input", re.ASCII)
_INPUT = re.compile(r"(temp|freq)([1-9][0-9]?)_input", re.ASCII)
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,31}", re.ASCII)
_MILLI, _MICRO = 1000, 1_000_000
_ABSOLUTE_ZERO = -273.15  # what the driver writes for a limit it does not have

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sensors:
    """Everything read of one hwmon folder. `clocks_hertz` by label (sclk, mclk)."""

    temperatures: tuple[Temperature, ...] = ()
    power_watts: float | None = None
    power_cap_watts: float | None = None
    clocks_hertz: Mapping[str, float] = field(default_factory=dict)
    fan_rpm: int | None = None


def is_measured(name: str) -> bool:
    """True for a file that the driver asks the GPU for; labels and limits it knows by heart."""
    return _MEASURED.fullmatch(name) is not None


def is_wanted(name: str) -> bool:
    """True for the files that parse_sensors understands."""
    return is_measured(name) or _STATIC.fullmatch(name) is not None


def parse_sensors(files: Mapping[str, str]) -> Sensors:
    """From the texts of the files by name; one that is missing was not read, and says nothing."""
    average, power = (
        parse_measured(files.get(f"power1_{name}"), per_unit=_MICRO) for name in ("average", "input")
    )
    cap = parse_measured(files.get("power1_cap"), per_unit=_MICRO)
    fan = parse_measured(files.get("fan1_input"))
    return Sensors(
        temperatures=tuple(_by_label(files, "temp", _temperature).values()),
        power_watts=_not_negative(power if average is None else average),
        power_cap_watts=_not_negative(cap),
        clocks_hertz=_by_label(files, "freq", _clock),
        fan_rpm=int(fan) if fan is not None and fan >= 0 else None,
    )


def _by_label(
    files: Mapping[str, str], kind: str, read: Callable[[Mapping[str, str], str, str], T | None]
) -> dict[str, T]:
    """What `read` makes of each channel, by its label.

    A channel whose label is missing, garbled or taken goes by its own name (temp2): no two are one sensor.
    """
    found: dict[str, T] = {}
    for channel in _channels(files, kind):
        label = bare(files.get(f"{channel}_label", ""))
        name = label if _LABEL.fullmatch(label) and label not in found else channel
        value = read(files, channel, name)
        if value is not None:
            found.setdefault(name, value)
    return found


def _channels(names: Iterable[str], kind: str) -> list[str]:
    numbers = (int(found[2]) for name in names if (found := _INPUT.fullmatch(name)) and found[1] == kind)
    return [f"{kind}{number}" for number in sorted(set(numbers))]


def _temperature(files: Mapping[str, str], channel: str, sensor: str) -> Temperature | None:
    celsius, critical, emergency = (
        _celsius(files.get(f"{channel}_{name}")) for name in ("input", "crit", "emergency")
    )
    return None if celsius is None else Temperature(sensor, celsius, critical, emergency)


def _celsius(text: str | None) -> float | None:
    value = parse_measured(text, per_unit=_MILLI)
    return value if value is not None and value > _ABSOLUTE_ZERO else None


def _clock(files: Mapping[str, str], channel: str, _label: str) -> float | None:
    return _not_negative(parse_measured(files.get(f"{channel}_input"), per_unit=1))


def _not_negative(value: float | None) -> float | None:
    return value if value is not None and value >= 0 else None

"""Temperatures against the card's own limits: Overheated, Hot."""

from collections.abc import Iterator
from dataclasses import replace

from amdgpu_plugin.health.evidence import Evidence, Moment, Sampled
from amdgpu_plugin.health.policy.holds import Found, settled
from amdgpu_plugin.health.policy.memory import Health, Sensor
from amdgpu_plugin.health.policy.rules import Rules
from amdgpu_plugin.telemetry.readings import Temperature

_READINGS = 2
_LOWEST_LIMIT, _HIGHEST_LIMIT = 60.0, 150.0
"""Degrees Celsius. Firmware tells 0 or 255 where it has no limit; no chip works above the highest."""


def judge_heat(health: Health, evidence: Evidence, rules: Rules, now: Moment) -> Health:
    """A sensor that does not tell keeps what it told last."""
    if not isinstance(evidence, Sampled):
        return health
    readings = {
        each.sensor: each for each in evidence.readings.temperatures if each.celsius <= _HIGHEST_LIMIT
    }
    earlier = {sensor.name: sensor for sensor in health.sensors}
    after = {name: _next(earlier.get(name, Sensor(name)), each) for name, each in readings.items()}
    sensors = tuple((earlier | after)[name] for name in sorted(earlier | after))
    health = replace(health, sensors=sensors)
    over = " and ".join(_named(sensors, "overheated"))
    hot = " and ".join(_named(sensors, "hot"))
    over = f"{over} at or above the emergency limit" if over else ""
    hot = f"{hot} at or above the critical limit" if hot else ""
    health = settled(health, Found("Overheated", over, "readings"), rules, now)
    return settled(health, Found("Hot", hot, "readings"), rules, now)


def _next(before: Sensor, reading: Temperature) -> Sensor:
    critical, emergency = _limit(reading.critical_celsius), _limit(reading.emergency_celsius)
    end = min((limit for limit in (critical, emergency) if limit is not None), default=None)
    at_emergency = _counted(before.emergency_readings, reading, emergency)
    at_critical = _counted(before.critical_readings, reading, critical)
    return Sensor(
        before.name,
        emergency_readings=at_emergency,
        critical_readings=at_critical,
        overheated=at_emergency >= _READINGS or (before.overheated and not _below(reading, end)),
        hot=at_critical >= _READINGS or (before.hot and not _below(reading, critical)),
    )


def _limit(celsius: float | None) -> float | None:
    return celsius if celsius is not None and _LOWEST_LIMIT <= celsius <= _HIGHEST_LIMIT else None


def _counted(before: int, reading: Temperature, limit: float | None) -> int:
    return before + 1 if limit is not None and reading.celsius >= limit else 0


def _below(reading: Temperature, limit: float | None) -> bool:
    return limit is not None and reading.celsius < limit


def _named(sensors: tuple[Sensor, ...], state: str) -> Iterator[str]:
    return (sensor.name for sensor in sensors if getattr(sensor, state))

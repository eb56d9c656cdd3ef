"""gpu_metrics: what the firmware tells at once, in the kernel's structures (kgd_pp_interface.h).

Little-endian, naturally aligned; a field of all ones was not filled. Offsets are in bytes.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from amdgpu_plugin.simulation.parts import Product
from amdgpu_plugin.simulation.vitals import Vitals

TICKS_PER_SECOND = 1000
COUNTS_THROTTLING = (1, 6)
"""The version that tells how long each cause held the clocks down."""

_UPTIME_SECONDS = 3600
_ENERGY_UNITS_PER_JOULE = 1 << 16
_NANOSECONDS, _FIRMWARE_TICKS = 1_000_000_000, 100_000_000
_THROTTLED_SHARE = 0.9
_XGMI_LINKS, _XGMI_KB = 7, 1 << 20
_PARTITIONS, _PARTITION_BYTES = 312, 168
_UNKNOWN = 0xFFFF

Field = tuple[int, str, tuple[int, ...]]
"""Offset, format of the struct module, values."""


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Time since a GPU had been up for an hour, and for how much of it heat held the clocks down."""

    seconds: int = 0
    throttled_seconds: float = 0

    def after_a_second(self, *, throttled: bool) -> "Elapsed":
        """A GPU that is throttled is so for 90 % of the time."""
        return Elapsed(self.seconds + 1, self.throttled_seconds + _THROTTLED_SHARE * throttled)


@dataclass(frozen=True, slots=True)
class Moment:
    """A GPU some time after that moment. `mode` is its compute partition mode."""

    product: Product
    vitals: Vitals
    mode: str | None
    in_hive: bool
    elapsed: Elapsed = Elapsed()

    @property
    def uptime_seconds(self) -> int:
        """Since the driver was loaded."""
        return _UPTIME_SECONDS + self.elapsed.seconds

    @property
    def microwatts(self) -> int:
        """Always the same."""
        sensors = self.product.sensors
        return int(sensors.get("power1_average") or sensors["power1_input"])

    @property
    def watts(self) -> int:
        """The same, rounded."""
        return round(self.microwatts / 1e6)

    @property
    def energy(self) -> int:
        """In units of 2^-16 J."""
        return round(self.microwatts / 1e6 * self.uptime_seconds * _ENERGY_UNITS_PER_JOULE)

    @property
    def clocks(self) -> tuple[int, int]:
        """Shader and memory, in MHz; an APU tells no memory clock."""
        shader, memory = (int(self.product.sensors.get(f"freq{number}_input", 0)) for number in (1, 2))
        return shader // 1_000_000, memory // 1_000_000 or _UNKNOWN

    @property
    def link(self) -> tuple[int, int]:
        """Lanes and tenths of GT/s."""
        told = self.vitals.gigatransfers or float(self.product.link_speed.split()[0])
        return self.vitals.lanes or 16, round(told * 10)

    def degrees(self, *sensors: str) -> tuple[int, ...]:
        """By label, in whole degrees Celsius."""
        told = (celsius_of(self.product, self.vitals, sensor) for sensor in sensors)
        return tuple(_UNKNOWN if celsius is None else round(celsius) for celsius in told)


def gpu_metrics(now: Moment) -> bytes:
    """The file."""
    size, layout, content = now.product.metrics
    blob = bytearray(b"\xff" * size)
    struct.pack_into("<HBB", blob, 0, size, layout, content)
    for offset, form, values in _LAYOUTS[layout, content](now):
        struct.pack_into(f"<{form}", blob, offset, *values)
    return bytes(blob)


def sensor_number(product: Product, sensor: str) -> int | None:
    """As in `temp2_label`; None where the product has no sensor of that label."""
    return next((n for n in range(1, 10) if product.sensors.get(f"temp{n}_label") == sensor), None)


def celsius_of(product: Product, vitals: Vitals, sensor: str) -> float | None:
    """A sensor's temperature by its label."""
    number = sensor_number(product, sensor)
    if number is None:
        return None
    return vitals.celsius.get(sensor, int(product.sensors[f"temp{number}_input"]) / 1000)


def _v1_3(now: Moment) -> Iterator[Field]:
    shader, memory = now.clocks
    yield 4, "3H", now.degrees("edge", "junction", "mem")
    yield 16, "4H", (now.vitals.gfx_percent, 0, 0, now.watts)
    # Radeons count energy in a unit nobody knows, or not at all
    yield 24, "Q", (now.energy if now.product.ras_blocks else 0,)
    yield 32, "Q", (now.uptime_seconds * _NANOSECONDS,)
    yield 40, "3H", (shader, _UNKNOWN, memory)
    yield 54, "3H", (shader, _UNKNOWN, memory)
    yield 68, "I", (0,)
    yield 72, "3H", (0, *now.link)
    yield 80, "2I", (0, 0)
    if now.product.ras_blocks:
        yield 88, "4H", now.degrees("mem") * 4
    yield 96, "Q", (now.uptime_seconds * _FIRMWARE_TICKS,)
    yield 112, "Q", (0,)


def _v1_6(now: Moment) -> Iterator[Field]:
    shader, memory = now.clocks
    ticks = now.uptime_seconds * TICKS_PER_SECOND
    held_down = round(now.elapsed.throttled_seconds * TICKS_PER_SECOND)
    yield 4, "2H", now.degrees("junction", "mem")
    yield 10, "3H", (now.watts, now.vitals.gfx_percent, 0)
    yield 16, "2Q", (now.energy, now.uptime_seconds * _NANOSECONDS)
    # all ticks; of those prochot, ppt, socket, voltage regulator, HBM
    yield 32, "6I", (ticks, 0, 0, held_down, 0, 0)
    yield 60, "2H", now.link
    yield 68, "2I", (0, 0)
    yield 80, "5Q2I", (0,) * 7
    if now.in_hive:
        yield 128, f"{_XGMI_LINKS}Q", (_XGMI_KB,) * _XGMI_LINKS
        yield 192, f"{_XGMI_LINKS}Q", (_XGMI_KB,) * _XGMI_LINKS
    yield 256, "Q", (now.uptime_seconds * _FIRMWARE_TICKS,)
    yield 264, f"{now.product.xccs}H", (shader,) * now.product.xccs
    yield 304, "H", (memory,)
    partitions = 1 if now.mode is None else now.product.modes[now.mode]
    dies = now.product.xccs // partitions
    yield 306, "H", (partitions,)
    for number in range(partitions):
        yield _PARTITIONS + number * _PARTITION_BYTES, f"{dies}I", (now.vitals.gfx_percent,) * dies


def _v2_1(now: Moment) -> Iterator[Field]:
    # hundredths of a degree and of a percent, milliwatts: as a Phoenix tells them
    shader, _ = now.clocks
    (edge,) = now.degrees("edge")
    yield 4, "2H", (edge * 100, edge * 100)
    yield 28, "2H", (now.vitals.gfx_percent * 100, 0)
    yield 32, "Q", (now.uptime_seconds * _NANOSECONDS,)
    yield 40, "H", (now.microwatts // 1000,)
    yield 64, "H", (shader,)
    yield 76, "H", (shader,)
    yield 108, "I", (0,)


_LAYOUTS: Mapping[tuple[int, int], Callable[[Moment], Iterator[Field]]] = {
    (1, 3): _v1_3,
    COUNTS_THROTTLING: _v1_6,
    (2, 1): _v2_1,
}

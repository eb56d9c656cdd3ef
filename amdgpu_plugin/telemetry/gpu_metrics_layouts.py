"""Where things are in each version of gpu_metrics that is a C structure, little-endian and naturally aligned.

Offsets and sizes in bytes, of the structures in the kernel's drivers/gpu/drm/amd/include/kgd_pp_interface.h.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Partitions:
    """Busy percentages by partition: u16 `count`, then 8 records `stride` apart, each begun by 8 u32."""

    count: int
    first: int
    stride: int


@dataclass(frozen=True, slots=True)
class Layout:
    """One version. None = it has no such thing.

    `energy` is a u64 of 2^-16 J; `energy_if` the four u16 that only boards with that unit fill (see
    gpu_metrics.py). `throttle` is the u64 of causes that is the same for all ASICs; the older u32 differs
    from ASIC to ASIC, and MI300's drivers leave it 0. `ticks` is a u32, followed by those of the causes.
    `xgmi` are 8 u64 read, then 8 u64 written, in KB.
    """

    size: int
    energy: int | None = None
    energy_if: int | None = None
    throttle: int | None = None
    ticks: int | None = None
    xgmi: int | None = None
    partitions: Partitions | None = None


LAYOUTS = {
    (1, 1): Layout(96, energy=24, energy_if=88),
    (1, 2): Layout(104, energy=24, energy_if=88),
    (1, 3): Layout(120, energy=24, energy_if=88, throttle=112),
    (1, 4): Layout(288, energy=24, xgmi=104),
    (1, 5): Layout(360, energy=88, xgmi=176),
    (1, 6): Layout(1664, energy=16, ticks=32, xgmi=128, partitions=Partitions(306, 312, 168)),
    (1, 7): Layout(2208, energy=24, ticks=40, xgmi=136, partitions=Partitions(338, 344, 232)),
    (1, 8): Layout(3872, energy=24, ticks=40, xgmi=136, partitions=Partitions(338, 344, 440)),
    # APUs
    (2, 0): Layout(120),
    (2, 1): Layout(120),
    (2, 2): Layout(128, throttle=120),
    (2, 3): Layout(152, throttle=120),
    (2, 4): Layout(168, throttle=120),
    (3, 0): Layout(264),
}
"""By format and content revision. 1.0 is left out: its energy has no known unit, nothing else is wanted."""

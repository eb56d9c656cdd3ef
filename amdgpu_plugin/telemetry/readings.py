"""What telemetry reads of one GPU: immutable values, in base units.

None means not known: absent, denied, busy, garbled, all-ones. It is never 0 and never a guess.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["correctable", "uncorrectable", "deferred"]


@dataclass(frozen=True, slots=True)
class RasCounts:
    """Errors of one RAS block since the driver was loaded. `deferred` is None on kernels without `de`."""

    uncorrectable: int
    correctable: int
    deferred: int | None = None


@dataclass(frozen=True, slots=True)
class BadPages:
    """Pages of VRAM by state in `gpu_vram_bad_pages`: R retired, P pending, F that cannot be reserved."""

    retired: int
    pending: int
    unreservable: int


@dataclass(frozen=True, slots=True)
class Temperature:
    """One hwmon sensor by its label (edge, junction, mem), in degrees Celsius, with the card's own limits."""

    sensor: str
    celsius: float
    critical_celsius: float | None
    emergency_celsius: float | None


@dataclass(frozen=True, slots=True)
class PcieLink:
    """A PCIe link: transfers a second and lanes, now and at most.

    The most is what both ends can do. On cards with a switch of their own this is the slot's link.
    """

    transfers_per_second: float | None
    lanes: int | None
    max_transfers_per_second: float | None
    max_lanes: int | None


@dataclass(frozen=True, slots=True)
class AerCounters:
    """PCIe errors the GPU reported since boot, in total by class."""

    correctable: int | None
    nonfatal: int | None
    fatal: int | None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one kind of memory (vram, vis_vram, gtt)."""

    size_bytes: int | None
    used_bytes: int | None


@dataclass(frozen=True, slots=True)
class XgmiTraffic:
    """Bytes over one XGMI link since the driver was loaded, by the link's index in gpu_metrics."""

    link: int
    read_bytes: int | None
    written_bytes: int | None


@dataclass(frozen=True, slots=True)
class Throttling:
    """How long each cause held the clocks down, in ticks of a counter that runs all the time.

    Cause names are those of gpu_metrics: prochot, ppt, socket_thermal, vr_thermal, hbm_thermal.
    """

    ticks: int
    causes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class MetricsFormat:
    """The header of gpu_metrics: its size in bytes, format and content revision. Formats 2 and 3 are APUs."""

    size: int
    format: int
    content: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How the driver-answered reads of one round went; Absent, denied and garbled ones count nowhere.

    Driver-answered are attributes for which amdgpu asks the GPU: hwmon, ras, busy, gpu_metrics. (mem_info and
    the bad pages are its own bookkeeping, and answer also where the GPU does not.)
    `guarded` are those of them that a reset or suspend makes answer EPERM or EBUSY (hwmon, busy,
    gpu_metrics): the answers among them. `busy` are the EPERM and EBUSY; `failing` EIO, ETIME, ETIMEDOUT,
    ENODEV and EREMOTEIO.
    """

    answered: int = 0
    guarded: int = 0
    busy: int = 0
    failing: int = 0
    failing_errnos: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Readings:
    """One round over one GPU. `taken_at` is a UNIX time in seconds, when the round ended.

    `asleep`: runtime-suspended, so that nothing was read that would wake it; everything of the driver's is
    then None or empty. `ras` has the blocks that answered with counts; `ras_unknown` names those that exist
    and did not. `unknown_metrics` is the header of a gpu_metrics of a version nobody here knows.
    `throttled_by` are the causes an older gpu_metrics says are in force now (thermal, power, current, …).
    """

    taken_at: float
    asleep: bool = False
    tally: Tally = Tally()
    ras: Mapping[str, RasCounts] = field(default_factory=dict)
    ras_unknown: tuple[str, ...] = ()
    bad_pages: BadPages | None = None
    bad_page_threshold: int | None = None
    temperatures: tuple[Temperature, ...] = ()
    power_watts: float | None = None
    power_cap_watts: float | None = None
    energy_joules: float | None = None
    clocks_hertz: Mapping[str, float] = field(default_factory=dict)
    fan_rpm: int | None = None
    gfx_busy_ratio: float | None = None
    memory_busy_ratio: float | None = None
    vcn_busy_ratio: float | None = None
    vram: Memory | None = None
    visible_vram: Memory | None = None
    gtt: Memory | None = None
    pcie_link: PcieLink | None = None
    pcie_replays: int | None = None
    aer: AerCounters | None = None
    metrics_format: MetricsFormat | None = None
    unknown_metrics: MetricsFormat | None = None
    throttling: Throttling | None = None
    throttled_by: tuple[str, ...] = ()
    xgmi: tuple[XgmiTraffic, ...] = ()
    partition_busy_ratios: tuple[float | None, ...] = ()

    @property
    def integrated(self) -> bool:
        """True for an APU; what cannot be read counts as a discrete card."""
        return self.metrics_format is not None and self.metrics_format.format in {2, 3}

"""What is remembered of one GPU. Each family of conditions has its own part of it."""

from dataclasses import dataclass, replace

from amdgpu_plugin.health.evidence import Moment
from amdgpu_plugin.telemetry.readings import Throttling

GUARDED = ("Unresponsive", "RenderNodeMissing")
"""What is more likely our trouble than the GPUs' when it befalls all of them at once."""


@dataclass(frozen=True, slots=True)
class Ack:
    """An operator's word that a condition is known; `until` is a UNIX time, None for good."""

    reason: str
    until: float | None

    def stands(self, now: Moment) -> bool:
        """Whether it still counts."""
        return self.until is None or now.unix < self.until


@dataclass(frozen=True, slots=True)
class Acked:
    """How much of a count an operator knows of: for good, and until a UNIX time."""

    for_good: int = 0
    for_now: int = 0
    until: float = 0.0

    def at(self, now: Moment) -> int:
        """What does not count now."""
        return max(self.for_good, self.for_now if now.unix < self.until else 0)

    def with_word(self, count: int, until: float | None) -> "Acked":
        """All of `count` is known."""
        return Acked(for_good=count) if until is None else replace(self, for_now=count, until=until)


@dataclass(frozen=True, slots=True)
class Active:
    """A condition in force since `raised`. `cleared`: since then its cause is gone, and it is only held.

    `informs_only`: a weaker form of it, which never makes unhealthy and lives beside the full one.
    """

    name: str
    detail: str
    source: str
    raised: Moment
    informs_only: bool
    cleared: Moment | None = None
    ack: Ack | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """A guarded condition's last time in force that is over; monotonic seconds."""

    name: str
    raised: float
    cleared: float


@dataclass(frozen=True, slots=True)
class Attachment:
    """`detached`: the driver was seen or heard to have left. `missing` are the nodes the last look missed."""

    detached: bool = False
    silent_looks: int = 0
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recovery:
    """`began`: an AER recovery whose outcome is not known yet. Monotonic seconds elsewhere.

    `wedged_at` is the last WEDGED; `dumped_at` the last core dump that was counted as a reset by itself.
    """

    began: Moment | None = None
    good_rounds: int = 0
    resets: int = 0
    core_dumps: int = 0
    wedged_at: float | None = None
    dumped_at: float | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Uncorrectable errors of one RAS block: at first sight in this load of the driver, and last."""

    name: str
    baseline: int
    count: int
    acked: Acked = Acked()


@dataclass(frozen=True, slots=True)
class CorrectedBlock:
    """Correctable and deferred errors of one RAS block: when the hour began, and last."""

    name: str
    at_start: int
    count: int


@dataclass(frozen=True, slots=True)
class Corrected:
    """The hour that runs, from monotonic seconds on; None before the first counts."""

    began: float | None = None
    blocks: tuple[CorrectedBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class Pages:
    """Retired pages as last read, and the limit that the driver told with them."""

    retired: int | None = None
    driver_limit: int | None = None
    acked: Acked = Acked()


@dataclass(frozen=True, slots=True)
class Sensor:
    """How many successive readings were at or above each limit, and whether the sensor is over them."""

    name: str
    emergency_readings: int = 0
    critical_readings: int = 0
    overheated: bool = False
    hot: bool = False


@dataclass(frozen=True, slots=True)
class Answers:
    """How the GPU answers. `unanswered_seconds`: a read is under way that long, None while none is late.

    `busy_since` in monotonic seconds; `busy_seconds` from then to the last round. Rounds are successive ones.
    """

    unanswered_seconds: float | None = None
    busy_since: float | None = None
    busy_seconds: float = 0.0
    busy_rounds: int = 0
    failing_rounds: int = 0
    failing_errnos: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Leftover:
    """Who holds it, and since when (monotonic seconds) VRAM has been in use for nobody."""

    held: bool | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """All that the policy remembers of one GPU. A new one knows nothing, which is not ill."""

    active: tuple[Active, ...] = ()
    episodes: tuple[Episode, ...] = ()
    flaps: int = 0
    attachment: Attachment = Attachment()
    recovery: Recovery = Recovery()
    errors: tuple[Block, ...] = ()
    corrected: Corrected = Corrected()
    pages: Pages = Pages()
    sensors: tuple[Sensor, ...] = ()
    throttling: Throttling | None = None
    degraded_rounds: int = 0
    answers: Answers = Answers()
    leftover: Leftover = Leftover()

    def in_force(self, name: str, *, informs_only: bool = False) -> Active | None:
        """The condition, held or not; None when it is not in force."""
        found = (each for each in self.active if (each.name, each.informs_only) == (name, informs_only))
        return next(found, None)

    def troubled_by(self, name: str) -> bool:
        """Whether the full condition is in force and not only held."""
        found = self.in_force(name)
        return found is not None and found.cleared is None

"""What a GPU is judged by: one value for each thing that was learnt of it."""

from dataclasses import dataclass

from amdgpu_plugin.health.events import Event
from amdgpu_plugin.telemetry.presence import Presence
from amdgpu_plugin.telemetry.readings import Readings

LAST_TIME = 253402300799.0
"""The end of the year 9999, as UNIX time in seconds: what is beyond is no time that anybody wrote."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant: `monotonic` only rises and measures spans, `unix` is what people are told. Seconds."""

    monotonic: float
    unix: float


@dataclass(frozen=True, slots=True)
class Seen:
    """The GPU's own lane told whether it is there."""

    presence: Presence


@dataclass(frozen=True, slots=True)
class Sampled:
    """A full round of readings ended."""

    readings: Readings


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The GPU's lane did not answer for `seconds`, though something else, asked with it, was answered."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Starved:
    """Our own reads were late by `seconds`, the GPU's as well as others': this says nothing of the GPU."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Happened:
    """A kernel event that concerns this GPU: at it, or at a bridge above it."""

    event: Event


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An operator's word that a condition is known. `until` is a UNIX time, None for good."""

    condition: str
    reason: str
    until: float | None


@dataclass(frozen=True, slots=True)
class Holding:
    """Whether a container holds a device of this GPU; None while it is not known."""

    held: bool | None


@dataclass(frozen=True, slots=True)
class Passed:
    """Nothing but time."""


Evidence = Seen | Sampled | NoAnswer | Starved | Happened | Acknowledged | Holding | Passed

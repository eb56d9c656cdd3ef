"""What pages are made of: the node at one moment, how it stands with the kubelet, and what never changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from amdgpu_plugin.node import NodeState


@dataclass(frozen=True, slots=True)
class About:
    """What is so of the daemon itself; all but `events` for as long as it runs.

    `expected_gpus` is how many GPUs the operator says this node has, None where nothing was said. `events` is
    where uevents come from. `started_at` is a UNIX time in seconds. `node` is the node's name, None where it
    is not known.
    """

    version: str
    started_at: float
    events: Literal["kernel", "simulated", "none"] = "none"
    simulated: bool = False
    expected_gpus: int | None = None
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """How one resource stands with the kubelet.

    `phase` and `detail` are for people. `streams` counts the ListAndWatch streams that are open.
    """

    registered: bool
    streams: int
    phase: str
    detail: str = ""
    conflict: bool = False

    @property
    def live(self) -> bool:
        """Whether the kubelet hears of the devices."""
        return self.registered and self.streams > 0


NOT_STARTED = Registration(registered=False, streams=0, phase="not started")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`registrations` by resource; a resource may be missing from it for a moment after it appeared."""

    about: About
    state: NodeState
    registrations: Mapping[str, Registration]

    def registration(self, resource: str) -> Registration:
        """That of a resource of the state."""
        return self.registrations.get(resource, NOT_STARTED)

    @property
    def observes(self) -> bool:
        """Whether health is observed only, and most verdicts kept from the kubelet."""
        return self.state.policy.get("mode") == "observe"

    def is_same_as(self, other: "Snapshot") -> bool:
        """Whether pages made of the two are equal, found without comparing states that are large."""
        small = (self.about, self.registrations) == (other.about, other.registrations)
        return self.state is other.state and small

"""Whether kernel events reach us: a GPU that comes, goes or changes its driver is told of. Pure.

In some containers a netlink socket opens and never hears anything (a user namespace, an LSM), without an
error. What looks find and no event tells is counted. An event may come a while before or after the look, so
that neither says anything at once.
"""

from dataclasses import dataclass, field

from amdgpu_plugin.telemetry.presence import Bound, Gone, NotSeen, Presence, Unbound

BEFORE_SECONDS = 30.0
"""An event that came so long before a look may be what it found: a look under way may be believed late."""
AFTER_SECONDS = 300.0
"""So long may an event be on its way. The link to the driver is there before the driver's probe and goes
before its removal; the event comes when that is done (drivers/base/dd.c), for amdgpu tens of seconds later.
"""

_Kind = type[Bound] | type[Gone] | type[Unbound]


@dataclass(slots=True)
class Hearing:
    """`missed` are the changes that no event told of. All times in monotonic seconds."""

    missed: int = 0
    _kinds: dict[str, _Kind] = field(default_factory=dict)
    _heard: dict[str, float] = field(default_factory=dict)
    _heard_any: float | None = None
    _waiting: dict[str, tuple[float, _Kind]] = field(default_factory=dict)
    """Since when an event is waited for, and what the GPU was before."""

    def heard(self, address: str, now: float) -> None:
        """An event told of the GPU."""
        self._heard[address] = now
        self._waiting.pop(address, None)

    def lost(self, now: float) -> None:
        """Events were lost, for they were too many: that is not deafness."""
        self._heard_any = now
        self._waiting.clear()

    def deafened(self) -> None:
        """Nobody listens: what changes meanwhile is not missed."""
        self._kinds.clear()
        self._waiting.clear()

    def seen(self, address: str, presence: Presence, now: float) -> None:
        """A look, while somebody listened."""
        if isinstance(presence, NotSeen):
            return
        before, self._kinds[address] = self._kinds.get(address), type(presence)
        if before is not None and before is not type(presence) and not self._was_told(address, now):
            _, was = self._waiting.setdefault(address, (now, before))
            if was is type(presence) is Unbound:
                del self._waiting[address]  # a probe that failed: the kernel tells nobody

    def passed(self, now: float) -> int:
        """How many changes are missed for certain by now, that were not before."""
        late = [address for address, (since, _) in self._waiting.items() if now - since >= AFTER_SECONDS]
        for address in late:
            del self._waiting[address]
        self.missed += len(late)
        return len(late)

    def _was_told(self, address: str, now: float) -> bool:
        times = (self._heard.get(address), self._heard_any)
        return any(heard is not None and now - heard <= BEFORE_SECONDS for heard in times)

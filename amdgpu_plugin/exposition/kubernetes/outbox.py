"""Events that wait to be sent, in the order they were made: where there are too many, the oldest go."""

from collections import deque

from amdgpu_plugin.exposition.kubernetes.event import Event

LIMIT = 256
Way = tuple[bool, str]
"""What a permission hangs on: whether it is about a pod, and the namespace."""


class Outbox:
    """Those about objects that we may not write of are held for a while, and do not keep others up."""

    def __init__(self, limit: int = LIMIT) -> None:
        """`dropped` counts what there was no room for."""
        self.dropped = 0
        self._limit = limit
        self._events: deque[Event] = deque()
        self._held: dict[Way, float] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._events)

    @property
    def waiting(self) -> tuple[Event, ...]:
        """All, the oldest first."""
        return tuple(self._events)

    def put(self, event: Event) -> None:
        """At the end."""
        if len(self._events) >= self._limit:
            self._events.popleft()
            self.dropped += 1
        self._events.append(event)

    def next(self, now: float) -> Event | None:
        """The oldest that is not held; it stays until `done`."""
        self._held = {way: until for way, until in self._held.items() if until > now}
        return next((event for event in self._events if way(event) not in self._held), None)

    def hold(self, event: Event, until: float) -> None:
        """It, and all that go the same way, until then (monotonic)."""
        self._held[way(event)] = until

    def done(self, event: Event) -> None:
        """Sent or given up; it may have been dropped meanwhile."""
        if any(each is event for each in self._events):
            self._events.remove(event)


def way(event: Event) -> Way:
    """Which of them it goes."""
    return bool(event.pod), event.namespace

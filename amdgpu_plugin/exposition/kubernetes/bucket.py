"""A token bucket: so many at once, then one in so many seconds."""

from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """Full at first. Times are seconds of the monotonic clock."""

    burst: int
    seconds_each: float
    _spent: float = 0.0
    _at: float = 0.0

    def has(self, now: float) -> bool:
        """Whether one may be taken."""
        return self._level(now) >= 1

    def is_full(self, now: float) -> bool:
        """Whether nothing was taken for so long that it might as well be new."""
        return self._level(now) >= self.burst

    def take(self, now: float) -> None:
        """Take one; ask `has` before."""
        self._spent, self._at = self.burst - self._level(now) + 1, now

    def _level(self, now: float) -> float:
        return self.burst - max(0.0, self._spent - (now - self._at) / self.seconds_each)

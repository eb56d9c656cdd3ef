"""What the kubelet itself writes of device plugins, to the microsecond.

The node's status tells the same, but is posted every 10 s only.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path

# klog: level, month and day, local time; the process's id comes next.
_STAMP = re.compile(r"[IWE](\d{4} \d\d:\d\d:\d\d\.\d{6}) ")
_LIST = re.compile(r'"Processed device updates for resource" resourceName="([^"]+)" .*healthyCount=(\d+)')
_END = re.compile(r'"Mark all resources Unhealthy for resource" resourceName="([^"]+)"')
_READY = '"Starting device plugin registration server"'


@dataclass(frozen=True, slots=True)
class KubeletLog:
    """The log from `offset` bytes on."""

    path: Path
    offset: int = 0

    def from_now(self) -> "KubeletLog":
        return replace(self, offset=self.path.stat().st_size)

    def healthy(self, resource: str) -> list[tuple[float, int]]:
        """(UNIX time, healthy devices) after each list, and 0 after each end of a stream."""
        found = []
        for at, line in self._lines():
            if match := _LIST.search(line):
                found.append((at, match[1], int(match[2])))
            elif match := _END.search(line):
                found.append((at, match[1], 0))
        return [(at, count) for at, name, count in found if name == resource]

    def reached(self, resource: str, count: int) -> float | None:
        """When the count last became this; None while it is another."""
        seen = self.healthy(resource)
        return seen[-1][0] if seen and seen[-1][1] == count else None

    def dip(self, resource: str, full: int) -> tuple[float, int]:
        """Seconds from the first list with fewer devices to the last return to `full`, and the lowest count."""
        seen = self.healthy(resource)
        started = next((at for at, count in seen if count < full), None)
        if started is None:
            return 0.0, full
        return seen[-1][0] - started, min(count for _, count in seen)

    def took_plugins(self) -> float | None:
        """When a kubelet that started meanwhile began to take registrations."""
        return next((at for at, line in self._lines() if _READY in line), None)

    def _lines(self) -> Iterator[tuple[float, str]]:
        with self.path.open(errors="replace") as file:
            file.seek(self.offset)
            for line in file:
                if stamp := _STAMP.match(line):
                    yield _unix_time(stamp[1]), line


def _unix_time(stamp: str) -> float:
    """Of klog's local time, which names no year."""
    here: tzinfo | None = datetime.now(UTC).astimezone().tzinfo
    now = datetime.now(here)
    return datetime.strptime(f"{now.year} {stamp}", "%Y %m%d %H:%M:%S.%f").replace(tzinfo=here).timestamp()

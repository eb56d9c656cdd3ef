"""How a round's reads went: the errnos of amdgpu's own files, counted as `readings.Tally` says."""

import errno
from dataclasses import dataclass, field

from amdgpu_plugin.sysfs import Blob, Refused, Text, Unreadable
from amdgpu_plugin.telemetry.readings import Tally

_BUSY = frozenset({errno.EPERM, errno.EBUSY})
_FAILING = frozenset({errno.EIO, errno.ETIME, errno.ETIMEDOUT, errno.ENODEV, errno.EREMOTEIO})


@dataclass(slots=True)
class Count:
    """Counts one round's answers."""

    answered: int = 0
    guarded: int = 0
    busy: int = 0
    failing: int = 0
    _errnos: set[int] = field(default_factory=set)

    def add(self, answer: Text | Blob | Unreadable, *, guarded: bool) -> None:
        """One answer of a file that amdgpu makes; `guarded` if a reset makes it answer EPERM or EBUSY."""
        match answer:
            case Text() | Blob():
                self.answered += 1
                self.guarded += guarded
            case Refused(errno=number) if number in _BUSY:
                self.busy += 1
            case Refused(errno=number) if number in _FAILING:
                self.failing += 1
                self._errnos.add(number)

    def tally(self) -> Tally:
        """The sums; the errnos by name, sorted."""
        names = tuple(sorted(errno.errorcode[number] for number in self._errnos))
        return Tally(self.answered, self.guarded, self.busy, self.failing, names)

"""A simulated node's sysfs as its readers see it: the tree, and over it what no plain file can do.

A file can be refused, can hang, or can say more with every read. Folders and links are as in the tree: the
kernel answers for them without asking a driver.
"""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from amdgpu_plugin.sysfs import Blob, DirectorySysfs, Names, Path, Refused, Text, Unreadable, decoded

Fault = Callable[[str], Blob | Unreadable | None]
"""Given a path below the root, every link on the way followed, as it is about to be read.

Its answer is the read's; None leaves the read alone. It may block.
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The files whose whole path matches answer an errno."""

    files: re.Pattern[str]
    errno: int

    def __call__(self, path: str) -> Refused | None:
        """See Fault."""
        return Refused(self.errno) if self.files.fullmatch(path) else None


@dataclass(frozen=True, slots=True)
class Statement:
    """The files whose whole path matches all say the same."""

    files: re.Pattern[str]
    body: bytes

    def __call__(self, path: str) -> Blob | None:
        """See Fault."""
        return Blob(self.body) if self.files.fullmatch(path) else None


@dataclass(frozen=True, slots=True)
class Hang:
    """Reads of the files whose whole path matches do not come back before `release`; then they answer.

    Who reads waits in his own thread: from a daemon thread, as lanes are, nothing is left of it at exit.
    """

    files: re.Pattern[str]
    _released: threading.Event = field(default_factory=threading.Event)

    def __call__(self, path: str) -> None:
        """See Fault."""
        if self.files.fullmatch(path):
            self._released.wait()

    def release(self) -> None:
        """Whoever waits goes on."""
        self._released.set()


class FaultySysfs:
    """A `Sysfs` over a directory. Faults may come and go in any thread while others read."""

    def __init__(self, root: str, always: Mapping[str, Fault] | None = None) -> None:
        """No fault yet: everything is as in the directory, at its price.

        Except for files of the names in `always`: what answers for them stays when all faults are gone.
        """
        self._always = always or {}
        self._files = DirectorySysfs(root)
        self._faults: dict[tuple[str, str], Fault] = {}
        self._moving = threading.Event()
        self._moving.set()

    def lay(self, owner: str, name: str, fault: Fault) -> None:
        """A fault of that owner's from now on, instead of an earlier one of that name."""
        self.lift(owner, name)
        self._faults = {**self._faults, (owner, name): fault}

    def lift(self, owner: str, *names: str) -> None:
        """No such fault of the owner's any more, or none at all without a name; who hangs is released."""
        lifted = {key: fault for key, fault in self._faults.items() if key[0] == owner}
        lifted = {key: fault for key, fault in lifted.items() if not names or key[1] in names}
        self._faults = {key: fault for key, fault in self._faults.items() if key not in lifted}
        for fault in lifted.values():
            if isinstance(fault, Hang):
                fault.release()

    def stop(self) -> None:
        """Nothing is answered any more, of whatever is asked, until `go_on`."""
        self._moving.clear()

    def go_on(self) -> None:
        """Who waits since `stop` is answered."""
        self._moving.set()

    def close(self) -> None:
        """No faults any more: nobody is kept waiting by a node that is of no use any more."""
        self.go_on()
        for owner in {owner for owner, _ in self._faults}:
            self.lift(owner)

    def read_bytes(self, path: str) -> Blob | Unreadable:
        """See Sysfs. Faults are about files as they lie on their device, whatever link led there."""
        self._moving.wait()
        faults = tuple(self._faults.values())
        if (running := self._always.get(path.rpartition("/")[2])) is not None:
            faults = (*faults, running)
        if faults:
            real = self._files.resolve(path)
            where = real.value if isinstance(real, Path) else path
            for fault in faults:
                answer = fault(where)
                if answer is not None:
                    return answer
        return self._files.read_bytes(path)

    def read(self, path: str) -> Text | Unreadable:
        """See Sysfs."""
        return decoded(self.read_bytes(path))

    def list(self, path: str) -> Names | Unreadable:
        """See Sysfs."""
        self._moving.wait()
        return self._files.list(path)

    def resolve(self, path: str) -> Path | Unreadable:
        """See Sysfs."""
        self._moving.wait()
        return self._files.resolve(path)

    def link(self, path: str) -> Text | Unreadable:
        """See Sysfs."""
        self._moving.wait()
        return self._files.link(path)

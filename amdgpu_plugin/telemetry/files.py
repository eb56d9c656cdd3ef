"""The files of one device, read for one round, and how those of its driver answered."""

from amdgpu_plugin.sysfs import Absent, Blob, Names, Sysfs, Text, Unreadable
from amdgpu_plugin.telemetry.tally import Count


class DeviceFiles:
    """Files by their name below a device's folder. None = absent, or it did not tell."""

    def __init__(self, sysfs: Sysfs, path: str) -> None:
        """`path` is the folder, below the root."""
        self._sysfs = sysfs
        self.path = path
        self.count = Count()

    def at(self, path: str) -> "DeviceFiles":
        """Those of another folder, such as a bridge's; its answers are counted apart."""
        return DeviceFiles(self._sysfs, path)

    def names(self, folder: str) -> tuple[str, ...]:
        """What a folder holds."""
        answer = self._sysfs.list(f"{self.path}/{folder}")
        return answer.value if isinstance(answer, Names) else ()

    def text(self, name: str) -> str | None:
        """A file that is not amdgpu's, or that it answers without asking the GPU: not counted."""
        answer = self._sysfs.read(f"{self.path}/{name}")
        return answer.value if isinstance(answer, Text) else None

    def text_if_there(self, name: str) -> str | None:
        """As `text`, but None = absent; empty where the file is there and did not tell."""
        answer = self._sysfs.read(f"{self.path}/{name}")
        if isinstance(answer, Text):
            return answer.value
        return None if isinstance(answer, Absent) else ""

    def driver(self, name: str, *, guarded: bool = False) -> Text | Unreadable:
        """A file that amdgpu makes, counted; `guarded` if a reset makes it answer EPERM or EBUSY."""
        answer = self._sysfs.read(f"{self.path}/{name}")
        self.count.add(answer, guarded=guarded)
        return answer

    def guarded(self, name: str) -> str | None:
        """Of such a file that a reset guards, the text."""
        answer = self.driver(name, guarded=True)
        return answer.value if isinstance(answer, Text) else None

    def guarded_bytes(self, name: str) -> bytes:
        """Of such a file, the bytes; none where it did not tell."""
        answer = self._sysfs.read_bytes(f"{self.path}/{name}")
        self.count.add(answer, guarded=True)
        return answer.value if isinstance(answer, Blob) else b""

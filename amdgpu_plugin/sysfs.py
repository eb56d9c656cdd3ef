"""The only code that opens files under /sys.

Paths in and out are relative to the root, with `/` between parts and none in front (`class/drm/card0`).
What a path answers is a value, never an exception: a node in a bad way is ordinary here. What an errno
*means* is not decided here but by the reader of that file.

Every call may block for as long as the kernel likes: call it from a lane (`lanes.py`), not from the loop.
"""

import errno
import os
from dataclasses import dataclass
from typing import Protocol

READ_LIMIT = 64 * 1024
"""Bytes. A sysfs attribute is a page (4 KiB); KFD and RAS tables stay far below this as well."""

_PAGE = 4096
_LONGEST_LINE = 64
_ABSENT_ERRNOS = frozenset({errno.ENOENT, errno.ENOTDIR})


@dataclass(frozen=True, slots=True)
class Text:
    """What a file says, decoded, as it stands: line ends and all."""

    value: str


@dataclass(frozen=True, slots=True)
class Blob:
    """What a file holds, undecoded."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Absent:
    """Nothing is there (ENOENT, ENOTDIR)."""

    def __str__(self) -> str:
        """For people."""
        return "absent"


@dataclass(frozen=True, slots=True)
class Refused:
    """Something is there and the kernel answered with an errno."""

    errno: int

    def __str__(self) -> str:
        """The errno by its name, as in `EPERM`."""
        return errno.errorcode.get(self.errno, f"errno {self.errno}")


@dataclass(frozen=True, slots=True)
class Garbled:
    """Something is there and cannot be what it should be: too long, not UTF-8, a folder for a file."""

    why: str

    def __str__(self) -> str:
        """Why, for people."""
        return self.why


@dataclass(frozen=True, slots=True)
class Names:
    """What a folder holds, sorted."""

    value: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Path:
    """Where a link leads, every link on the way followed, relative to the root."""

    value: str


Unreadable = Absent | Refused | Garbled


class Sysfs(Protocol):
    """A sysfs: a directory, or a capture file (`capture_file.CaptureSysfs`) that answers the same."""

    def read_bytes(self, path: str) -> Blob | Unreadable:
        """The bytes of a file, at most READ_LIMIT."""

    def read(self, path: str) -> Text | Unreadable:
        """The text of a file."""

    def list(self, path: str) -> Names | Unreadable:
        """The names in a folder."""

    def resolve(self, path: str) -> Path | Unreadable:
        """Where a path really is, as readlink -f would say."""

    def link(self, path: str) -> Text | Unreadable:
        """The target of a symbolic link as it is written; Garbled when it is no link."""


def decoded(answer: Blob | Unreadable) -> Text | Unreadable:
    """The same answer as text; bytes that are not UTF-8 are Garbled."""
    if not isinstance(answer, Blob):
        return answer
    try:
        return Text(answer.value.decode())
    except UnicodeDecodeError:
        return Garbled("not UTF-8 text")


def unreadable(error: OSError) -> Unreadable:
    """What an OSError says about the path it was raised for."""
    if error.errno in _ABSENT_ERRNOS:
        return Absent()
    if error.errno == errno.ELOOP:
        return Garbled("a loop of symbolic links")
    if error.errno == errno.EISDIR:
        return Garbled("a folder where a file should be")
    return Refused(error.errno or errno.EIO)


class DirectorySysfs:
    """The sysfs below a directory: /sys itself, or a tree laid out like it."""

    def __init__(self, root: str) -> None:
        """`root` need not exist yet; what is asked of it is Absent until it does."""
        self.root = os.path.realpath(root)
        self._prefix = self.root.rstrip("/") + "/"

    def read_bytes(self, path: str) -> Blob | Unreadable:
        """One open, one read to the end of the attribute, one close: cheaper than a file object."""
        try:
            descriptor = os.open(self._prefix + path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            return unreadable(error)
        try:
            return _read_to_end(descriptor)
        except OSError as error:
            return unreadable(error)
        finally:
            os.close(descriptor)

    def read(self, path: str) -> Text | Unreadable:
        """See Sysfs."""
        return decoded(self.read_bytes(path))

    def list(self, path: str) -> Names | Unreadable:
        """See Sysfs."""
        try:
            return Names(tuple(sorted(os.listdir(self._prefix + path))))
        except NotADirectoryError:
            return Garbled("a file where a folder should be")
        except OSError as error:
            return unreadable(error)

    def resolve(self, path: str) -> Path | Unreadable:
        """See Sysfs. A link that leads out of the root is Garbled."""
        try:
            real = os.path.realpath(self._prefix + path, strict=True)
        except RecursionError:
            return Garbled("a loop of symbolic links")  # a chain as long as that is as good as one
        except OSError as error:
            return unreadable(error)
        if not real.startswith(self._prefix):
            return Garbled("a link that leads out of the sysfs root")
        return Path(real[len(self._prefix) :])

    def link(self, path: str) -> Text | Unreadable:
        """See Sysfs."""
        try:
            return Text(os.readlink(self._prefix + path))
        except OSError as error:
            # readlink answers EINVAL for what is there and is no link
            return Garbled("not a symbolic link") if error.errno == errno.EINVAL else unreadable(error)


def _read_to_end(descriptor: int) -> Blob | Garbled:
    # The kernel gives a text attribute in one read, and longer ones page by page. A table, such as RAS' bad
    # pages, comes in whole lines: a little less than a page at a time.
    content = part = os.read(descriptor, _PAGE)
    while len(part) > _PAGE - _LONGEST_LINE and len(content) <= READ_LIMIT:
        part = os.read(descriptor, _PAGE)
        content += part
    return Garbled(f"longer than {READ_LIMIT} bytes") if len(content) > READ_LIMIT else Blob(content)

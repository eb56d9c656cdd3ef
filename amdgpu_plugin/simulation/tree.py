"""Writing a sysfs tree to disk so that nobody ever reads half a file.

Paths are relative to the sysfs root. What a tree holds is plain data: file text, links, folders.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link to another path of the tree, written relative as the kernel writes it."""

    to: str


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder with nothing in it."""


Content = bytes | Link | Folder
Entries = Mapping[str, Content]


class Tree:
    """A directory laid out like /sys, and beside it a place where changes are prepared."""

    def __init__(self, directory: str) -> None:
        """Makes `directory`/sys, which is the root, and `directory`/staging on the same file system."""
        self.root = os.path.join(os.path.realpath(directory), "sys")
        self._staging = os.path.join(os.path.realpath(directory), "staging")
        self._made: set[str] = set()
        os.makedirs(self.root)
        os.makedirs(self._staging)

    def plant(self, entries: Entries) -> None:
        """Each file and link appears, or is replaced, whole."""
        staged = f"{self._staging}/entry"
        for path, content in entries.items():
            target = f"{self.root}/{path}"
            if isinstance(content, Folder):
                os.makedirs(target, exist_ok=True)
                continue
            self._make_folder(path.rpartition("/")[0])
            if isinstance(content, Link):
                os.symlink(relative(path, content.to), staged)
            else:
                write(staged, content)
            os.rename(staged, target)

    def uproot(self, path: str) -> None:
        """The file, link or folder is gone at once; nothing happens when it is not there."""
        trash = f"{self._staging}/trash"
        try:
            os.rename(f"{self.root}/{path}", trash)
        except FileNotFoundError:
            return
        self._made = {made for made in self._made if made != path and not made.startswith(f"{path}/")}
        discard(trash)

    def rebuild(self, folder: str, grow: Callable[[str], list[str]]) -> None:
        """What is in a folder goes, child by child, and what `grow` makes comes in the same way.

        `grow` is given an empty directory and returns the names made there in the order of appearance. A
        reader may find fewer children than there are before or after, and every child he finds is whole.
        """
        fresh, stale = f"{self._staging}/fresh", f"{self._staging}/stale"
        os.mkdir(fresh)
        os.mkdir(stale)
        names = grow(fresh)
        for name in os.listdir(f"{self.root}/{folder}"):
            os.rename(f"{self.root}/{folder}/{name}", f"{stale}/{name}")
        for name in names:
            os.rename(f"{fresh}/{name}", f"{self.root}/{folder}/{name}")
        os.rmdir(fresh)
        discard(stale)

    def exists(self, path: str) -> bool:
        """Whether the path itself is there; where a link leads does not matter."""
        return os.path.lexists(f"{self.root}/{path}")

    def _make_folder(self, folder: str) -> None:
        if folder not in self._made:
            os.makedirs(f"{self.root}/{folder}", exist_ok=True)
            self._made.add(folder)


def relative(path: str, to: str) -> str:
    """A link's text at `path`. As in the kernel it ends in the name of `to`, never in `..`."""
    folder, _, name = to.rpartition("/")
    return os.path.normpath(os.path.join(os.path.relpath(folder or ".", os.path.dirname(path)), name))


def write(path: str, content: bytes) -> None:
    """A new file, without the cost of a file object: a large node has thousands."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def discard(path: str) -> None:
    """Delete a file, a link or a whole folder. Links are not followed."""
    if os.path.islink(path) or not os.path.isdir(path):
        os.unlink(path)
        return
    with os.scandir(path) as children:
        for child in children:
            if child.is_dir(follow_symlinks=False):
                discard(child.path)
            else:
                os.unlink(child.path)
    os.rmdir(path)

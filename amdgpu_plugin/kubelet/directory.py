"""The device-plugins directory, watched: who is there, and whether the kubelet made its socket anew.

inotify makes it immediate, a stat poll makes it certain: a watch goes deaf when its directory is deleted
and made again, and behind a bind mount (hostPath) not even that is reported.
"""

import asyncio
import contextlib
import logging
import os
import stat
from dataclasses import dataclass

from asyncinotify import Inotify, Mask

from amdgpu_plugin.node import Latest

log = logging.getLogger(__name__)

KUBELET_SOCKET = "kubelet.sock"
POLL_SECONDS = 1.0

_EVENTS = (
    Mask.CREATE
    | Mask.DELETE
    | Mask.MOVED_TO
    | Mask.MOVED_FROM
    | Mask.ATTRIB
    | Mask.DELETE_SELF
    | Mask.MOVE_SELF
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a socket this socket: inode numbers are reused, so the change time counts as well."""

    device: int
    inode: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class View:
    """The directory at one moment. `directory` is its (device, inode); None when it is not there.

    `deleted` says that the directory behind this path was deleted while we hold it as a mount (no link is
    left): only a restart of the container mounts the new one.
    """

    directory: tuple[int, int] | None
    kubelet: Identity | None
    sockets: tuple[str, ...]
    deleted: bool


def look(directory: str) -> View:
    """The directory as it is now. Never raises: what cannot be seen is not there."""
    try:
        status = os.stat(directory)
        names = sorted(os.listdir(directory))
    except OSError:
        return View(None, None, (), deleted=False)
    sockets = tuple(name for name in names if _socket_status(os.path.join(directory, name)) is not None)
    return View(
        directory=(status.st_dev, status.st_ino),
        kubelet=identity(os.path.join(directory, KUBELET_SOCKET)),
        sockets=sockets,
        deleted=status.st_nlink == 0,
    )


def identity(path: str) -> Identity | None:
    """The socket at a path, None when there is none."""
    status = _socket_status(path)
    return None if status is None else Identity(status.st_dev, status.st_ino, status.st_ctime_ns)


def _socket_status(path: str) -> os.stat_result | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status if stat.S_ISSOCK(status.st_mode) else None


class DirectoryWatch:
    """Keeps a View up to date while `run` runs."""

    def __init__(self, directory: str, *, poll_seconds: float = POLL_SECONDS) -> None:
        """The first look is taken here."""
        self.directory = directory
        self.view: Latest[View] = Latest(look(directory))
        self._poll_seconds = poll_seconds
        self._said_no_inotify = False

    async def run(self) -> None:
        """Look at every event and at every poll, for ever."""
        while True:
            watched = self.refresh().directory
            try:
                async with contextlib.AsyncExitStack() as stack:
                    inotify = stack.enter_context(Inotify())
                    if watched is not None:
                        inotify.add_watch(self.directory, _EVENTS)
                    await self._follow(inotify, watched)
            except OSError as error:
                self._say_no_inotify(error)
                await asyncio.sleep(self._poll_seconds)

    def refresh(self) -> View:
        """Look now."""
        self.view.set(look(self.directory))
        return self.view.value

    async def _follow(self, inotify: Inotify, watched: tuple[int, int] | None) -> None:
        """Until the directory is another than the one watched: another number, or the watch ended with it."""
        # Waited for through all polls: when cancelled, it would lose the events that it has read.
        event = asyncio.create_task(inotify.get())
        try:
            ended = False
            while not ended:
                await asyncio.wait([event], timeout=self._poll_seconds)
                if event.done():
                    ended = Mask.IGNORED in event.result().mask
                    event = asyncio.create_task(inotify.get())
                ended |= self.refresh().directory != watched
        finally:
            event.cancel()
            await asyncio.wait([event])

    def _say_no_inotify(self, error: OSError) -> None:
        if not self._said_no_inotify:
            log.warning(
                "no inotify: the directory is polled",
                extra={
                    "fields": {
                        "directory": self.directory,
                        "seconds": self._poll_seconds,
                        "error": str(error),
                    }
                },
            )
            self._said_no_inotify = True

import asyncio
import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Never

import asyncinotify
import pytest

from amdgpu_plugin.kubelet import directory as directory_module
from amdgpu_plugin.kubelet.directory import DirectoryWatch, Identity, View, identity, look
from amdgpu_plugin.node import Latest
from tests.kubelet.worlds import (
    GUARD_SECONDS,
    DeafInotify,
    NoInotify,
    lines,
    make_dead_socket,
    running,
    until,
)

NEVER = 3600.0
"""Poll so seldom that only inotify can have told."""
OFTEN = 0.01


def identity_of(path: str) -> Identity:
    status = os.lstat(path)
    return Identity(status.st_dev, status.st_ino, status.st_ctime_ns)


def test_a_directory_that_is_not_there(directory: str) -> None:
    assert look(f"{directory}/none") == View(None, None, (), deleted=False)


def test_a_file_in_place_of_the_directory(directory: str) -> None:
    Path(directory, "file").touch()
    assert look(f"{directory}/file") == View(None, None, (), deleted=False)


def test_only_sockets_are_seen(directory: str) -> None:
    for name in ("b.sock", "kubelet.sock", "a.sock"):
        make_dead_socket(f"{directory}/{name}")
    Path(directory, "plain").touch()
    Path(directory, "folder").mkdir()
    Path(directory, "link").symlink_to("a.sock")
    os.mkfifo(f"{directory}/fifo")
    status = os.stat(directory)
    assert look(directory) == View(
        directory=(status.st_dev, status.st_ino),
        kubelet=identity_of(f"{directory}/kubelet.sock"),
        sockets=("a.sock", "b.sock", "kubelet.sock"),
        deleted=False,
    )


def test_a_plain_file_called_kubelet_sock_is_no_kubelet(directory: str) -> None:
    Path(directory, "kubelet.sock").touch()
    assert look(directory).kubelet is None


def test_a_socket_made_again_is_another_even_with_its_inode_number(directory: str) -> None:
    path = f"{directory}/kubelet.sock"
    make_dead_socket(path)
    before = identity(path)
    assert before is not None
    os.link(path, f"{path}.kept")  # same inode, as if its number were used again at once
    os.unlink(path)
    os.rename(f"{path}.kept", path)
    after = identity(path)
    assert after is not None
    assert (after.device, after.inode) == (before.device, before.inode)
    assert after != before


@pytest.fixture
def held_directory(directory: str) -> Iterator[str]:
    """`directory` as a container holds it: by a mount that stays when the directory goes."""
    descriptor = os.open(directory, os.O_RDONLY)
    yield f"/proc/self/fd/{descriptor}"
    os.close(descriptor)


def test_a_mounted_directory_that_was_deleted_on_the_host(directory: str, held_directory: str) -> None:
    before = look(held_directory)
    os.rmdir(directory)
    after = look(held_directory)
    os.mkdir(directory)
    assert before.directory is not None
    assert not before.deleted
    assert after == View(before.directory, None, (), deleted=True)


class Ears:
    """Names that inotify told of, over all watches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heard: Latest[frozenset[str]] = Latest(frozenset())
        self._numbers = count()
        ears = self

        class Inotify(asyncinotify.Inotify):
            async def get(self) -> asyncinotify.Event:
                event = await super().get()
                ears.heard.set(ears.heard.value | {str(event.name)})
                return event

        monkeypatch.setattr(directory_module, "Inotify", Inotify)

    async def hear(self, directory: str) -> None:
        """Until new sockets are told of, and all that were. One made before the watch was set never is."""
        async with asyncio.timeout(GUARD_SECONDS):
            made: list[str] = []
            while not self.heard.value.intersection(made):
                made.append(f"probe{next(self._numbers)}.sock")
                make_dead_socket(f"{directory}/{made[-1]}")
                await asyncio.sleep(0)
        await until(self.heard, lambda heard: made[-1] in heard)
        for _ in range(20):  # and acted on: what changes from now on needs an event of its own
            await asyncio.sleep(0)


@pytest.fixture
def ears(monkeypatch: pytest.MonkeyPatch) -> Ears:
    return Ears(monkeypatch)


async def test_a_new_kubelet_socket_is_told_at_once(directory: str, ears: Ears) -> None:
    watch = DirectoryWatch(directory, poll_seconds=NEVER)
    async with running(watch.run()):
        await ears.hear(directory)
        make_dead_socket(f"{directory}/kubelet.sock")
        view = await until(watch.view, lambda view: view.kubelet is not None)
    assert view == look(directory)


async def test_a_removed_and_a_renamed_socket_are_told_at_once(directory: str, ears: Ears) -> None:
    make_dead_socket(f"{directory}/gone.sock")
    make_dead_socket(f"{directory}/old.sock")
    watch = DirectoryWatch(directory, poll_seconds=NEVER)
    async with running(watch.run()):
        await ears.hear(directory)
        os.unlink(f"{directory}/gone.sock")
        await until(watch.view, lambda view: "gone.sock" not in view.sockets)
        os.rename(f"{directory}/old.sock", f"{directory}/new.sock")
        await until(watch.view, lambda view: "old.sock" not in view.sockets and "new.sock" in view.sockets)


async def test_a_directory_made_later_is_found_and_watched(directory: str, ears: Ears) -> None:
    path = f"{directory}/device-plugins"
    watch = DirectoryWatch(path, poll_seconds=OFTEN)
    assert watch.view.value == View(None, None, (), deleted=False)
    async with running(watch.run()):
        os.mkdir(path)
        await until(watch.view, lambda view: view.directory is not None)
        await ears.hear(path)


async def test_a_directory_deleted_and_made_again_is_watched_again(directory: str, ears: Ears) -> None:
    path = f"{directory}/device-plugins"
    os.mkdir(path)
    watch = DirectoryWatch(path, poll_seconds=OFTEN)
    async with running(watch.run()):
        os.rmdir(path)
        await until(watch.view, lambda view: view.directory is None)
        os.mkdir(path)
        await until(watch.view, lambda view: view.directory is not None)
        await ears.hear(path)


async def test_a_directory_made_again_at_once_is_watched_though_its_inode_number_is_the_same(
    directory: str, ears: Ears
) -> None:
    path = f"{directory}/device-plugins"
    os.mkdir(path)
    watch = DirectoryWatch(path, poll_seconds=OFTEN)
    async with running(watch.run()):
        await ears.hear(path)
        shutil.rmtree(path)
        os.mkdir(path)
        await ears.hear(path)


async def test_another_directory_moved_into_place_is_told_at_once_and_watched(
    directory: str, ears: Ears
) -> None:
    path = f"{directory}/device-plugins"
    os.mkdir(path)
    os.mkdir(f"{path}.new")
    make_dead_socket(f"{path}.new/kubelet.sock")
    watch = DirectoryWatch(path, poll_seconds=NEVER)
    async with running(watch.run()):
        await ears.hear(path)
        os.rename(path, f"{path}.old")
        os.rename(f"{path}.new", path)
        await until(watch.view, lambda view: view.kubelet is not None)
        os.unlink(f"{path}/kubelet.sock")
        await until(watch.view, lambda view: view.directory is not None and view.kubelet is None)


@pytest.mark.parametrize("inotify", [NoInotify, DeafInotify])
async def test_a_deaf_watch_polls(directory: str, inotify: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "Inotify", inotify)
    watch = DirectoryWatch(directory, poll_seconds=OFTEN)
    async with running(watch.run()):
        make_dead_socket(f"{directory}/kubelet.sock")
        await until(watch.view, lambda view: view.kubelet is not None)
        os.unlink(f"{directory}/kubelet.sock")
        await until(watch.view, lambda view: view.kubelet is None)


async def test_a_poll_does_not_cut_off_the_reading_of_events(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, readings = Latest(0), Latest(0)

    def counted_look(path: str) -> View:
        looks.set(looks.value + 1)
        return look(path)

    class Inotify(DeafInotify):
        async def get(self) -> Never:
            readings.set(readings.value + 1)
            await super().get()

    monkeypatch.setattr(directory_module, "look", counted_look)
    monkeypatch.setattr(directory_module, "Inotify", Inotify)
    async with running(DirectoryWatch(directory, poll_seconds=OFTEN).run()):
        await until(looks, lambda count: count >= 5)
    assert readings.value == 1


async def test_no_inotify_is_said_once(
    directory: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(directory_module, "Inotify", NoInotify)
    watch = DirectoryWatch(directory, poll_seconds=OFTEN)
    async with running(watch.run()):
        for name in ("a.sock", "b.sock", "c.sock"):
            make_dead_socket(f"{directory}/{name}")
            await until(watch.view, lambda view, name=name: name in view.sockets)  # type: ignore[misc]
    assert [record.message for record in lines(caplog, directory_module.log)] == [
        "no inotify: the directory is polled"
    ]


async def test_a_watch_leaves_no_descriptor_behind(directory: str) -> None:
    before = os.listdir("/proc/self/fd")
    watch = DirectoryWatch(f"{directory}/device-plugins", poll_seconds=OFTEN)
    async with running(watch.run()):
        for _ in range(3):
            os.mkdir(watch.directory)
            await until(watch.view, lambda view: view.directory is not None)
            os.rmdir(watch.directory)
            await until(watch.view, lambda view: view.directory is None)
    assert os.listdir("/proc/self/fd") == before

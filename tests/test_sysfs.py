import errno
import os
from pathlib import Path as FilePath

import pytest

from amdgpu_plugin.sysfs import (
    READ_LIMIT,
    Absent,
    Blob,
    DirectorySysfs,
    Garbled,
    Names,
    Path,
    Refused,
    Text,
    Unreadable,
    decoded,
    unreadable,
)


@pytest.fixture
def sysfs(tmp_path: FilePath) -> DirectorySysfs:
    root = tmp_path / "sys"
    device = root / "devices" / "0000:05:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x1002\n")
    (device / "unique_id").write_text("")
    (device / "gpu_metrics").write_bytes(b"\xe0\x04\x01\x03")
    (root / "bus").mkdir()
    (root / "bus" / "gpu").symlink_to("../devices/0000:05:00.0")
    (root / "bus" / "again").symlink_to("gpu")
    (root / "bus" / "loop").symlink_to("loop")
    (root / "bus" / "dangling").symlink_to("../devices/none")
    (root / "bus" / "out").symlink_to("../../elsewhere")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("outside\n")
    return DirectorySysfs(str(root))


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("devices/0000:05:00.0/vendor", Text("0x1002\n")),
        ("devices/0000:05:00.0/unique_id", Text("")),
        ("bus/again/vendor", Text("0x1002\n")),
        ("devices/0000:05:00.0/gpu_metrics", Garbled("not UTF-8 text")),
        ("devices/0000:05:00.0/numa_node", Absent()),
        ("devices/0000:05:00.0/vendor/deeper", Absent()),
        ("bus/dangling", Absent()),
        ("bus/loop", Garbled("a loop of symbolic links")),
        ("devices", Garbled("a folder where a file should be")),
        ("devices/" + "x" * 300, Refused(errno.ENAMETOOLONG)),
    ],
)
def test_read_answers_with_a_value(sysfs: DirectorySysfs, path: str, answer: Text | Unreadable) -> None:
    assert sysfs.read(path) == answer


def test_read_bytes_leaves_what_is_not_text_as_it_is(sysfs: DirectorySysfs) -> None:
    assert sysfs.read_bytes("devices/0000:05:00.0/gpu_metrics") == Blob(b"\xe0\x04\x01\x03")


@pytest.mark.parametrize("length", [1, 4095, 4096, 4097, 8192, READ_LIMIT - 1, READ_LIMIT])
def test_files_up_to_the_limit_are_read_whole(tmp_path: FilePath, length: int) -> None:
    content = bytes(index % 251 for index in range(length))
    (tmp_path / "file").write_bytes(content)
    assert DirectorySysfs(str(tmp_path)).read_bytes("file") == Blob(content)


@pytest.mark.parametrize("length", [READ_LIMIT + 1, 2_000_000])
def test_longer_files_are_garbled_and_never_cut(tmp_path: FilePath, length: int) -> None:
    (tmp_path / "file").write_bytes(b"7" * length)
    assert DirectorySysfs(str(tmp_path)).read_bytes("file") == Garbled(f"longer than {READ_LIMIT} bytes")


def test_file_that_never_ends_is_garbled() -> None:
    assert DirectorySysfs("/dev").read_bytes("zero") == Garbled(f"longer than {READ_LIMIT} bytes")


@pytest.mark.parametrize("path", ["devices/0000:05:00.0/vendor", "none", "bus/loop", "devices"])
def test_no_answer_leaves_a_descriptor_open(sysfs: DirectorySysfs, path: str) -> None:
    before = os.listdir("/proc/self/fd")
    sysfs.read(path)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("devices/0000:05:00.0", Names(("gpu_metrics", "unique_id", "vendor"))),
        ("bus", Names(("again", "dangling", "gpu", "loop", "out"))),
        ("bus/gpu", Names(("gpu_metrics", "unique_id", "vendor"))),
        ("devices/0000:05:00.0/vendor", Garbled("a file where a folder should be")),
        ("none", Absent()),
        ("bus/loop", Garbled("a loop of symbolic links")),
    ],
)
def test_list_answers_with_a_value(sysfs: DirectorySysfs, path: str, answer: Names | Unreadable) -> None:
    assert sysfs.list(path) == answer


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("bus/again", Path("devices/0000:05:00.0")),
        ("bus/again/vendor", Path("devices/0000:05:00.0/vendor")),
        ("devices/0000:05:00.0/vendor", Path("devices/0000:05:00.0/vendor")),
        ("bus/dangling", Absent()),
        ("none/deeper", Absent()),
        ("bus/loop", Garbled("a loop of symbolic links")),
        ("bus/out", Garbled("a link that leads out of the sysfs root")),
        ("bus/out/file", Garbled("a link that leads out of the sysfs root")),
    ],
)
def test_resolve_answers_with_a_value(sysfs: DirectorySysfs, path: str, answer: Path | Unreadable) -> None:
    assert sysfs.resolve(path) == answer


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("bus/gpu", Text("../devices/0000:05:00.0")),
        ("bus/again", Text("gpu")),
        ("bus/loop", Text("loop")),
        ("bus/dangling", Text("../devices/none")),
        ("devices/0000:05:00.0/vendor", Garbled("not a symbolic link")),
        ("devices", Garbled("not a symbolic link")),
        ("none", Absent()),
    ],
)
def test_link_answers_with_the_target_as_written(
    sysfs: DirectorySysfs, path: str, answer: Text | Unreadable
) -> None:
    assert sysfs.link(path) == answer


def test_root_may_appear_later(tmp_path: FilePath) -> None:
    sysfs = DirectorySysfs(str(tmp_path / "sys"))
    assert (sysfs.list(""), sysfs.read("file")) == (Absent(), Absent())
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys" / "file").write_text("here\n")
    assert (sysfs.list(""), sysfs.read("file")) == (Names(("file",)), Text("here\n"))


def test_root_may_be_a_link(tmp_path: FilePath) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("here\n")
    (tmp_path / "root").symlink_to("real")
    assert DirectorySysfs(str(tmp_path / "root")).resolve("file") == Path("file")


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        (errno.ENOENT, Absent()),
        (errno.ENOTDIR, Absent()),
        (errno.EPERM, Refused(errno.EPERM)),
        (errno.EACCES, Refused(errno.EACCES)),
        (errno.EBUSY, Refused(errno.EBUSY)),
        (errno.EIO, Refused(errno.EIO)),
        (errno.ELOOP, Garbled("a loop of symbolic links")),
        (errno.EISDIR, Garbled("a folder where a file should be")),
        (None, Refused(errno.EIO)),
    ],
)
def test_errnos_become_answers(code: int | None, answer: Unreadable) -> None:
    error = OSError()
    error.errno = code
    assert unreadable(error) == answer


def test_read_that_fails_after_opening_is_refused(
    sysfs: DirectorySysfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    # amdgpu's attributes open, and then answer EPERM during a reset
    def refuse(descriptor: int, length: int) -> bytes:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("amdgpu_plugin.sysfs.os.read", refuse)
    assert sysfs.read("devices/0000:05:00.0/vendor") == Refused(errno.EPERM)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Blob("µ\n".encode()), Text("µ\n")),
        (Blob(b"\xff"), Garbled("not UTF-8 text")),
        (Absent(), Absent()),
        (Refused(errno.EIO), Refused(errno.EIO)),
    ],
)
def test_decoded_changes_bytes_alone(answer: Blob | Unreadable, text: Text | Unreadable) -> None:
    assert decoded(answer) == text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Absent(), "absent"),
        (Refused(errno.EPERM), "EPERM"),
        (Refused(12345), "errno 12345"),
        (Garbled("not UTF-8 text"), "not UTF-8 text"),
    ],
)
def test_answers_read_well_in_a_sentence(answer: Unreadable, words: str) -> None:
    assert str(answer) == words

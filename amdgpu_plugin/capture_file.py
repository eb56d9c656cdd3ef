"""A node's sysfs as one readable text file, and that file as a `Sysfs` again.

    amdgpu-plugin capture 1
    # a comment: where this comes from

    [devices/pci0000:00/0000:05:00.0]
    current_compute_partition ! EBUSY
    driver -> ../../../bus/pci/drivers/amdgpu
    gpu_metrics base64
    | 4AQBAw==
    numa_node = 0
    product_name ! ENOENT
    properties:
    | cpu_cores_count 0
    | simd_count 152
    unique_id json ""

    [devices/secret] ! EACCES

    end 9

`[folder]` opens a folder, by its path below the root (`[.]` is the root); the entries under it are names in
it. `=` is a file of one line and `:` one of several, each ending in a line end; a line of such a file that a
reader or an editor would lose (blanks at its end, a control character) is written `|"as JSON"`. `json` is
any other text, `base64` what is not UTF-8, `!` an errno instead of an answer (ENOENT: asked for and absent,
so not in the folder's listing; numbers for errnos without a name), `garbled` a file that could not be read
as one, `->` a symbolic link as it is written. `[folder] !` is a folder that refuses to be listed. Names and
targets that would be mistaken for something else are JSON strings. `end` counts the entries, folders with a
line of their own included, so that a file cut short is known.
"""

import base64
import errno
import gzip
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from amdgpu_plugin.sysfs import (
    READ_LIMIT,
    Absent,
    Blob,
    Garbled,
    Names,
    Path,
    Refused,
    Text,
    Unreadable,
    decoded,
    unreadable,
)

UNPACKED_LIMIT = 256 * 1024 * 1024
"""Bytes of text. A node with 64 partitions and all their links has some 2 MB."""

_HEADER = "amdgpu-plugin capture 1"
_AGAIN = "take it again"
_GZIP_MAGIC = b"\x1f\x8b"
_LINKS_FOLLOWED = 40  # the kernel's own limit (MAXSYMLINKS, include/linux/namei.h)
_ERRNOS = {name: number for number, name in errno.errorcode.items()}


class CaptureError(ValueError):
    """A capture that cannot be used; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link, its target as it is written."""

    target: str


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder; `refused` is the errno its listing answered with, None where it was listed."""

    refused: int | None = None


FileEntry = Blob | Absent | Refused | Garbled | Link
Entry = FileEntry | Folder
"""What a path was seen to be: a link, a folder, or the answer its reading gave."""


@dataclass(frozen=True, slots=True)
class Capture:
    """Everything seen of a sysfs, by path below its root. Made by `of`; every folder has its entry."""

    entries: Mapping[str, Entry]

    @classmethod
    def of(cls, entries: Mapping[str, Entry]) -> Self:
        """Folders on the way to an entry need not be given. CaptureError where something else is there."""
        complete: dict[str, Entry] = {"": Folder()}
        for path in entries:
            _add_folder(complete, path.rpartition("/")[0])
        for path, entry in entries.items():
            if isinstance(complete.get(path), Folder) and not isinstance(entry, Folder):
                raise CaptureError(f"{path} is given as a folder and as something else")
            complete[path] = entry
        return cls(MappingProxyType(complete))


def _add_folder(entries: dict[str, Entry], path: str) -> None:
    """The folder and those above it, except where they are known. CaptureError where no folder is."""
    while not isinstance(entries.get(path), Folder):
        if path in entries:
            raise CaptureError(f"{path} is given as a folder and as something else")
        entries[path] = Folder()
        path = path.rpartition("/")[0]


# --- a capture as a Sysfs


class _LeadsOutError(Exception):
    pass


class CaptureSysfs:
    """A capture that answers as the directory it was taken from did."""

    def __init__(self, capture: Capture) -> None:
        """What was not captured is Absent."""
        self._entries = capture.entries
        names: dict[str, list[str]] = {}
        for path, entry in capture.entries.items():
            if path and not isinstance(entry, Absent):
                folder, _, name = path.rpartition("/")
                names.setdefault(folder, []).append(name)
        self._names = {folder: tuple(sorted(inside)) for folder, inside in names.items()}

    def read_bytes(self, path: str) -> Blob | Unreadable:
        """See Sysfs."""
        try:
            entry = self._entries[self._walk(path)]
        except OSError as error:
            return unreadable(error)
        except _LeadsOutError:
            return _leads_out()
        if isinstance(entry, Folder):
            return unreadable(OSError(entry.refused or errno.EISDIR, ""))
        assert not isinstance(entry, Link), "a walk ends behind the last link"
        if isinstance(entry, Blob) and len(entry.value) > READ_LIMIT:
            return Garbled(f"longer than {READ_LIMIT} bytes")
        return entry

    def read(self, path: str) -> Text | Unreadable:
        """See Sysfs."""
        return decoded(self.read_bytes(path))

    def list(self, path: str) -> Names | Unreadable:
        """See Sysfs."""
        try:
            real = self._walk(path)
        except NotADirectoryError:
            return Garbled("a file where a folder should be")
        except OSError as error:
            return unreadable(error)
        except _LeadsOutError:
            return _leads_out()
        entry = self._entries[real]
        if not isinstance(entry, Folder):
            return Garbled("a file where a folder should be")
        return Names(self._names.get(real, ())) if entry.refused is None else Refused(entry.refused)

    def resolve(self, path: str) -> Path | Unreadable:
        """See Sysfs. The root itself counts as outside, as it does for a directory."""
        try:
            real = self._walk(path)
        except OSError as error:
            return unreadable(error)
        except _LeadsOutError:
            return _leads_out()
        return Path(real) if real else _leads_out()

    def link(self, path: str) -> Text | Unreadable:
        """See Sysfs."""
        try:
            entry = self._entries[self._walk(path, through_last=False)]
        except OSError as error:
            return unreadable(error)
        except _LeadsOutError:
            return _leads_out()
        return Text(entry.target) if isinstance(entry, Link) else Garbled("not a symbolic link")

    def _walk(self, path: str, *, through_last: bool = True) -> str:
        """The path of an entry, as the kernel would find it; OSError where it would answer with one."""
        entry = self._entries.get(path)
        if entry is not None and not isinstance(entry, Link | Absent):
            return path  # nothing captured lies behind a link: no need to look at each part
        here = ""
        followed = 0
        ahead = path.split("/")[::-1]
        while ahead:
            part = ahead.pop()
            if not isinstance(self._entries[here], Folder):
                raise NotADirectoryError(errno.ENOTDIR, here)
            if part == "..":
                if not here:
                    raise _LeadsOutError
                here = here.rpartition("/")[0]
                continue
            if part in ("", "."):
                continue
            step = f"{here}/{part}" if here else part
            entry = self._entry(here, step)
            if isinstance(entry, Link) and (ahead or through_last):
                followed += 1
                if followed > _LINKS_FOLLOWED:
                    raise OSError(errno.ELOOP, step)
                if entry.target.startswith("/"):
                    raise _LeadsOutError
                ahead.extend(reversed(entry.target.split("/")))
                continue
            here = step
        return here

    def _entry(self, folder: str, path: str) -> Entry:
        entry = self._entries.get(path, Absent())
        if isinstance(entry, Absent):
            inside = self._entries[folder]
            refused = inside.refused if isinstance(inside, Folder) and path not in self._entries else None
            raise OSError(refused or errno.ENOENT, path)
        return entry


def _leads_out() -> Garbled:
    return Garbled("a link that leads out of the sysfs root")


# --- text to capture


def load_capture(path: str) -> CaptureSysfs:
    """Read a capture, plain or gzip. CaptureError for whatever is none."""
    try:
        return CaptureSysfs(parse_capture(_unpacked(path).decode()))
    except EOFError as error:
        raise CaptureError(f"{path}: the capture is truncated: its gzip data ends early; {_AGAIN}") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise CaptureError(f"{path}: the capture is damaged ({error}); {_AGAIN}") from error
    except UnicodeDecodeError as error:
        raise CaptureError(f"{path}: not a capture: it is not UTF-8 text") from error
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}") from error
    except CaptureError as error:
        raise CaptureError(f"{path}: {error}") from error


def _unpacked(path: str) -> bytes:
    if not os.path.isfile(path):  # opening a FIFO would wait for a writer
        raise CaptureError("no such file")
    with open(path, "rb") as file:
        packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        file.seek(0)
        content = (gzip.GzipFile(fileobj=file) if packed else file).read(UNPACKED_LIMIT + 1)
    if len(content) > UNPACKED_LIMIT:
        raise CaptureError(f"longer than {UNPACKED_LIMIT} bytes: this is no capture of one node")
    return content


def parse_capture(text: str) -> Capture:
    """CaptureError, with the line's number, for what the module's docstring does not describe."""
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0] != _HEADER:
        raise CaptureError(_not_a_capture(lines[0]))
    while lines and not lines[-1]:
        lines.pop()
    counted = re.fullmatch("end ([0-9]+)", lines[-1])
    if counted is None:
        raise CaptureError(
            f"line {len(lines)}: the capture is truncated: no 'end' line after this one; {_AGAIN}"
        )
    parser = _Parser(lines)
    parser.parse()
    if parser.count != int(counted[1]):
        raise CaptureError(
            f"line {len(lines)}: the capture is damaged: 'end' says {counted[1]} entries, "
            f"{parser.count} are there; {_AGAIN}"
        )
    return Capture(MappingProxyType(parser.entries))


def _not_a_capture(first: str) -> str:
    if first.startswith(_HEADER.rpartition(" ")[0]):
        return (
            f"line 1: {first[:40]!r} is of another version, this program reads {_HEADER!r}: use a newer one"
        )
    return f"line 1: not a capture: a capture begins with {_HEADER!r}"


class _Parser:
    """One pass over the lines; `at` is the index of the line to be read next."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 1
        self._folder: str | None = None
        self._opened: set[str] = set()
        self.entries: dict[str, Entry] = {"": Folder()}
        self.count = 0

    def parse(self) -> None:
        last = len(self._lines) - 1
        while self._at < last:
            line = self._lines[self._at]
            self._at += 1
            number = self._at
            if not line or line.startswith("#"):
                continue
            self.count += 1
            try:
                if line.startswith("["):
                    self._open_folder(line)
                else:
                    self._add_entry(line)
            except ValueError as error:
                raise CaptureError(f"line {number}: {error}") from error

    def _open_folder(self, line: str) -> None:
        path, rest = _header_path(line)
        if path in self._opened:
            raise CaptureError(f"[{path or '.'}] was there before")
        self._opened.add(path)
        _add_folder(self.entries, path)
        self._folder = path
        if rest:
            refused = _errno_answer(rest[3:]) if rest.startswith(" ! ") else None
            if not isinstance(refused, Refused):
                raise CaptureError(f"a folder's line ends in ']' or in '] ! ERRNO', not in {rest!r}")
            self.entries[path] = Folder(refused.errno)

    def _add_entry(self, line: str) -> None:
        if self._folder is None:
            raise CaptureError(f"{line[:40]!r} stands before the first [folder]")
        name, rest = _name_and_rest(line)
        if not name or "/" in name or name in (".", ".."):
            raise CaptureError(f"{name!r} is no name for an entry")
        path = f"{self._folder}/{name}" if self._folder else name
        if path in self.entries:
            raise CaptureError(f"{path} is there twice")
        self.entries[path] = self._entry(rest)

    def _entry(self, rest: str) -> FileEntry:
        if rest.startswith(" = "):
            return Blob(f"{rest[3:]}\n".encode())
        if rest == ":":
            return Blob("".join(f"{line}\n" for line in self._block()).encode())
        if rest.startswith(" ! "):
            return _errno_answer(rest[3:])
        if rest.startswith(" -> "):
            return Link(_string(rest[4:]) if rest.startswith(' -> "') else rest[4:])
        if rest.startswith(" json "):
            return Blob(_string(rest[6:]).encode())
        if rest == " base64":
            return Blob(base64.b64decode("".join(self._block()), validate=True))
        if rest.startswith(" garbled "):
            return Garbled(_string(rest[9:]))
        raise CaptureError(
            "a name is followed by one of '= ', ':', '! ', '-> ', 'json ', 'base64', 'garbled '"
        )

    def _block(self) -> Iterator[str]:
        while (line := self._lines[self._at]).startswith("|"):
            self._at += 1
            if line.startswith("| "):
                yield line[2:]
            elif line.startswith('|"'):
                yield _string(line[1:])
            elif line == "|":
                yield ""
            else:
                raise CaptureError(f"'|' is followed by a blank or by a JSON string (line {self._at})")


def _header_path(line: str) -> tuple[str, str]:
    if line.startswith('["'):
        path, end = json.JSONDecoder().raw_decode(line, 1)
        rest = line[end:]
        if not rest.startswith("]"):
            raise CaptureError("the folder's ']' is missing")
        rest = rest[1:]
    else:
        path, bracket, rest = line[1:].partition("]")
        if not bracket:
            raise CaptureError("the folder's ']' is missing")
    if path == ".":
        return "", rest
    if not path or any(part in ("", ".", "..") for part in path.split("/")):
        raise CaptureError(f"[{path}] is not a path below the root")
    return path, rest


def _name_and_rest(line: str) -> tuple[str, str]:
    """The entry's name, and the rest with its blank or colon in front."""
    if line.startswith('"'):
        name, end = json.JSONDecoder().raw_decode(line)
        return name, line[end:]
    name, blank, rest = line.partition(" ")
    if blank:
        return name, blank + rest
    return name.removesuffix(":"), ":" if name.endswith(":") else ""


def _string(text: str) -> str:
    value = json.loads(text) if text.startswith('"') else None
    if not isinstance(value, str):
        raise CaptureError(f"{text[:40]!r} is no JSON string")
    return value


def _errno_answer(name: str) -> Absent | Refused | Garbled:
    number = int(name) if re.fullmatch("[1-9][0-9]{0,8}", name) else _ERRNOS.get(name)
    if number is None:
        raise CaptureError(f"{name!r} is no errno")
    return unreadable(OSError(number, ""))


# --- capture to text


def format_capture(capture: Capture, comments: Iterable[str] = ()) -> str:
    """The same text for the same capture, whatever the order it was made in."""
    folders: dict[str, Folder] = {}
    files: dict[str, dict[str, FileEntry]] = {}
    for path, entry in capture.entries.items():
        if isinstance(entry, Folder):
            folders[path] = entry
        else:
            files.setdefault(path.rpartition("/")[0], {})[path.rpartition("/")[2]] = entry
    told_by_what_is_in_them = {path.rpartition("/")[0] for path in folders if path} - files.keys()
    written: list[str] = []
    count = 0
    for folder in sorted(folders, key=_natural):
        if folder in told_by_what_is_in_them and folders[folder].refused is None:
            continue
        inside = files.get(folder, {})
        count += 1 + len(inside)
        written += ["", _header_line(folder, folders[folder])]
        for name in sorted(inside, key=_natural):
            written += _entry_lines(_name(name), inside[name])
    notes = [f"# {line}".rstrip() for comment in comments for line in comment.split("\n")]
    return "\n".join([_HEADER, *notes, *written, "", f"end {count}", ""])


def _natural(path: str) -> tuple[list[str], str]:
    """Numbers by size (card2 before card10), except in PCI addresses, which are hexadecimal and padded."""
    parts = path.split("/")
    padded = [part if ":" in part else re.sub("[0-9]+", lambda run: run[0].zfill(20), part) for part in parts]
    return padded, path


def _header_line(folder: str, entry: Folder) -> str:
    shown = folder or "."
    plain = shown.isprintable() and not re.search('[] ]|^"', shown)
    refused = "" if entry.refused is None else f" ! {_errno_name(entry.refused)}"
    return f"[{shown if plain else json.dumps(shown)}]{refused}"


def _name(name: str) -> str:
    plain = name.isprintable() and not re.search(' |^["#[|]|^end$', name)
    return name if plain else json.dumps(name)


def _errno_name(number: int) -> str:
    return errno.errorcode.get(number, str(number))


def _entry_lines(name: str, entry: FileEntry) -> list[str]:
    match entry:
        case Blob(content):
            return _content_lines(name, content)
        case Absent():
            return [f"{name} ! ENOENT"]
        case Refused(number):
            return [f"{name} ! {_errno_name(number)}"]
        case Garbled(why):
            return [f"{name} garbled {json.dumps(why)}"]
        case Link(target):
            plain = _is_plain(target) and not target.startswith('"')
            return [f"{name} -> {target if plain else json.dumps(target)}"]


def _content_lines(name: str, content: bytes) -> list[str]:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        encoded = base64.b64encode(content).decode()
        return [f"{name} base64", *(f"| {encoded[at : at + 76]}" for at in range(0, len(encoded), 76))]
    lines = text.split("\n")
    if lines.pop() or not lines or (len(lines) == 1 and not _is_plain(lines[0])):
        return [f"{name} json {json.dumps(text)}"]
    if len(lines) == 1:
        return [f"{name} = {lines[0]}"]
    return [f"{name}:", *map(_block_line, lines)]


def _block_line(line: str) -> str:
    if not line:
        return "|"
    return f"| {line}" if _is_plain(line.lstrip(" ")) else f"|{json.dumps(line)}"


def _is_plain(text: str) -> bool:
    """Whether it survives as it stands: visible, without blanks at its ends."""
    return text != "" and text.isprintable() and text[0] != " " and text[-1] != " "

"""Marketing names of AMD GPUs, out of the lists that distributions maintain.

Enters: the paths of two files, either of which may be missing. Leaves: a name by PCI id. Promised: nothing
is raised for what a file holds or lacks, at most 4 MiB of it are read, and only the rows of the devices
asked about stay in memory.

`amdgpu.ids` (Debian: libdrm-common) has lines `740F,<tab>02,<tab>AMD Instinct MI210`: device, revision, name.
`pci.ids` (Debian: pci.ids) has vendors at the margin, devices after one tab, subsystems after two:

    1002  Advanced Micro Devices, Inc. [AMD/ATI]
    <tab>740f  Aldebaran/MI200 [Instinct MI210]
    <tab><tab>1002 0c34  Instinct MI210
"""

import re
from dataclasses import dataclass

FILE_LIMIT = 4 * 1024 * 1024
"""Bytes read of either file: three times what pci.ids holds."""

_NAME_LIMIT = 200
_AMD = 0x1002
_AMDGPU_IDS_LINE = re.compile(rb"^[ \t]*([0-9A-Fa-f]{1,4}),[ \t]*([0-9A-Fa-f]{1,2}),([^\n]*)$", re.MULTILINE)
_AMD_VENDOR = re.compile(rb"^1002[ \t][^\n]*$", re.MULTILINE)
_NEXT_VENDOR = re.compile(rb"^[^\t#\s]", re.MULTILINE)
_NEXT_DEVICE = re.compile(rb"^\t[^\t#\s]", re.MULTILINE)
_SUBSYSTEM = re.compile(rb"^\t\t([0-9A-Fa-f]{4})[ \t]+([0-9A-Fa-f]{4})[ \t]+([^\n]*)$", re.MULTILINE)
_BRACKETS = re.compile(r"\[([^\[\]]+)\]")


@dataclass(frozen=True, slots=True)
class _Rows:
    """What both files say of one device."""

    by_revision: dict[int, str]
    device: str | None
    by_amd_subsystem: dict[int, str]


class ProductNames:
    """Names of the devices one node has, each device looked up once, when it is first asked about."""

    def __init__(self, *, amdgpu_ids: str | None, pci_ids: str | None) -> None:
        """Paths of the two files; None where there is none. Nothing is read yet."""
        self._amdgpu_ids = amdgpu_ids
        self._pci_ids = pci_ids
        self._rows: dict[int, _Rows] = {}

    def name(self, device_id: int, revision: int | None, subsystem: tuple[int, int] | None) -> str | None:
        """What AMD sells as this device (vendor 1002), as in `AMD Instinct MI300X`; None when not known.

        In this order: the name amdgpu.ids gives for the very revision; pci.ids; the name amdgpu.ids gives
        for other revisions of the device, when all of them have the same. From pci.ids comes the part in
        brackets (the code name where there are none) after `AMD`. Where that lists several products, as in
        `Radeon RX 6800/6800 XT / 6900 XT`, the subsystem's name is taken if AMD itself is the subsystem's
        vendor; other vendors write their trade names there, which say less about the GPU.
        """
        if device_id not in self._rows:
            self._rows[device_id] = self._look_up(device_id)
        rows = self._rows[device_id]
        if revision is not None and revision in rows.by_revision:
            return rows.by_revision[revision]
        if rows.device is not None:
            return _pci_ids_name(rows.device, rows.by_amd_subsystem, subsystem)
        names = set(rows.by_revision.values())
        return names.pop() if len(names) == 1 else None

    def _look_up(self, device_id: int) -> _Rows:
        device, by_amd_subsystem = _parse_pci_ids(_content(self._pci_ids), device_id)
        return _Rows(_parse_amdgpu_ids(_content(self._amdgpu_ids), device_id), device, by_amd_subsystem)


def _content(path: str | None) -> bytes:
    """At most FILE_LIMIT bytes in whole lines; nothing when there is no such file."""
    if path is None:
        return b""
    try:
        with open(path, "rb") as file:
            content = file.read(FILE_LIMIT)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return b""
    return content if len(content) < FILE_LIMIT else content[: content.rfind(b"\n") + 1]


def _parse_amdgpu_ids(content: bytes, device_id: int) -> dict[int, str]:
    """Names by revision. Of two lines for one revision the first counts, as libdrm has it."""
    names: dict[int, str] = {}
    for line in _AMDGPU_IDS_LINE.finditer(content):
        name = _cleaned(line[3])
        if int(line[1], 16) == device_id and name is not None:
            names.setdefault(int(line[2], 16), name)
    return names


def _parse_pci_ids(content: bytes, device_id: int) -> tuple[str | None, dict[int, str]]:
    """The name of AMD's device, and the names of its subsystems of AMD's own making by their id."""
    vendor = _AMD_VENDOR.search(content)
    if vendor is None:
        return None, {}
    devices = content[vendor.end() : _end(_NEXT_VENDOR, content, vendor.end() + 1)]
    device = re.search(rb"^\t%04x[ \t]+([^\n]*)$" % device_id, devices, re.MULTILINE | re.IGNORECASE)
    if device is None:
        return None, {}
    name = _cleaned(device[1])
    subsystems = devices[device.end() : _end(_NEXT_DEVICE, devices, device.end() + 1)]
    named = {
        int(row[2], 16): subsystem_name
        for row in _SUBSYSTEM.finditer(subsystems)
        if int(row[1], 16) == _AMD and (subsystem_name := _cleaned(row[3])) is not None
    }
    return name, named


def _end(following: re.Pattern[bytes], content: bytes, start: int) -> int:
    found = following.search(content, start)
    return len(content) if found is None else found.start()


def _pci_ids_name(device: str, by_amd_subsystem: dict[int, str], subsystem: tuple[int, int] | None) -> str:
    name = _marketing(device)
    several = "/" in name
    if several and subsystem is not None and subsystem[0] == _AMD and subsystem[1] in by_amd_subsystem:
        name = _marketing(by_amd_subsystem[subsystem[1]])
    return name if name.startswith(("AMD ", "ATI ")) else f"AMD {name}"


def _marketing(text: str) -> str:
    bracketed = _BRACKETS.findall(text)
    return str(bracketed[-1]).strip() if bracketed else text


def _cleaned(raw: bytes) -> str | None:
    """One line of printable text; None when nothing is left of it, or too much to be a name."""
    text = " ".join(raw.decode(errors="replace").split())
    text = "".join(character for character in text if character.isprintable())
    return text if text and len(text) <= _NAME_LIMIT else None

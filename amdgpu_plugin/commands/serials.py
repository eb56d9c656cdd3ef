"""Captures without serial numbers."""

import hashlib
import re

from amdgpu_plugin.capture_file import Capture, Entry
from amdgpu_plugin.discovery import pci
from amdgpu_plugin.sysfs import Blob

_FILES = frozenset({"unique_id", "serial_number", "xgmi_device_id"})
_KFD_UNIQUE_ID = re.compile(rb"^(unique_id\s+)([1-9]\d*)", re.MULTILINE)


def mask_serials(capture: Capture, *, key: bytes) -> Capture:
    """Serial numbers and unique ids replaced, equal ones by equal ones, so that nothing else changes.

    Without the key nobody finds a serial by trying them all: they are short.
    """
    return Capture.of({path: _masked(path, entry, key) for path, entry in capture.entries.items()})


def _masked(path: str, entry: Entry, key: bytes) -> Entry:
    if not isinstance(entry, Blob):
        return entry
    if "/topology/nodes/" in path:
        return Blob(
            _KFD_UNIQUE_ID.sub(lambda found: found[1] + b"%d" % _mask(int(found[2]), key), entry.value)
        )
    name, text = path.rpartition("/")[2], pci.clean(entry.value.decode(errors="replace"))
    if name not in _FILES or not text.strip("0"):
        return entry
    return Blob(f"{_masked_text(name, text, key)}\n".encode())


def _masked_text(name: str, text: str, key: bytes) -> str:
    """A number stays a number, in the base its file has it in."""
    try:
        if name == "unique_id":
            return f"{_mask(int(text, 16), key):016x}"
        if name == "xgmi_device_id":
            return str(_mask(int(text), key))
    except ValueError:
        pass
    return f"masked-{_mask(text, key):016x}"


def _mask(serial: int | str, key: bytes) -> int:
    """64 bits, like a unique_id."""
    return int.from_bytes(hashlib.blake2b(str(serial).encode(), digest_size=8, key=key).digest(), "big") or 1

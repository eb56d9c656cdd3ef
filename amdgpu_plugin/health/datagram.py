"""A uevent as the kernel sends it (lib/kobject_uevent.c): bytes enter, properties leave. Pure."""

from collections.abc import Mapping

LIMIT_BYTES = 8192
"""What libudev takes at most. The kernel's own messages stay below 2 KiB and a path."""


def datagram_properties(raw: bytes) -> Mapping[str, str] | None:
    """`action@devpath`, then `KEY=value` pairs, each ended by NUL. None for what the kernel never sends.

    Only the first line, ACTION, DEVPATH and SUBSYSTEM have to be text: TASK= of a reset is a name that
    any process may give itself, and must not hide the reset. Such a pair is left out.
    """
    if len(raw) > LIMIT_BYTES or not raw.endswith(b"\0"):
        return None
    header, *fields = raw[:-1].split(b"\0")
    pairs = (field.partition(b"=") for field in fields)
    properties: dict[str, str] = {}
    for key, equals, value in pairs:
        if equals and _is_text(key) and _is_text(value):
            properties[key.decode()] = value.decode()
    if not properties.get("SUBSYSTEM") or not properties.get("ACTION") or not properties.get("DEVPATH"):
        return None
    said = f"{properties['ACTION']}@{properties['DEVPATH']}"
    return properties if header == said.encode() else None


def _is_text(part: bytes) -> bool:
    try:
        part.decode()
    except UnicodeDecodeError:
        return False
    return True

"""A JSON file in the state directory: read with suspicion, replaced as a whole. Blocks.

The directory outlives the daemon, so that anything may be where the file was.
"""

import json
import os
import stat
from contextlib import suppress
from typing import Any, NoReturn

from amdgpu_plugin.health.evidence import LAST_TIME

LIMIT_BYTES = 16 * 1024 * 1024
_LONGEST_TEXT = 4096


def read(path: str) -> Any:
    """What it says, if every number and text in it is one that we can have written. OSError, ValueError.

    RecursionError where it is nested too deep.
    """
    return _checked(json.loads(_content(path), parse_constant=_refused))


def replace(path: str, said: Any) -> None:
    """Write it beside, and put that in its place; the directory is made. OSError where it cannot be done."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    beside = f"{path}.new"
    text = json.dumps(said)  # at once, in C: dump() makes it bit by bit, and holds up the loop for longer
    with suppress(FileNotFoundError):
        os.unlink(beside)  # whatever it is: a FIFO would never open
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    os.replace(beside, path)


def _content(path: str) -> bytes:
    """Only a plain file is read: a FIFO or a device in its place would hold up the start for ever."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("not a plain file")
        content = file.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise ValueError(f"over {LIMIT_BYTES} bytes")
    return content


def _refused(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _checked(said: Any) -> Any:
    if isinstance(said, float) and not 0 <= said <= LAST_TIME:
        raise ValueError(f"{said} is out of range")
    if isinstance(said, int) and not 0 <= said < 1 << 63:
        raise ValueError("a whole number is out of range")
    if isinstance(said, str):
        said.encode()  # UnicodeEncodeError, a ValueError, for half a surrogate pair
        if len(said) > _LONGEST_TEXT:
            raise ValueError(f"a text of {len(said)} characters")
    for each in (*said, *said.values()) if isinstance(said, dict) else said if isinstance(said, list) else ():
        _checked(each)
    return said

"""A small file of our own in the state directory, read and replaced as a whole. Blocks.

Whoever may write there may have left something else in its place: nothing of that holds us up.
"""

import os
import stat
from contextlib import suppress

LIMIT_BYTES = 16 * 1024 * 1024


def read_whole(path: str) -> bytes:
    """Only a plain file is read: a FIFO or a device would hold up the start for ever. OSError, ValueError."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("not a plain file")
        content = file.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise ValueError(f"over {LIMIT_BYTES} bytes")
    return content


def replace_whole(path: str, text: str) -> None:
    """The text instead of what was there, readable by us alone; its directory is made. OSError."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    beside = f"{path}.new"
    with suppress(FileNotFoundError):
        os.unlink(beside)  # whatever it is: a FIFO would never open
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    os.replace(beside, path)

"""Numbers as sysfs writes them: decimal, one to a file, with a line end and at times padding of NULs."""

import re

_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_NOT_READ = frozenset({-1, 2**16 - 1, 2**32 - 1, 2**64 - 1})
"""What hardware and firmware answer for a register that is not there: all ones."""
_COUNTERS_NOT_READ = frozenset({-1, 2**32 - 1, 2**64 - 1})
_PERCENT = 100


def bare(text: str) -> str:
    """Without the blanks, line ends and NULs around it."""
    return text.strip("\0 \t\r\n")


def parse_integer(text: str | None) -> int | None:
    """The number a file holds, and nothing but a number."""
    found = _INTEGER.fullmatch(bare(text)) if text is not None else None
    return int(found[0]) if found else None


def parse_measured(text: str | None, *, per_unit: int = 1) -> float | None:
    """A measured value in base units, `per_unit` of the file's to one; all-ones is None.

    The driver multiplies what the firmware told (degrees, watts, MHz), so all-ones may come multiplied.
    """
    value = parse_integer(text)
    if value is None or value in _NOT_READ or (value % per_unit == 0 and value // per_unit in _NOT_READ):
        return None
    return value / per_unit


def parse_count(text: str | None) -> int | None:
    """A counter or a size: never negative; all-ones is None, but for 65535, which is a count like any."""
    value = parse_integer(text)
    return None if value is None or value < 0 or value in _COUNTERS_NOT_READ else value


def parse_ratio(text: str | None) -> float | None:
    """A percentage as a ratio from 0 to 1."""
    value = parse_integer(text)
    return value / _PERCENT if value is not None and 0 <= value <= _PERCENT else None

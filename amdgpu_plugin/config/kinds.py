"""What a single value may be: each kind takes what YAML or a text gives, and gives what Config holds.

A value that cannot be used raises WrongValueError; which option it belongs to is said by the caller.
"""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from amdgpu_plugin.config.values import ListenAddress

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]*)):([0-9]{1,5})")
_SHAPE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*(:[1-9][0-9]{0,2})?")


class WrongValueError(Exception):
    """Says what is wrong, what to try, and where inside the value, as in `[2].host_path`."""

    def __init__(self, what: str, hint: str = "", at: str = "") -> None:
        """`hint` and `at` may be empty."""
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.at = at


@dataclass(frozen=True, slots=True)
class Kind:
    """`values` tells people what is allowed; `from_text` makes of a flag's text what YAML would give."""

    values: str
    metavar: str
    check: Callable[[object], Any]
    from_text: Callable[[str], object] = str


def closest(word: str, words: Sequence[str]) -> str:
    """A hint, or nothing when no word comes near."""
    close = difflib.get_close_matches(word, words, 1)
    return f"did you mean {close[0]}?" if close else ""


def seconds(low: int, high: int) -> Kind:
    """Whole or decimal, without a unit."""

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise WrongValueError(
                f"must be a number of seconds, got {shown(value)}", "a plain number, no unit"
            )
        return float(_in_range(value, low, high, "seconds"))

    return Kind(f"seconds, {low} to {high}", "SECONDS", check, _number_from_text)


def whole(low: int, high: int) -> Kind:
    """A whole number."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise WrongValueError(f"must be a whole number, got {shown(value)}")
        return int(_in_range(value, low, high, ""))

    return Kind(f"{low} to {high}", "N", check, _number_from_text)


def word(*words: str) -> Kind:
    """One of a few words."""

    def check(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        hint = closest(value, words) if isinstance(value, str) else ""
        raise WrongValueError(f"must be {' or '.join(words)}, got {shown(value)}", hint)

    return Kind(" | ".join(words), "WORD", check)


def _in_range(value: float, low: int, high: int, unit: str) -> float:
    if not low <= value <= high:
        raise WrongValueError(f"must be between {low} and {high} {unit}".rstrip() + f", got {value}")
    return value


def _number_from_text(text: str) -> object:
    if re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    return float(text) if re.fullmatch(r"[+-]?[0-9]{1,18}\.[0-9]{1,18}", text) else text


def _switch_from_text(text: str) -> object:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)


def check_switch(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise WrongValueError(f"must be true or false, got {shown(value)}")
    return value


def check_path(value: object) -> str:
    """Any path, relative ones too."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise WrongValueError(f"must be a path, got {shown(value)}")
    return value


def _check_shape(value: object) -> str:
    if not isinstance(value, str) or not _SHAPE.fullmatch(value):
        raise WrongValueError(
            f"must be a shape, got {shown(value)}", "for example mi300x, or mi300x:4 for four GPUs"
        )
    return value


def _check_address(value: object) -> ListenAddress | None:
    if value == "":
        return None
    found = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        hint = "for example :9400, 127.0.0.1:9400 or [::1]:9400; empty is off"
        raise WrongValueError(f"must be ADDRESS:PORT, got {shown(value)}", hint)
    return ListenAddress(found[1] or found[2], int(_in_range(int(found[3]), 0, 65535, "(the port)")))


def shown(value: object) -> str:
    """As the operator wrote it, cut short; lists and mappings by their kind."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - fits a terminal's line


SWITCH = Kind("true | false", "", check_switch, _switch_from_text)
PATH = Kind("path", "PATH", check_path)
SHAPE = Kind("shape", "SHAPE", _check_shape)
ADDRESS = Kind("ADDRESS:PORT, empty is off", "ADDRESS:PORT", _check_address)

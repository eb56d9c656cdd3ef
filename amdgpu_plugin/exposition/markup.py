"""Elements of HTML and SVG, escaped by construction: what a node says is text, and never becomes markup."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal
from xml.etree.ElementTree import Element, tostring

Level = Literal["good", "warn", "bad", "none"]
"""How it stands with something: `none` is for what nothing is said of, such as a GPU that is not offered."""
Inside = Element | str | None

_UNSENDABLE = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
"""What no document may hold: control characters, halves of surrogate pairs out of file names, and what turns
the direction of all that follows."""

MARKS: Mapping[Level, str] = {
    "good": "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zM6.9 11.7 3.5 8.3l1.3-1.3 2.1 2.1 4.4-4.4 1.3 1.3z",
    "warn": "M8 1.2 15.6 14.6H.4zM7.1 5.8h1.8v4.4H7.1zM7.1 11.3h1.8v1.8H7.1z",
    "bad": "M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1zM5.2 4 8 6.8 10.8 4 12 5.2 9.2 8l2.8 2.8-1.2 1.2L8 "
    "9.2 5.2 12 4 10.8 6.8 8 4 5.2z",
    "none": "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zM8 2.6a5.4 5.4 0 1 1 0 10.8A5.4 5.4 0 0 1 8 2.6z"
    "M4.8 7.1h6.4v1.8H4.8z",
}
"""Paths in a square of 16: each level has a shape of its own, to be filled by the even-odd rule."""


def element(tag: str, *inside: Inside, **attributes: str | float | None) -> Element:
    """`element("td", "61 °C", class_="number", data_gpu=address)`; what is None is left out."""
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_").replace("_", "-"), sendable(_written(value)))
    return fill(made, inside)


def fill(made: Element, inside: Iterable[Inside]) -> Element:
    """The element, with these after what is in it."""
    last = made[-1] if len(made) else None
    for each in inside:
        if each is None:
            continue
        if not isinstance(each, str):
            made.append(each)
            last = each
        elif last is None:
            made.text = (made.text or "") + sendable(each)
        else:
            last.tail = (last.tail or "") + sendable(each)
    return made


def mark(level: Level) -> Element:
    """The level's shape; it stands beside the word that says the same."""
    path = element("path", d=MARKS[level], fill_rule="evenodd")
    return element("svg", path, class_=f"mark {level}", viewBox="0 0 16 16", aria_hidden="true")


def sendable(text: str) -> str:
    """The text with U+FFFD for what cannot be sent."""
    return text if text.isascii() and text.isprintable() else _UNSENDABLE.sub("\ufffd", text)


def html(root: Element) -> bytes:
    """A document as browsers read it."""
    return f"<!DOCTYPE html>\n{tostring(root, encoding='unicode', method='html')}".encode()


def xml(root: Element) -> bytes:
    """A document as a file of its own."""
    return f"<?xml version='1.0' encoding='utf-8'?>\n{tostring(root, encoding='unicode')}\n".encode()


def _written(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"

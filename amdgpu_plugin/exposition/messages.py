"""What pages are asked by and what they answer with; how that gets over a socket is `http.py`'s."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

CLOSED_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy of a page that loads nothing."""


@dataclass(frozen=True, slots=True)
class Request:
    """A GET or HEAD: the path without its query, and two headers, each empty where it is not there."""

    path: str
    accept: str = ""
    if_none_match: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. `body` comes in pieces, so that answers can share the large ones."""

    status: int
    body: tuple[bytes, ...]
    content_type: str = "text/plain; charset=utf-8"
    policy: str = CLOSED_POLICY
    headers: tuple[tuple[str, str], ...] = ()


Answer = Callable[[Request], Awaitable[Response]]


def text(status: int, told: str, *headers: tuple[str, str]) -> Response:
    """Something to say in plain text."""
    return Response(status, (f"{told}\n".encode(),), headers=headers)

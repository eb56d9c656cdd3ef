"""The sockets to listen on, taken before anything else starts, so that a busy port ends the start."""

import errno
import os
import socket
from collections.abc import Iterable

BACKLOG = 128

_HINTS = {
    errno.EADDRINUSE: "something else listens there: choose another --http-address, or an empty one for none",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "ports below 1024 need a privilege this process has not",
}


class CannotListenError(Exception):
    """An address that cannot be listened on: which, why, and what to try."""


def bind(host: str, port: int) -> list[socket.socket]:
    """Listening sockets; an empty host is every address of both families, port 0 a free port.

    Raises CannotListenError. Blocks while a host name is looked up.
    """
    try:
        return [_every_address(port)] if not host else _addresses(host, port)
    except OSError as error:
        where = _shown(host, port)
        number = error.errno or 0
        # create_server puts the address into its message, getaddrinfo has numbers of its own
        why = os.strerror(number) if number in errno.errorcode else error.strerror or str(error)
        hint = _HINTS.get(number)
        raise CannotListenError(
            f"cannot listen on {where}: {why}" + (f" ({hint})" if hint else "")
        ) from error


def addresses_of(sockets: Iterable[socket.socket]) -> str:
    """Where they really listen: `[::]:9400` is every address of both families."""
    return ", ".join(_shown(*listening.getsockname()[:2]) for listening in sockets)


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _every_address(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=BACKLOG)


def _addresses(host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    made: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((info[0], info[4]) for info in found):
            # A free port is chosen once, and is the same for all addresses of a name.
            chosen = made[0].getsockname()[1] if made else port
            made.append(
                socket.create_server((address[0], chosen, *address[2:]), family=family, backlog=BACKLOG)
            )
    except OSError:
        for listening in made:
            listening.close()
        raise
    return made

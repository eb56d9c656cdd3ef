"""Where the API server is, and who we are to it: what the kubelet puts into a container."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field

from amdgpu_plugin.exposition.kubernetes.problems import Problem

DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"
_FILE_BYTES = 256 * 1024
_LAST_PORT = 65535
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,253}")
"""A name or an address, with a zone perhaps."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """`host` may be an IPv6 address, without brackets. `authority` are certificates in PEM."""

    host: str
    port: int
    authority: str
    token: str = field(repr=False)

    @property
    def authority_name(self) -> str:
        """For the Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def api_server(environ: Mapping[str, str], directory: str) -> ApiServer | Problem:
    """As it is now: tokens are renewed about every hour, and the authority may be as well.

    Reads on the spot, since the files are small and in memory (a projected volume is a tmpfs).
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        return _outside("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set", "run it in a pod")
    if not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) <= _LAST_PORT:
        return _outside(
            f"KUBERNETES_SERVICE_PORT is no port: {port[:40]!r}", "set it to the API server's port"
        )
    if not _HOST.fullmatch(host.strip("[]")):
        remedy = "set it to the API server's name or address, without a scheme"
        return _outside(f"KUBERNETES_SERVICE_HOST is no host: {host[:253]!r}", remedy)
    files = {name: _read(os.path.join(directory, name)) for name in ("token", "ca.crt")}
    for name, text in files.items():
        if isinstance(text, Problem):
            return text
        if not text.strip() or not text.isascii():
            return _outside(f"{os.path.join(directory, name)} holds nothing of use", _MOUNT)
    token = str(files["token"]).strip()
    if not token.isprintable():
        return _outside(f"{os.path.join(directory, 'token')} holds no token", _MOUNT)
    return ApiServer(host.strip("[]"), int(port), str(files["ca.crt"]), token)


_MOUNT = "the pod needs its ServiceAccount's token: automountServiceAccountToken: true"


def _outside(told: str, remedy: str) -> Problem:
    return Problem("not_in_cluster", told, remedy)


def _read(path: str) -> str | Problem:
    try:
        # A FIFO would hold up everything: without O_NONBLOCK it is opened when somebody writes to it.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8", errors="replace") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return _outside(f"{path}: not a plain file", _MOUNT)
            return file.read(_FILE_BYTES)
    except OSError as error:
        return _outside(f"{path}: {error.strerror or error}", _MOUNT)

"""Sockets of plugins in the device-plugins directory: our names, our dead, and who else lives there."""

import contextlib
import logging
import os
import re
import secrets
import socket
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

import grpc

from amdgpu_plugin.discovery.inventory import SHARED
from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as wire

log = logging.getLogger(__name__)

PATH_LIMIT = 107
"""Bytes of a unix socket's path (sun_path holds 108 with its final NUL)."""

ANSWER_SECONDS = 5.0

_OURS = re.compile(r"amdgpu-plugin-[0-9a-f]{8}-\d+\.sock")
_LONGEST_NAME = "amdgpu-plugin-00000000-999999.sock"


@dataclass(frozen=True, slots=True, order=True)
class Made:
    """When a socket was made, in UNIX nanoseconds; of two at the same time the name decides."""

    time_ns: int
    name: str


class SocketNames:
    """Names for one process's sockets: a name is never used twice, so nobody else's can be ours."""

    def __init__(self) -> None:
        """Eight random hex digits per process start."""
        self._prefix = f"amdgpu-plugin-{secrets.token_hex(4)}-"
        self._numbers = count(1)

    def next(self) -> str:
        """A name not used before."""
        return f"{self._prefix}{next(self._numbers)}.sock"

    def is_own(self, name: str) -> bool:
        """True for a name of this very process."""
        return name.startswith(self._prefix)


def path_is_too_long(directory: str) -> bool:
    """True where a socket of ours would not fit below the directory."""
    return len(os.fsencode(os.path.join(directory, _LONGEST_NAME))) > PATH_LIMIT


def of_other_plugin(resource: str) -> str:
    """The socket name another plugin for the resource uses: `amd.com_gpu`, as AMD's does."""
    return resource.removesuffix(SHARED).replace("/", "_")


def is_of_this_product(name: str) -> bool:
    """True for a socket of any process of ours."""
    return _OURS.fullmatch(name) is not None


def of_same_process(name: str, names: Iterable[str]) -> list[str]:
    """Those of the names that the process made which made this one of ours."""
    prefix = name.rpartition("-")[0]
    return [other for other in names if other.rpartition("-")[0] == prefix]


def first_made(directory: str, names: Iterable[str]) -> Made | None:
    """When the first of the sockets was made; None when none is there."""
    made = []
    for name in names:
        with contextlib.suppress(OSError):
            made.append(Made(os.lstat(os.path.join(directory, name)).st_mtime_ns, name))
    return min(made, default=None)


def remove_if_dead(directory: str, name: str) -> bool:
    """Delete a socket of ours that nobody listens at; True if it was deleted or is gone."""
    path = os.path.join(directory, name)
    if not is_of_this_product(name) or not _nobody_listens(path):
        return False
    try:
        os.unlink(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        log.warning("leftover socket stays", extra={"fields": {"socket": path, "error": str(error)}})
        return False
    log.info("leftover socket removed", extra={"fields": {"socket": path}})
    return True


def connect(path: str, *options: tuple[str, int]) -> grpc.aio.Channel:
    """A channel with a connection of its own.

    gRPC else has all channels to a path share one, and with it the wait after a failure, or the end of the
    socket that was there before.
    """
    return grpc.aio.insecure_channel(f"unix:{path}", [("grpc.use_local_subchannel_pool", 1), *options])


async def answers(path: str) -> bool:
    """True if a device plugin serves there: it answers GetDevicePluginOptions in time."""
    async with connect(path) as channel:
        try:
            await wire.DevicePluginStub(channel).GetDevicePluginOptions(api.Empty(), timeout=ANSWER_SECONDS)
        except grpc.aio.AioRpcError:
            return False
    return True


def _nobody_listens(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            probe.connect(path)
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except OSError:
        return False  # not ours to judge: full backlog, no permission
    return False

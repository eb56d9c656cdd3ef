"""Kernel uevents of our own, on real netlink: in a network namespace that nobody else hears."""

import ctypes
import fcntl
import os
import socket
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

NETLINK_KOBJECT_UEVENT = 15
KERNEL_GROUP = 1
NLM_F_REQUEST = 1
CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class PrivateNetwork:
    """A network namespace; `kernel` is a NETLINK_KOBJECT_UEVENT socket inside it."""

    kernel: socket.socket

    def send(self, message: bytes) -> None:
        """To the kernel, which adds SEQNUM and tells all listeners, as if it were its own (2 KiB at most)."""
        header = struct.pack("=IHHII", 16 + len(message), 16, NLM_F_REQUEST, 0, 0)
        self.kernel.sendto(header + message, (0, 0))

    def spoof(self, message: bytes) -> None:
        """To the listeners, past the kernel: they see a sender that is not the kernel."""
        self.kernel.sendto(message, (0, KERNEL_GROUP))


@contextmanager
def private_network() -> Iterator[PrivateNetwork]:
    """This thread, and processes started from it, are in a fresh network namespace. PermissionError without root."""
    libc = ctypes.CDLL(None, use_errno=True)
    with _turn(fcntl.LOCK_SH), open("/proc/thread-self/ns/net", "rb") as before:
        if libc.unshare(CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"no network namespace of our own: {os.strerror(number)}")
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT) as kernel:
                yield PrivateNetwork(kernel)
        finally:
            libc.setns(before.fileno(), CLONE_NEWNET)


@contextmanager
def real_events() -> Iterator[None]:
    """Events of the kernel's own may be made: all network namespaces hear them, so nobody counts meanwhile."""
    with _turn(fcntl.LOCK_EX):
        yield


@contextmanager
def _turn(kind: int) -> Iterator[None]:
    with open(os.path.join(tempfile.gettempdir(), "amdgpu-plugin-tests-uevents"), "a") as lock:
        fcntl.flock(lock, kind)
        yield


def message(action: str, path: str, subsystem: str, **pairs: str) -> bytes:
    """The kernel's bytes, without the SEQNUM it adds; `path` is below the sysfs root."""
    said = {"ACTION": action, "DEVPATH": f"/{path}", "SUBSYSTEM": subsystem, **pairs}
    fields = [f"{action}@/{path}", *(f"{key}={value}" for key, value in said.items())]
    return "".join(f"{field}\0" for field in fields).encode()

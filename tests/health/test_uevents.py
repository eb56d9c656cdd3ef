"""Real netlink, in a network namespace of its own: what is sent to the kernel there comes back as its event."""

import asyncio
import ctypes
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace

import pytest

from amdgpu_plugin.health.uevents import Uevents

NETLINK_KOBJECT_UEVENT = 15
NLM_F_REQUEST = 1
CLONE_NEWNET = 0x40000000
UNBIND = (
    b"unbind@/devices/pci0000:00/0000:05:00.0\0ACTION=unbind\0"
    b"DEVPATH=/devices/pci0000:00/0000:05:00.0\0SUBSYSTEM=pci\0PCI_SLOT_NAME=0000:05:00.0\0"
)
MEM = b"change@/devices/virtual/mem/null\0ACTION=change\0DEVPATH=/devices/virtual/mem/null\0SUBSYSTEM=mem\0"


@pytest.fixture
def kernel() -> Iterator[socket.socket]:
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as before:
        if libc.unshare(CLONE_NEWNET) != 0:
            pytest.skip(f"no network namespace of our own: {os.strerror(ctypes.get_errno())} (needs root)")
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT) as sender:
                yield sender
        finally:
            libc.setns(before.fileno(), CLONE_NEWNET)


def send(kernel: socket.socket, payload: bytes) -> None:
    header = struct.pack("=IHHII", 16 + len(payload), 16, NLM_F_REQUEST, 0, 0)
    kernel.sendto(header + payload, (0, 0))


@pytest.fixture
async def heard(kernel: socket.socket) -> AsyncIterator[tuple[Uevents, asyncio.Event]]:
    changed = asyncio.Event()
    uevents = Uevents(changed.set)
    uevents.start()
    yield uevents, changed
    uevents.stop()


Heard = tuple[Uevents, asyncio.Event]


async def test_an_event_of_a_device_makes_the_monitor_look(kernel: socket.socket, heard: Heard) -> None:
    send(kernel, UNBIND)
    async with asyncio.timeout(10):
        await heard[1].wait()


async def test_events_that_are_none_of_ours_are_told_and_make_nobody_look(
    kernel: socket.socket, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    uevents, changed = heard
    with caplog.at_level(logging.DEBUG, "amdgpu_plugin.health.uevents"):
        send(kernel, MEM)
        async with asyncio.timeout(10):
            while not uevents.heard:  # noqa: ASYNC110 - nothing is told, which is the point
                await asyncio.sleep(0)
    assert not changed.is_set()
    fields = {"action": "change", "subsystem": "mem", "devpath": "/devices/virtual/mem/null"}
    assert [vars(record)["fields"] for record in caplog.records] == [fields]


async def test_nonsense_on_the_socket_does_not_stop_the_listening(
    kernel: socket.socket, heard: Heard
) -> None:
    for payload in (
        b"x@/y\0",
        b"change@/a\0ACTION=change\0DEVPATH=/a\0",
        b"add@/\xff\0ACTION=\xff\0DEVPATH=/\xff\0",
    ):
        send(kernel, payload)
    send(kernel, UNBIND)
    async with asyncio.timeout(10):
        await heard[1].wait()


async def test_lost_events_are_counted_and_answered_with_a_look(caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = socket.socketpair()
    answers = iter([OSError(), None])

    def poll(timeout: float) -> None:
        answer = next(answers)
        if answer is not None:
            raise answer

    looked: list[bool] = []
    uevents = Uevents(lambda: looked.append(True))
    uevents._monitor = SimpleNamespace(fileno=ours.fileno, poll=poll)
    uevents._drain()
    assert (uevents.lost, looked) == (1, [True])
    assert "kernel events were lost" in caplog.text
    ours.close()
    theirs.close()


async def test_where_nothing_can_be_heard_it_is_said_and_polling_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr("amdgpu_plugin.health.uevents.pyudev.Monitor.from_netlink", refused)
    uevents = Uevents(lambda: None)
    uevents.start()
    uevents.stop()
    assert "no kernel events: GPUs are polled only" in caplog.text

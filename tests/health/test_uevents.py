"""What is heard: on real netlink, in a network namespace of its own; by a socket pair; through umockdev."""

import asyncio
import errno
import logging
import shutil
import socket
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest
import pyudev

from amdgpu_plugin.health.datagram import LIMIT_BYTES
from amdgpu_plugin.health.events import DriverLeft, Event, NodesChanged, Overrun, Wedged
from amdgpu_plugin.health.uevents import DRAIN_SECONDS, Listener, NetlinkUevents, SocketUevents
from tests.netlink import PrivateNetwork, message, private_network
from tests.processes import REPOSITORY, environment

ADDRESS = "0000:05:00.0"
GPU = f"devices/pci0000:00/{ADDRESS}"
CARD = f"{GPU}/drm/card1"
UNBIND = message("unbind", GPU, "pci", PCI_CLASS="120000", PCI_ID="1002:74A1")
WEDGED = message("change", CARD, "drm", WEDGED="rebind,bus-reset")
MINOR = message("add", CARD, "drm", DEVTYPE="drm_minor")
BLOCK = message("add", "devices/virtual/block/loop0", "block")
MEM = message("change", "devices/virtual/mem/null", "mem")
KERNEL_JUNK = {
    "nothing": b"",
    "no message in it": b"x@/y\0",
    "no header": MEM.partition(b"\0")[2],
    "no NUL": MEM[:20],
    "no SUBSYSTEM": MEM.replace(b"SUBSYSTEM=mem\0", b""),
    "an action that is no text": MEM.replace(b"change", b"\xff"),
    "a path that is no text": MINOR.replace(b"card1", b"\xff"),
}
# without its last pair it would be a whole message
TOO_LONG = MEM + b"X=" + b"x" * (LIMIT_BYTES - len(MEM) - 3) + b"\0Y=y\0"
PAIR_JUNK = {**KERNEL_JUNK, "over 8 KiB": TOO_LONG}
LOGGER = "amdgpu_plugin.health.uevents"


@dataclass(slots=True)
class Ears:
    """A listener at work, and what it said."""

    listener: Listener
    events: list[Event] = field(default_factory=list)
    batches: list[tuple[int, float]] = field(default_factory=list)

    def start(self) -> None:
        self.listener.start(self._take)

    def _take(self, events: Sequence[Event], heard_at: float) -> None:
        self.events += events
        self.batches.append((len(events), heard_at))

    async def until(self, happened: Callable[[], bool]) -> None:
        """Turn by turn of the loop, since some of what is waited for is told to nobody."""
        async with asyncio.timeout(10):
            while not happened():  # noqa: ASYNC110 - as said
                await asyncio.sleep(0)


class Clock:
    """Stands still but for `step` seconds whenever it is read."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 100.0
        self._step = step

    def __call__(self) -> float:
        self.now += self._step
        return self.now


@contextmanager
def small_buffer(listener: Listener) -> Iterator[None]:
    """The kernel's smallest, which holds a few messages."""
    size = listener._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    listener._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    yield
    listener._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def monitor_of(ears: Ears) -> pyudev.Monitor:
    assert isinstance(ears.listener, NetlinkUevents)
    assert ears.listener._monitor is not None
    return ears.listener._monitor


def fields_of(caplog: pytest.LogCaptureFixture) -> list[object]:
    return [vars(record)["fields"] for record in caplog.records if record.name == LOGGER]


@pytest.fixture
def network() -> Iterator[PrivateNetwork]:
    with ExitStack() as stack:
        try:
            private = stack.enter_context(private_network())
        except OSError as error:
            pytest.skip(f"{error} (needs root)")
        yield private


@pytest.fixture
async def kernel(network: PrivateNetwork) -> AsyncIterator[Ears]:
    ears = Ears(NetlinkUevents())
    ears.start()
    yield ears
    ears.listener.stop()


@dataclass(frozen=True, slots=True)
class Pair:
    """A listener on one end, to which the other end sends."""

    ears: Ears
    send: Callable[[bytes], object]


@pytest.fixture(params=[socket.SOCK_DGRAM, socket.SOCK_SEQPACKET], ids=["datagram", "seqpacket"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    theirs, ours = socket.socketpair(socket.AF_UNIX, request.param)
    with theirs, ours:
        ears = Ears(SocketUevents(ours))
        ears.start()
        yield Pair(ears, theirs.send)
        ears.listener.stop()


async def test_what_the_kernel_says_comes_as_events_in_its_order(
    network: PrivateNetwork, kernel: Ears
) -> None:
    for sent in (MEM, WEDGED, UNBIND):
        network.send(sent)
    await kernel.until(lambda: len(kernel.events) == 2)
    assert kernel.events == [Wedged(ADDRESS, ("rebind", "bus-reset")), DriverLeft(ADDRESS)]


async def test_messages_are_counted_by_action_and_subsystem_of_ours(
    network: PrivateNetwork, kernel: Ears
) -> None:
    for sent in (MEM, BLOCK, WEDGED, UNBIND, UNBIND):
        network.send(sent)
    await kernel.until(lambda: kernel.listener.heard.total() == 5)
    assert kernel.listener.heard == {
        ("change", "other"): 1,
        ("add", "other"): 1,
        ("change", "drm"): 1,
        ("unbind", "pci"): 2,
    }


async def test_messages_that_are_none_of_ours_call_nobody(network: PrivateNetwork, kernel: Ears) -> None:
    network.send(MEM)
    await kernel.until(lambda: kernel.listener.heard.total() == 1)
    assert kernel.batches == []


async def test_every_message_is_told_to_those_who_debug(
    network: PrivateNetwork, kernel: Ears, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, LOGGER):
        network.send(MEM)
        await kernel.until(lambda: kernel.listener.heard.total() == 1)
    fields = {"action": "change", "subsystem": "mem", "devpath": "/devices/virtual/mem/null"}
    assert [vars(record)["fields"] for record in caplog.records] == [fields]


@pytest.mark.parametrize("junk", KERNEL_JUNK.values(), ids=KERNEL_JUNK)
async def test_junk_is_dropped_and_counted(junk: bytes, network: PrivateNetwork, kernel: Ears) -> None:
    for _ in range(3):
        network.send(junk)
    network.send(UNBIND)
    await kernel.until(lambda: kernel.events != [])
    assert (kernel.events, kernel.listener.dropped, kernel.listener.heard.total()) == (
        [DriverLeft(ADDRESS)],
        3,
        1,
    )


@pytest.mark.parametrize("spoofed", [UNBIND + b"SEQNUM=7\0", TOO_LONG])
async def test_a_message_of_another_process_is_dropped_and_counted(
    spoofed: bytes, network: PrivateNetwork, kernel: Ears
) -> None:
    network.spoof(spoofed)
    network.send(MEM)
    await kernel.until(lambda: kernel.listener.heard.total() == 1)
    assert (kernel.events, kernel.listener.dropped) == ([], 1)


async def test_a_name_a_process_gave_itself_does_not_hide_its_reset(
    network: PrivateNetwork, kernel: Ears
) -> None:
    network.send(WEDGED + b"TASK=\xff\xfe\0")
    await kernel.until(lambda: kernel.events != [])
    assert kernel.events == [Wedged(ADDRESS, ("rebind", "bus-reset"))]


async def test_after_a_loss_the_queue_is_drained_and_one_overrun_follows(
    network: PrivateNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    ears = Ears(NetlinkUevents(Clock(step=1.0)))
    ears.start()
    with small_buffer(ears.listener):
        for _ in range(1000):
            network.send(MINOR)
    await ears.until(lambda: Overrun() in ears.events)
    network.send(UNBIND)
    await ears.until(lambda: DriverLeft(ADDRESS) in ears.events)
    ears.listener.stop()
    drained = len(ears.events) - 2
    assert 1 < drained < 1000
    assert ears.events == [NodesChanged(CARD)] * drained + [Overrun(), DriverLeft(ADDRESS)]
    assert ears.listener.lost == 1
    assert [record.message for record in caplog.records] == ["kernel events were lost: look again"]


async def test_two_losses_before_the_loop_saw_the_end_are_two_and_one_overrun(
    network: PrivateNetwork, kernel: Ears
) -> None:
    listener = kernel.listener
    with small_buffer(listener):
        for _ in range(2):
            while listener._poll.poll(0):
                listener._next_event()
            for _ in range(1000):
                network.send(MEM)
        await kernel.until(lambda: kernel.events != [])
    assert (kernel.events, listener.lost) == ([Overrun()], 2)


async def test_a_loss_while_a_message_is_taken_is_one_loss(
    network: PrivateNetwork, kernel: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = monitor_of(kernel)
    poll = monitor.poll
    with small_buffer(kernel.listener):

        def poll_too_late(timeout: float) -> object:
            monkeypatch.undo()
            for _ in range(1000):
                network.send(MEM)
            return poll(timeout=timeout)

        monkeypatch.setattr(monitor, "poll", poll_too_late)
        network.send(MEM)
        await kernel.until(lambda: kernel.events != [])
    assert (kernel.events, kernel.listener.lost, kernel.listener.dropped) == ([Overrun()], 1, 0)


async def test_a_socket_that_fails_is_listened_to_no_more(
    network: PrivateNetwork, kernel: Ears, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(timeout: float) -> object:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(monitor_of(kernel), "poll", broken)
    network.send(UNBIND)
    await kernel.until(lambda: kernel.listener.listening == "none")
    assert fields_of(caplog) == [{"listening": "none", "error": "[Errno 5] Input/output error"}]


async def test_messages_that_take_long_are_taken_one_a_wake_up(network: PrivateNetwork) -> None:
    ears = Ears(NetlinkUevents(Clock(step=1.0)))
    ears.start()
    for _ in range(5):
        network.send(UNBIND)
    await ears.until(lambda: len(ears.events) == 5)
    ears.listener.stop()
    assert [count for count, _ in ears.batches] == [1, 1, 1, 1, 1]
    assert ears.batches[0] == (1, 101.0)


async def test_what_takes_no_time_is_one_batch_of_the_time_the_wake_up_began(network: PrivateNetwork) -> None:
    ears = Ears(NetlinkUevents(Clock()))
    ears.start()
    for _ in range(5):
        network.send(UNBIND)
    await ears.until(lambda: ears.events != [])
    ears.listener.stop()
    assert (ears.batches, ears.listener.last_heard) == ([(5, 100.0)], 100.0)


async def test_a_flood_leaves_the_loop_its_turns_and_no_counter_for_each_device(
    network: PrivateNetwork,
) -> None:
    ears = Ears(NetlinkUevents(Clock(step=DRAIN_SECONDS / 100)))
    ears.start()
    for number in range(2000):
        network.send(message("add", f"devices/virtual/block/loop{number}", f"block{number}"))
    network.send(UNBIND)
    turns = 0

    def unbind_found() -> bool:
        nonlocal turns
        turns += 1
        return ears.events != []

    await ears.until(unbind_found)
    ears.listener.stop()
    assert turns > 20
    assert ears.listener.heard == {("add", "other"): 2000, ("unbind", "pci"): 1}


async def test_stopped_it_hears_nothing_and_leaves_nothing_open(network: PrivateNetwork) -> None:
    ears = Ears(NetlinkUevents())
    ears.start()
    libudev_socket = weakref.ref(monitor_of(ears))
    ears.listener.stop()
    network.send(UNBIND)
    await asyncio.sleep(0)
    assert (ears.events, ears.listener.listening) == ([], "none")
    assert (libudev_socket(), ears.listener._socket.fileno()) == (None, -1)


async def test_which_way_it_listens_is_said_once(
    network: PrivateNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with theirs, ours, caplog.at_level(logging.INFO, LOGGER):
        listeners = NetlinkUevents(), SocketUevents(ours)
        for listener in listeners:
            Ears(listener).start()
        ways = [listener.listening for listener in listeners]
        for listener in listeners:
            listener.stop()
    assert ways == ["netlink", "socket"]
    assert fields_of(caplog) == [{"listening": "netlink"}, {"listening": "socket"}]


async def test_where_nothing_can_be_heard_it_is_said_and_polling_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("amdgpu_plugin.health.uevents.pyudev.Monitor.from_netlink", refused)
    ears = Ears(NetlinkUevents())
    ears.start()
    assert ears.listener.listening == "none"
    ears.listener.stop()
    assert [record.message for record in caplog.records] == ["no kernel events: GPUs are polled only"]
    assert fields_of(caplog) == [{"listening": "none", "error": "[Errno 13] Permission denied"}]


async def test_a_simulated_kernel_is_heard_in_the_same_bytes(pair: Pair) -> None:
    for sent in (MEM, WEDGED, UNBIND):
        pair.send(sent)
    await pair.ears.until(lambda: len(pair.ears.events) == 2)
    assert pair.ears.events == [Wedged(ADDRESS, ("rebind", "bus-reset")), DriverLeft(ADDRESS)]
    assert pair.ears.listener.heard == {("change", "other"): 1, ("change", "drm"): 1, ("unbind", "pci"): 1}


@pytest.mark.parametrize("junk", PAIR_JUNK.values(), ids=PAIR_JUNK)
async def test_junk_of_a_simulated_kernel_is_dropped_and_counted(junk: bytes, pair: Pair) -> None:
    for _ in range(3):
        pair.send(junk)
    pair.send(UNBIND)
    await pair.ears.until(lambda: pair.ears.events != [])
    assert (pair.ears.events, pair.ears.listener.dropped) == ([DriverLeft(ADDRESS)], 3)


async def test_an_action_nobody_knows_is_counted_as_another(pair: Pair) -> None:
    pair.send(message("explode", "devices/virtual/mem/null", "mem"))
    await pair.ears.until(lambda: pair.ears.listener.heard.total() == 1)
    assert pair.ears.listener.heard == {("other", "other"): 1}


async def test_its_end_of_the_pair_outlives_it(pair: Pair) -> None:
    assert isinstance(pair.ears.listener, SocketUevents)
    pair.ears.listener.stop()
    pair.send(UNBIND)
    later = Ears(SocketUevents(pair.ears.listener._end))
    later.start()
    await later.until(lambda: later.events != [])
    later.listener.stop()
    assert (pair.ears.events, later.events) == ([], [DriverLeft(ADDRESS)])


async def test_when_the_other_end_has_closed_what_it_sent_is_heard_and_nothing_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, ours:
        ears = Ears(SocketUevents(ours))
        ears.start()
        theirs.send(UNBIND)
        theirs.close()
        await ears.until(lambda: ears.listener.listening == "none")
    assert (ears.events, ears.listener.dropped) == ([DriverLeft(ADDRESS)], 0)
    assert fields_of(caplog) == [{"listening": "none", "error": "[Errno 104] the other end is closed"}]


@pytest.mark.skipif(shutil.which("umockdev-wrapper") is None, reason="umockdev is not installed")
def test_a_gpu_of_umockdev_is_heard_without_a_kernel() -> None:
    program = ["umockdev-wrapper", sys.executable, "-m", "tests.health.umockdev"]
    said = subprocess.run(
        program, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert said.stdout.splitlines() == [
        "Wedged(address='0000:05:00.0', methods=('rebind', 'bus-reset'))",
        "DriverLeft(address='0000:05:00.0')",
    ], said.stderr

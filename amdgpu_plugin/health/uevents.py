"""The kernel's uevents, heard on the event loop within milliseconds: by netlink, or by a socket of our own.

A listener makes typed events of messages, drops and counts what is none, and survives what it loses.
Netlink with `source="kernel"` is heard in a pod's own network namespace and without udevd. Where nothing is
ever heard (a user-namespaced pod, an LSM) there is no error either: polling goes on beside this.
"""

import asyncio
import errno
import logging
import os
import select
import socket
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal

import pyudev

from amdgpu_plugin.health.datagram import LIMIT_BYTES, datagram_properties
from amdgpu_plugin.health.events import SUBSYSTEMS, Event, Overrun, event_of

log = logging.getLogger(__name__)

Listening = Literal["netlink", "socket", "none"]
OnEvents = Callable[[Sequence[Event], float], None]
"""Called with what one wake-up heard, in the kernel's order, and the clock's time at which it began."""

DRAIN_SECONDS = 0.003
"""The longest the loop is held by one wake-up; what is left comes with the next."""
ACTIONS = frozenset({"add", "remove", "change", "move", "online", "offline", "bind", "unbind"})
OTHER = "other"


class Listener(ABC):
    """Hears between `start` and `stop`. `listening` says by what.

    `heard` counts messages by action and subsystem (those of ours, else `other`), `dropped` what was no
    message of the kernel's, `lost` how often messages were lost. `last_heard` is the clock's time of the
    last message, None before the first.
    """

    kind: ClassVar[Listening]

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds that only rise."""
        self.listening: Listening = "none"
        self.heard: Counter[tuple[str, str]] = Counter()
        self.dropped = 0
        self.lost = 0
        self.last_heard: float | None = None
        self._clock = clock
        self._overran = False

    def start(self, on_events: OnEvents) -> None:
        """Listen on the running loop. Where that is refused, it is said once, and polling has to do."""
        try:
            self._socket = self._open()
        except (OSError, ImportError) as error:
            _say_polled_only(error)
            return
        self._on_events = on_events
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        asyncio.get_running_loop().add_reader(self._socket, self._drain)
        self.listening = self.kind
        log.info("kernel events are listened to", extra={"fields": {"listening": self.listening}})

    def stop(self) -> None:
        """Listen no longer."""
        if self.listening != "none":
            self.listening = "none"
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()

    @abstractmethod
    def _open(self) -> socket.socket:
        """The socket that turns readable when there is something to receive; closed by `stop`."""

    @abstractmethod
    def _receive(self) -> Mapping[str, str] | None:
        """The properties of the next message that waits; None, or ValueError, for what is none.

        What the mapping holds may be read late, and raise ValueError then.
        """

    def _drain(self) -> None:
        woken_at = self._clock()
        events: list[Event] = []
        while self._waits():
            event = self._next_event()
            if event is not None:
                events.append(event)
            if self._clock() - woken_at >= DRAIN_SECONDS:
                break
        # Not earlier: after one loss the kernel reports no other until the queue was empty once.
        if self._overran and not self._waits():
            self._overran = False
            log.warning("kernel events were lost: look again", extra={"fields": {"times": self.lost}})
            events.append(Overrun())
        if events:
            self._on_events(events, woken_at)

    def _waits(self) -> bool:
        return self.listening != "none" and bool(self._poll.poll(0))

    def _next_event(self) -> Event | None:
        try:
            if failure := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._fail(OSError(failure, os.strerror(failure)))
                return None
            properties = self._receive()
            if properties is not None:
                return self._hear(properties)
        except ValueError:
            pass
        except OSError as error:
            self._fail(error)
            return None
        self.dropped += 1
        return None

    def _hear(self, properties: Mapping[str, str]) -> Event | None:
        """Only what the message itself says: other attributes would read sysfs, here on the loop."""
        event = event_of(properties)
        action, subsystem = properties["ACTION"], properties["SUBSYSTEM"]
        if log.isEnabledFor(logging.DEBUG):
            fields = {"action": action, "subsystem": subsystem, "devpath": properties["DEVPATH"]}
            log.debug("uevent", extra={"fields": fields})
        kind = (action if action in ACTIONS else OTHER, subsystem if subsystem in SUBSYSTEMS else OTHER)
        self.heard[kind] += 1
        self.last_heard = self._clock()
        return event

    def _fail(self, error: OSError) -> None:
        if error.errno == errno.ENOBUFS:
            self.lost += 1
            self._overran = True
        elif error.errno is not None:
            self.stop()
            _say_polled_only(error)
        # pyudev's own errors bear no number: there is one of the socket's, which the next turn reads


class NetlinkUevents(Listener):
    """The kernel's own messages."""

    kind = "netlink"
    _monitor: pyudev.Monitor | None = None

    def _open(self) -> socket.socket:
        self._monitor = monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source="kernel")
        monitor.start()
        return socket.socket(fileno=os.dup(monitor.fileno()))

    def stop(self) -> None:
        """Listen no longer; the kernel keeps nothing for us."""
        super().stop()
        self._monitor = None

    def _receive(self) -> Mapping[str, str] | None:
        # libudev takes what no kernel sent, and most of what is malformed, off the queue and says nothing
        assert self._monitor is not None
        device = self._monitor.poll(timeout=0)
        return None if device is None else device.properties


class SocketUevents(Listener):
    """Messages of a simulated kernel, in the same bytes, from one end of a pair of AF_UNIX sockets.

    The pair keeps message boundaries (SOCK_DGRAM or SOCK_SEQPACKET). `end` stays its owner's to close.
    """

    kind = "socket"

    def __init__(self, end: socket.socket, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds that only rise."""
        super().__init__(clock)
        self._end = end

    def _open(self) -> socket.socket:
        return self._end.dup()

    def _receive(self) -> Mapping[str, str] | None:
        raw = self._socket.recv(LIMIT_BYTES + 1, socket.MSG_DONTWAIT)
        if not raw and any(flags & select.POLLHUP for _, flags in self._poll.poll(0)):
            raise ConnectionResetError(errno.ECONNRESET, "the other end is closed")
        return datagram_properties(raw)


def _say_polled_only(error: Exception) -> None:
    fields = {"listening": "none", "error": str(error)}
    log.warning("no kernel events: GPUs are polled only", extra={"fields": fields})

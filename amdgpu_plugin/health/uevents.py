"""Kernel uevents, by netlink: that something about a device has changed, within milliseconds.

`source="kernel"` is heard in a pod's own network namespace and without udevd. Where nothing is ever heard (a
user-namespaced pod, an LSM) there is no error either: polling goes on beside this. For now an event only
makes the monitor look at once.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pyudev

log = logging.getLogger(__name__)

# Of whatever happens on a machine, these may concern a GPU.
SUBSYSTEMS = frozenset({"pci", "drm", "platform", "kfd", "module", "drivers", "devcoredump"})
DRAIN_SECONDS = 0.003
"""The longest the loop is held by one wake-up; what is left comes with the next."""


@dataclass(slots=True)
class Uevents:
    """Hears events between `start` and `stop`; `on_change` is called once for each batch that may matter."""

    on_change: Callable[[], None]
    heard: int = 0
    lost: int = 0
    _monitor: pyudev.Monitor | None = field(default=None)

    def start(self) -> None:
        """Listen on the running loop. Where that is refused, it is said once, and polling has to do."""
        try:
            monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source="kernel")
            monitor.start()
        except (OSError, ImportError) as error:
            log.warning("no kernel events: GPUs are polled only", extra={"fields": {"error": str(error)}})
            return
        self._monitor = monitor
        asyncio.get_running_loop().add_reader(monitor.fileno(), self._drain)
        log.info("kernel events are listened to")

    def stop(self) -> None:
        """Listen no longer."""
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            asyncio.get_running_loop().remove_reader(monitor.fileno())

    def _drain(self) -> None:
        end = time.monotonic() + DRAIN_SECONDS
        matters = False
        while time.monotonic() < end:
            try:
                device = self._next()
            except OSError:
                # ENOBUFS, which pyudev raises without its number and never clears
                self._clear_overflow()
                matters = True
                continue
            except ValueError:
                continue  # an event without SUBSYSTEM is none of a device
            if device is None:
                break
            matters |= self._hear(device)
        if matters:
            self.on_change()

    def _next(self) -> pyudev.Device | None:
        assert self._monitor is not None
        return self._monitor.poll(timeout=0)

    def _hear(self, device: pyudev.Device) -> bool:
        """Only what the message itself says: other attributes would read sysfs, here on the loop."""
        self.heard += 1
        subsystem = device.properties.get("SUBSYSTEM", "")
        fields = {
            "action": device.action,
            "subsystem": subsystem,
            "devpath": device.properties.get("DEVPATH", ""),
        }
        log.debug("uevent", extra={"fields": fields})
        return subsystem in SUBSYSTEMS

    def _clear_overflow(self) -> None:
        assert self._monitor is not None
        self.lost += 1
        with socket.socket(fileno=os.dup(self._monitor.fileno())) as same:
            same.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        log.warning(
            "kernel events were lost: everything is looked at again", extra={"fields": {"times": self.lost}}
        )

"""A GPU of umockdev's: paths, libudev and netlink as ever, and no kernel behind them.

As a program, inside `umockdev-wrapper`: says on stdout, one a line, what was heard of a GPU that is wedged
and then unbound.
"""

import asyncio
import ctypes
from collections.abc import Sequence

from amdgpu_plugin.health.events import Event
from amdgpu_plugin.health.uevents import NetlinkUevents

GPU = "/devices/pci0000:00/0000:05:00.0"
CARD = f"{GPU}/drm/card1"
DESCRIPTION = f"""\
P: {GPU}
E: SUBSYSTEM=pci
E: PCI_CLASS=120000
E: PCI_ID=1002:74A1

P: {CARD}
E: SUBSYSTEM=drm
E: DEVTYPE=drm_minor
E: WEDGED=rebind,bus-reset
"""


class Testbed:
    """Devices that are in /sys for as long as this process lives."""

    def __init__(self, description: str) -> None:
        self._library = ctypes.CDLL("libumockdev.so.0")
        self._library.umockdev_testbed_new.restype = ctypes.c_void_p
        self._testbed = ctypes.c_void_p(self._library.umockdev_testbed_new())
        added = self._library.umockdev_testbed_add_from_string(self._testbed, description.encode(), None)
        assert added

    def uevent(self, path: str, action: str) -> None:
        self._library.umockdev_testbed_uevent(self._testbed, f"/sys{path}".encode(), action.encode())


async def main() -> None:
    testbed = Testbed(DESCRIPTION)
    heard: list[Event] = []
    both = asyncio.Event()

    def on_events(events: Sequence[Event], _: float) -> None:
        heard.extend(events)
        if len(heard) >= 2:
            both.set()

    listener = NetlinkUevents()
    listener.start(on_events)
    testbed.uevent(CARD, "change")
    testbed.uevent(GPU, "unbind")
    async with asyncio.timeout(10):
        await both.wait()
    listener.stop()
    print(*heard, sep="\n")  # noqa: T201 - its answer


if __name__ == "__main__":
    asyncio.run(main())

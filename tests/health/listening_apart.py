"""A process of its own that listens to the real kernel in namespaces of its own, while a simulated GPU is unbound.

`python -m tests.health.listening_apart FOLDER FLAGS`: prints `ready`, waits for a line, and prints what was heard
and missed as JSON. FLAGS are those of unshare(2), taken before any thread runs.
"""

import asyncio
import ctypes
import json
import os
import sys
from pathlib import Path

from amdgpu_plugin.health.hearing import AFTER_SECONDS
from amdgpu_plugin.health.uevents import NetlinkUevents
from tests.health.worlds import A, world
from tests.kubelet.worlds import until


async def listen(folder: Path) -> None:
    listener = NetlinkUevents()
    async with world(folder, "mi300x:2") as it:
        listener.start(it.monitor.hear)
        it.monitor.listens = lambda: listener.listening != "none"
        await it.survey_rounds(2)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        it.node.unbind(A)  # of which nobody tells the kernel's listeners
        await it.tells("!DriverUnbound")
        await it.survey_rounds(2)
        it.seconds += AFTER_SECONDS
        state = await until(it.state, lambda state: state.missed_events > 0)
        sys.stdout.write(json.dumps({"heard": listener.heard.total(), "missed": state.missed_events}))
        listener.stop()


if __name__ == "__main__":
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(int(sys.argv[2])) != 0:
        sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
    asyncio.run(listen(Path(sys.argv[1])))

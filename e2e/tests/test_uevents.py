"""A pod without any privilege hears the kernel of its node."""

from pathlib import Path

from e2e.kubernetes import wait_until
from e2e.local import LocalCluster
from e2e.tests.installation import Installation

# Always there, and nobody minds an event more.
UEVENT = Path("/sys/class/mem/null/uevent")


def test_event_of_the_kernel_reaches_the_log(plugin: Installation, local: LocalCluster) -> None:
    plugin.ensure({"config": {"log_level": "debug"}})
    wait_until("the daemon's start", lambda: "no GPU to serve" in plugin.log(), within_s=30)

    def heard() -> bool:
        UEVENT.write_text("change")
        return any("uevent" in line and "subsystem=mem" in line for line in plugin.log().splitlines())

    wait_until("the event in the log", heard, within_s=10)

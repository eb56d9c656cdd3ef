"""What a real kernel does not tell a user namespace, and that it is found out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.netlink import CLONE_NEWNET, real_events

CLONE_NEWUSER = 0x10000000
TRIGGER = Path("/sys/class/mem/null/uevent")
"""Of a device that nobody acts on: what is written to it the kernel tells all listeners, as if it had happened."""


def heard_and_missed(folder: Path, flags: int) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.health.listening_apart", str(folder), str(flags)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as apart:
        assert apart.stdin is not None
        assert apart.stdout is not None
        if apart.stdout.readline() != "ready\n":
            _, errors = apart.communicate()
            pytest.skip(f"no namespaces of our own here: {errors.strip().splitlines()[-1]}")
        try:
            with real_events():
                TRIGGER.write_text("change")
        except OSError as error:
            apart.communicate("\n")
            pytest.skip(f"{error} (needs root and a /sys that can be written)")
        out, errors = apart.communicate("\n")
    assert apart.returncode == 0, errors
    said: dict[str, int] = json.loads(out)
    return said


def test_a_user_namespace_hears_nothing_without_an_error_and_that_is_counted(scratch: Path) -> None:
    assert heard_and_missed(scratch, CLONE_NEWUSER | CLONE_NEWNET) == {"heard": 0, "missed": 1}


def test_a_network_namespace_hears_the_kernel(scratch: Path) -> None:
    """The measure of the test above: here the same words arrive."""
    assert heard_and_missed(scratch, CLONE_NEWNET)["heard"] > 0

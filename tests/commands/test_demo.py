"""The demo: plays every kind of node to its end, as anybody, anywhere, and leaves nothing behind."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from amdgpu_plugin.commands import inputs
from amdgpu_plugin.kubelet.plugin import KubeletFace
from amdgpu_plugin.simulation.shapes import SHAPE_NAMES
from tests.conftest import Command
from tests.processes import PROGRAM, Running, run, succeeds

NOBODY = 65534


@pytest.fixture
def stage(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its folder."""
    monkeypatch.setattr(inputs, "SHARED_MEMORY", str(scratch))
    return scratch


@pytest.mark.parametrize("shape", SHAPE_NAMES)
def test_every_shape_plays_to_its_end(shape: str, command: Command, stage: Path) -> None:
    played = command("demo", shape, "--pace", "0")
    assert (played.status, played.err) == (0, "")
    assert list(stage.iterdir()) == []
    steps = re.findall(r"^\d\. .*", played.out, re.MULTILINE)
    assert [re.sub(r"\d{4}:\S+|\d+ GPUs? of.*|\d × \S+", "…", step) for step in steps] == [
        "1. A node with …",
        "2. The daemon starts",
        "3. A pod asks for …",
        "4. The driver loses …",
        "5. The driver binds it again",
        "6. The kernel says that … needs a reset",
        "7. The kubelet restarts",
        "8. The daemon ends",
    ]
    for line in (
        r"   amd\.com/\w+: \d+ devices?, with the kubelet \d+ ms after the start",
        r"   given  \S.*",
        r"   why    on (one GPU|2 GPUs of one hive|2 GPUs, joined by).*",
        r"   nodes  /dev/kfd, /dev/dri/renderD\d+.*",
        r"   env    AMDGPU_SIMULATED=1",
        r"   \S+ is Unhealthy: DriverUnbound: bound to no driver",
        r"   \S+ is Unhealthy: Wedged: WEDGED=rebind,bus-reset",
        r"   registered again \d+ ms after it was killed",
        r"   the pod still holds \S.*",
        r"   its sockets are gone",
    ):
        assert re.search(f"^{line}$", played.out, re.MULTILINE), line


SMALLEST = """\

1. A node with 1 GPU of shape radeon
   simulated, in the kernel's own layout: FOLDER/sys
   and a simulated kubelet: FOLDER/device-plugins/kubelet.sock

2. The daemon starts
   amd.com/gpu: 1 device, with the kubelet N ms after the start

   Driver amdgpu 6.12.12, KFD readable

   DEVICE        RESOURCE     PRODUCT    MODE  GPU VRAM  NUMA  RENDER NODE  CARD   KFD
   0000:03:00.0  amd.com/gpu  1002:744c  -     24.0 GiB  -     renderD128   card0  1

   while this runs, the status page: PAGES/

3. A pod asks for 1 × amd.com/gpu
   given  0000:03:00.0
   why    on one GPU, 0000:03:00.0; NUMA node unknown
          one device: no distance to weigh
          leaves no GPU whole
          it is all that is available
   nodes  /dev/kfd, /dev/dri/renderD128
   env    AMDGPU_DEVICES=0000:03:00.0
   env    AMDGPU_NUMA_NODES=
   env    AMDGPU_PCI_ADDRESSES=0000:03:00.0
   env    AMDGPU_RENDER_NODES=renderD128
   env    AMDGPU_SIMULATED=1

4. The driver loses 0000:03:00.0
   the kubelet knows N ms later
   0000:03:00.0 is Unhealthy: DriverUnbound: bound to no driver
   allocatable amd.com/gpu: 0 of 1

5. The driver binds it again
   the kubelet knows N ms later
   allocatable amd.com/gpu: 1 of 1

6. The kernel says that 0000:03:00.0 needs a reset
   the kubelet knows N ms later
   0000:03:00.0 is Unhealthy: Wedged: WEDGED=rebind,bus-reset
   an operator: amdgpu-plugin ack 0000:03:00.0 Wedged --reason 'ticket 4711'
   the kubelet knows N ms later

7. The kubelet restarts
   registered again N ms after it was killed
   the pod still holds 0000:03:00.0

8. The daemon ends
   its sockets are gone

   That was everything but the hardware. On a node: amdgpu-plugin discover, amdgpu-plugin run
"""


def test_the_story_of_one_gpu(command: Command, stage: Path) -> None:
    told = command("demo", "radeon").out
    folder = re.search(rf"{re.escape(str(stage))}/amdgpu-demo-[^/]+", told)
    assert folder
    told = re.sub(r"http://127\.0\.0\.1:\d+", "PAGES", told.replace(folder[0], "FOLDER"))
    assert re.sub(r"\b\d+ ms", "N ms", told) == SMALLEST


def test_a_terminal_gets_bold_headings_unless_told_not_to(
    command: Command, stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\n\033[1m8. The daemon ends\033[0m\n" in command("demo", "apu", "--pace", "0").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\n8. The daemon ends\n" in command("demo", "apu", "--pace", "0").out


def test_a_daemon_that_fails_ends_the_demo_with_1_and_nothing_is_left(
    command: Command, stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(face: KubeletFace) -> None:
        raise RuntimeError("the face fell off")

    monkeypatch.setattr(KubeletFace, "run", fail)
    played = command("demo", "apu", "--pace", "0")
    assert played.status == 1
    assert "the face fell off" in played.err
    assert played.err.endswith("\nThe demo went wrong: the daemon ended with 1\n")
    assert list(stage.iterdir()) == []


def test_an_unknown_shape_is_named(command: Command, stage: Path) -> None:
    played = command("demo", "mi300x:9")
    assert (played.status, played.out) == (2, "")
    assert played.err.startswith(
        "amdgpu-plugin: error: the demo's SHAPE: bad count in shape 'mi300x:9': mi300x has 1 to 8 GPUs;"
    )
    assert list(stage.iterdir()) == []


def test_a_folder_too_deep_for_sockets_is_not_used(
    command: Command, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = scratch / ("d" * 80)
    deep.mkdir()
    monkeypatch.setattr(inputs, "SHARED_MEMORY", str(deep))
    played = command("demo", "apu")
    assert played.status == 0
    (used,) = re.findall(r"own layout: (/tmp/amdgpu-demo-[^/]+)/sys\n", played.out)
    assert not os.path.exists(used)
    assert list(deep.iterdir()) == []


# -- As a process --


def folder_of(demo: Running) -> str:
    (line,) = demo.said("simulated, in the kernel's own layout: ")
    return line.rpartition(": ")[2].removesuffix("/sys")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_stopped_midway_it_ends_well_and_leaves_nothing(number: signal.Signals) -> None:
    async with run("mi300x:2", "--pace", "3600", verb="demo", stdout_too=True) as demo:
        await demo.says("and a simulated kubelet")
        folder = folder_of(demo)
        assert os.path.isdir(folder)
        assert await demo.stop(number) == 0
    assert demo.log[-1] == "Stopped. Nothing is left behind."
    assert not os.path.exists(folder)


async def test_stopped_while_the_daemon_runs_it_ends_well_and_leaves_nothing(scratch: Path) -> None:
    async with run("mi300x:2", "--pace", "0.5", verb="demo", stdout_too=True) as demo:
        await demo.says("with the kubelet")
        folder = folder_of(demo)
        assert any(name.startswith("amdgpu-plugin-") for name in os.listdir(f"{folder}/device-plugins"))
        assert await demo.stop(signal.SIGINT) == 0
    assert demo.log[-1] == "Stopped. Nothing is left behind."
    assert not os.path.exists(folder)


async def test_anybody_may_play_it() -> None:
    before: tuple[str, ...] = ()
    if os.geteuid() == 0:
        before = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        if not await succeeds(*before, *PROGRAM, "version"):
            pytest.skip("nobody else may run this Python, or there is no setpriv")
    async with run("mi300x:2", "--pace", "0", verb="demo", before=before, stdout_too=True) as demo:
        assert await demo.ends() == 0
    assert demo.said("its sockets are gone")
    assert not os.path.exists(folder_of(demo))

"""What `run` refuses before anything starts, and what it hands to the daemon."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from amdgpu_plugin import daemon
from amdgpu_plugin.config import Config
from amdgpu_plugin.health.uevents import NetlinkUevents, SocketUevents
from amdgpu_plugin.product_names import ProductNames
from amdgpu_plugin.simulation.faulty_sysfs import FaultySysfs
from amdgpu_plugin.sysfs import Absent, DirectorySysfs, Sysfs
from tests.conftest import Answer, Command


class Started:
    """Stands in for the daemon: notes with what it was started, and ends with `status`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Config, Sysfs, bool]] = []
        self.listeners: list[type] = []
        self.ports: list[list[int]] = []
        self.status = 0

    async def run(
        self,
        config: Config,
        *,
        sysfs: Sysfs,
        names: ProductNames,
        simulated: object,
        listener: object,
        sockets: list[socket.socket],
    ) -> int:
        assert isinstance(names, ProductNames)
        self.listeners.append(type(listener))
        self.ports.append([each.getsockname()[1] for each in sockets])
        self.calls.append((config, sysfs, bool(simulated)))
        return self.status


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    made = Started()
    monkeypatch.setattr(daemon, "run", made.run)
    return made


def refused(answer: Answer) -> str:
    assert (answer.status, answer.out) == (2, "")
    prefix, _, said = answer.err.partition("error: ")
    assert prefix == "amdgpu-plugin: "
    return said.removesuffix("\n")


@pytest.mark.parametrize("status", [0, 1])
def test_the_daemon_reads_the_root_and_decides_the_exit_status(
    status: int, command: Command, started: Started, tree: Callable[[str], str]
) -> None:
    started.status = status
    root = tree("apu")
    assert command("run", "--sysfs-root", root, "--device-plugins-dir", "/x") == Answer(status, "", "")
    ((config, sysfs, simulated),) = started.calls
    assert (config.device_plugins_dir, simulated) == ("/x", False)
    assert isinstance(sysfs, DirectorySysfs)
    assert sysfs.root == root
    assert started.listeners == [NetlinkUevents]


def test_a_simulated_node_is_told_to_be_one(command: Command, started: Started, scratch: Path) -> None:
    assert command("run", "--simulate", "mi210:1", "--sysfs-root", str(scratch)).status == 0
    ((_, sysfs, simulated),) = started.calls
    assert simulated
    assert isinstance(sysfs, FaultySysfs)
    assert isinstance(sysfs.list("class"), Absent)  # any more
    assert started.listeners == [SocketUevents]


def test_a_simulated_node_hides_real_gpus_only_on_request(
    command: Command, started: Started, tree: Callable[[str], str]
) -> None:
    options = ("run", "--simulate", "apu", "--sysfs-root", tree("mi300x:2"))
    answer = command(*options)
    assert refused(Answer(answer.status, answer.out, answer.err.splitlines()[-1])) == (
        "--simulate: real GPUs are bound to amdgpu here (0000:05:00.0, 0000:27:00.0): "
        "pods would get simulated ones (--simulate-anyway, if that is what you want)"
    )
    assert started.calls == []
    assert command(*options, "--simulate-anyway").status == 0
    assert [simulated for _, _, simulated in started.calls] == [True]


def test_a_busy_port_ends_the_start_and_is_named(command: Command, started: Started, scratch: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        answer = command("run", "--sysfs-root", str(scratch), "--http-address", address)
    assert refused(answer).startswith(f"--http-address: cannot listen on {address}: Address already in use")
    assert started.calls == []


def test_no_address_means_no_port(command: Command, started: Started, scratch: Path) -> None:
    assert command("run", "--sysfs-root", str(scratch), "--http-address", "").status == 0
    assert started.ports == [[]]


# /<name of this length>/amdgpu-plugin-<8>-<6>.sock
@pytest.mark.parametrize(("length", "fits"), [(71, True), (72, False)])
def test_a_directory_whose_sockets_would_pass_107_bytes_is_named(
    length: int, command: Command, started: Started, scratch: Path, *, fits: bool
) -> None:
    directory = f"/{'d' * length}"
    answer = command("run", "--sysfs-root", str(scratch), "--device-plugins-dir", directory)
    assert len(f"{directory}/amdgpu-plugin-00000000-999999.sock") == (107 if fits else 108)
    if fits:
        assert (answer.status, len(started.calls)) == (0, 1)
        return
    assert started.calls == []
    assert refused(answer) == (
        f"--device-plugins-dir: {directory} is too long: a socket below it would pass 107 bytes (a shorter path)"
    )


def test_bytes_of_a_path_are_counted_not_letters(command: Command, started: Started, scratch: Path) -> None:
    directory = f"/{'ü' * 40}"
    answer = command("run", "--sysfs-root", str(scratch), "--device-plugins-dir", directory)
    assert refused(answer).startswith(f"--device-plugins-dir: {directory} is too long")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--simulate", "mi999"], "--simulate: unknown shape 'mi999'; known are mi300x, "),
        (["--simulate", "MI300X"], "--simulate: must be a shape, got 'MI300X' (for example mi300x, or "),
        (["--sysfs-root", "/nowhere/sys"], "--sysfs-root: /nowhere/sys does not exist (a directory laid out"),
        (["--health-intervall", "3"], "--health-intervall: unknown to amdgpu-plugin run (did you mean --health-interval?)"),
        (["--health-interval", "0"], "--health-interval: must be between 1 and 3600 seconds, got 0"),
        (["--health-read-deadline", "301"], "--health-read-deadline: must be between 1 and 300 seconds, got 301"),
        (["--resource-naming", "both"], "--resource-naming: must be single or mixed, got 'both'"),
        (["--config", "{file}"], "{file}: health.intervall: unknown key (did you mean health.interval?)"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named_with_what_can(
    argv: list[str], said: str, command: Command, started: Started, scratch: Path
) -> None:
    file = scratch / "config.yaml"
    file.write_text("health: {intervall: 3}\n")
    root = () if "--sysfs-root" in argv else ("--sysfs-root", str(scratch))
    answer = command("run", *root, *(word.format(file=file) for word in argv))
    last = [line for line in answer.err.splitlines() if "error: " in line][-1]
    assert refused(Answer(answer.status, answer.out, last)).startswith(said.format(file=file))
    assert "Traceback" not in answer.err
    assert started.calls == []

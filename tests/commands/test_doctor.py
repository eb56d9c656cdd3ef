"""`doctor` from end to end: on simulated trees, on captures, with a daemon that answers and with one that does not."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amdgpu_plugin.commands import doctor
from amdgpu_plugin.discovery.inventory import Driver, Inventory, Skipped
from amdgpu_plugin.exposition.api import node_document
from amdgpu_plugin.exposition.snapshot import About, Registration, Snapshot
from amdgpu_plugin.lanes import Hung
from amdgpu_plugin.node import Condition, GpuStatus, NodeState, Verdict
from amdgpu_plugin.simulation.node import SimulatedNode
from tests.conftest import Command
from tests.doctor.looks import GPUS, A, B, node
from tests.processes import run

FIXTURES = Path(__file__).parents[1] / "fixtures" / "sysfs"
REGISTERED = Registration(registered=True, streams=1, phase="registered")


@pytest.fixture
def machine(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The root of a machine where all is well around the GPUs, with a kubelet that listens."""
    root = scratch / "m"
    for folder in ("plugins", "pods", "state", "proc/self"):
        (root / folder).mkdir(parents=True)
    (root / "proc/self/uid_map").write_text("0 0 4294967295\n")
    monkeypatch.setattr(doctor, "ROOT", str(root))
    monkeypatch.setattr("amdgpu_plugin.doctor.machine.os.geteuid", lambda: 0)
    with listening(root / "plugins/kubelet.sock"), listening(root / "pods/kubelet.sock"):
        yield root


@contextmanager
def listening(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield


@contextmanager
def answering(state_dir: Path, answer: object) -> Iterator[None]:
    """A daemon that answers one request."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(state_dir / "control.sock"))
        server.listen()
        server.settimeout(10)
        thread = threading.Thread(target=answer_one, args=(server, answer))
        thread.start()
        try:
            yield
        finally:
            thread.join()


def answer_one(server: socket.socket, answer: object) -> None:
    connection, _ = server.accept()
    with connection, connection.makefile("rwb") as file:
        assert json.loads(file.readline()) == {"verb": "status"}
        file.write(json.dumps(answer).encode() + b"\n")


def options(machine: Path) -> tuple[str, ...]:
    return (
        *("--state-dir", str(machine / "state"), "--device-plugins-dir", str(machine / "plugins")),
        *("--pod-resources-dir", str(machine / "pods")),
    )


def told(command: Command, *argv: str) -> tuple[int, dict[str, list[str]]]:
    answer = command("doctor", "-o", "json", *argv)
    assert answer.err == ""
    return answer.status, {one["name"]: one["evidence"] for one in json.loads(answer.out)["findings"]}


def document(state: NodeState, **about: Any) -> Any:
    snapshot = Snapshot(
        About("0.2.0", 0.0, **{"events": "kernel", **about}), state, {"amd.com/gpu": REGISTERED}
    )
    return {"ok": node_document(snapshot)}


def not_asked(root: str) -> dict[str, list[str]]:
    return {"no-daemon": [f"not asked: --sysfs-root {root} says where to look"]}


def test_a_node_that_is_fine_is_looked_at_without_a_daemon(
    command: Command, machine: Path, tree: Callable[[str], str]
) -> None:
    root = tree("mi300x:2")
    assert told(command, "--sysfs-root", root, *options(machine)) == (0, not_asked(root))


def test_a_module_that_is_not_loaded_and_why(command: Command, machine: Path, scratch: Path) -> None:
    simulated = SimulatedNode.create(scratch / "node", "mi300x:2")
    simulated.unload()
    (machine / "proc/cmdline").write_text("ro modprobe.blacklist=amdgpu\n")
    assert told(command, "--sysfs-root", simulated.root, *options(machine)) == (
        1,
        {
            "driver-absent": [f"module/amdgpu is absent; no driver: {A}, {B}"],
            "driver-blacklisted": ["/proc/cmdline: modprobe.blacklist=amdgpu"],
            **not_asked(simulated.root),
        },
    )


def test_a_gpu_that_is_not_bound(command: Command, machine: Path, scratch: Path) -> None:
    simulated = SimulatedNode.create(scratch / "node", "mi300x:2")
    simulated.unbind(B)
    assert told(command, "--sysfs-root", simulated.root, *options(machine)) == (
        1,
        {"gpu-unbound": [f"{B} is bound to no driver; amdgpu 6.12.12"], **not_asked(simulated.root)},
    )


def test_a_node_without_gpus_is_no_problem(command: Command, machine: Path, scratch: Path) -> None:
    simulated = SimulatedNode.create(scratch / "node", "mi300x:1")
    simulated.remove(A)
    assert told(command, "--sysfs-root", simulated.root, *options(machine)) == (
        0,
        {"no-gpu": ["bus/pci/devices: no AMD display or accelerator function"], **not_asked(simulated.root)},
    )


def test_expected_gpus_come_from_the_configuration(command: Command, machine: Path, scratch: Path) -> None:
    simulated = SimulatedNode.create(scratch / "node", "mi300x:1")
    file = scratch / "config.yaml"
    file.write_text("devices: {expect: 8}")
    status, found = told(command, "--sysfs-root", simulated.root, "--config", str(file), *options(machine))
    assert (status, found["gpus-missing"]) == (1, ["1 of 8 GPUs are bound to amdgpu"])


def test_another_plugin_and_device_nodes_are_looked_for_by_the_nodes_own_names(
    command: Command, machine: Path, tree: Callable[[str], str]
) -> None:
    (machine / "dev/dri").mkdir(parents=True)
    root = tree("mixed:2")
    with listening(machine / "plugins/amd.com_cpx_nps1"):
        status, found = told(
            command, "--sysfs-root", root, "--dev-root", str(machine / "dev"), *options(machine)
        )
    assert status == 1
    assert found["other-plugin"] == [f"{machine}/plugins/amd.com_cpx_nps1 accepts connections"]
    assert found["device-node-missing"][:2] == [
        f"{machine}/dev/kfd is missing",
        f"{machine}/dev/dri/renderD128 is missing",
    ]
    assert len(found["device-node-missing"]) == 1 + 1 + 8
    assert "modes-mixed" in found


def test_mixed_naming_asked_for_is_no_finding(
    command: Command, machine: Path, tree: Callable[[str], str]
) -> None:
    root = tree("mixed:2")
    naming = ("--resource-naming", "mixed")
    assert told(command, "--sysfs-root", root, *naming, *options(machine)) == (0, not_asked(root))


@pytest.fixture
def own_sysfs(tree: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A simulated node's tree in place of this machine's /sys."""
    root = os.path.realpath(tree("mi300x:2"))
    monkeypatch.setattr(doctor, "SYSFS_ROOT", root)
    return root


def test_the_daemon_is_asked(command: Command, machine: Path, own_sysfs: str) -> None:
    fine = node(*GPUS, holders={})
    wedged = (replace(fine.devices[0], verdict=Verdict("Wedged", "rebind", 0.0)), fine.devices[1])
    hot = Condition("Hot", "junction 101 °C", "readings", 0.0, "inform")
    state = replace(fine, devices=wedged, statuses={B: GpuStatus(conditions=(hot,))})
    with answering(machine / "state", document(state, expected_gpus=3)):
        assert told(command, "--sysfs-root", own_sysfs, *options(machine)) == (
            1,
            {
                "gpus-missing": ["2 of 3 GPUs are bound to amdgpu"],
                "unhealthy": [f"Wedged: {A}: rebind, since 1970-01-01 00:00:00Z"],
                "informs": [f"Hot: {B}: junction 101 °C, since 1970-01-01 00:00:00Z"],
            },
        )


def test_a_daemons_node_that_is_fine(command: Command, machine: Path, own_sysfs: str) -> None:
    with answering(machine / "state", document(node(*GPUS, holders={}))):
        answer = command("doctor", "--sysfs-root", own_sysfs, *options(machine))
    assert (answer.status, answer.out) == (
        0,
        "Asked the running daemon (0.2.0): 2 GPUs, 2 of 2 devices healthy.\n\nNo problem.\n",
    )


def test_a_simulating_daemon_has_nothing_to_do_with_this_machines_gpus(
    command: Command, machine: Path, own_sysfs: str
) -> None:
    (machine / "dev/dri").mkdir(parents=True)
    with answering(
        machine / "state", document(node(GPUS[0], holders={}), simulated=True, events="simulated")
    ):
        assert told(command, "--sysfs-root", own_sysfs, *options(machine)) == (
            0,
            {"simulated": ["the daemon runs with --simulate"]},
        )


@pytest.mark.parametrize("answer", [{"error": "unknown verb"}, {"ok": "fine"}, {"ok": {}}, 7])
def test_a_daemon_that_does_not_tell_is_told_of_and_the_node_looked_at(
    command: Command, machine: Path, own_sysfs: str, answer: object
) -> None:
    with answering(machine / "state", answer):
        status, found = told(command, "--sysfs-root", own_sysfs, *options(machine))
    assert (status, list(found)) == (0, ["no-daemon"])


def test_no_daemon_at_all_is_told_of(command: Command, machine: Path, own_sysfs: str) -> None:
    status, found = told(command, "--sysfs-root", own_sysfs, *options(machine))
    assert (status, list(found)) == (0, ["no-daemon"])
    assert f"no answer at {machine}/state/control.sock" in found["no-daemon"][0]


def test_a_simulated_node_is_looked_at_alone(command: Command, scratch: Path) -> None:
    assert told(command, "--simulate", "mi300x:1", "--state-dir", str(scratch)) == (
        0,
        {"simulated": ["--simulate mi300x:1"]},
    )


def test_a_capture_is_looked_at_alone(command: Command) -> None:
    root = str(FIXTURES / "lact-hd7870.capture")
    assert told(command, "--sysfs-root", root) == (
        0,
        {"capture": [root], "gpu-elsewhere": ["0000:01:00.0 is on radeon"]},
    )


def test_npd_gets_one_line_and_its_exit_status(command: Command, machine: Path, scratch: Path) -> None:
    simulated = SimulatedNode.create(scratch / "node", "mi300x:2")
    where = ("--sysfs-root", simulated.root, *options(machine))
    fine = command("doctor", "--npd", *where)
    simulated.unbind(B)
    wrong = command("doctor", "--npd", *where)
    assert (fine.status, fine.out) == (0, "AMD GPUs: no problem; 2 GPUs, 2 devices, health not known\n")
    assert (wrong.status, wrong.out) == (1, f"gpu-unbound: {B} is bound to no driver; amdgpu 6.12.12\n")


def test_npd_and_a_form_of_output_exclude_each_other(command: Command) -> None:
    assert command("doctor", "--npd", "-o", "json").status == 2


def test_a_root_that_is_missing_could_not_be_looked_at(command: Command, scratch: Path) -> None:
    answer = command("doctor", "--sysfs-root", str(scratch / "none"), "--state-dir", str(scratch))
    assert (answer.status, answer.out) == (2, "")
    assert "does not exist" in answer.err


def test_sysfs_that_does_not_answer_could_not_be_looked_at(
    command: Command, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Inventory(Driver("amdgpu", None, "absent"), (), (), (Skipped("class/drm", str(Hung(20.0))),))
    monkeypatch.setattr(doctor, "inventory_of", lambda _config: silent)
    answer = command("doctor", "--npd", "--sysfs-root", str(scratch))
    assert (answer.status, answer.out) == (
        2,
        f"AMD GPUs: could not look: class/drm in {scratch}: no answer in 20 s\n",
    )


async def test_a_gpu_that_hangs_is_a_problem_and_the_process_ends(scratch: Path) -> None:
    simulated = SimulatedNode.create(scratch / "node", "mi300x:2")
    fifo = Path(simulated.path_of(A)) / "mem_info_vram_total"
    fifo.unlink()
    os.mkfifo(fifo)
    given = ("-o", "json", "--sysfs-root", simulated.root, "--health-read-deadline", "1")
    async with run(*given, verb="doctor", stdout_too=True) as process:
        assert await process.ends() == 1
    found = {one["name"]: one["evidence"] for one in json.loads("\n".join(process.log))["findings"]}
    assert found["gpu-skipped"][:2] == [f"nothing of {A} is served", "class/drm/card1: no answer in 1 s"]

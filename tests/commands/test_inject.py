"""`inject` as people type it, against a simulated daemon in a process of its own."""

import asyncio
from pathlib import Path

from amdgpu_plugin.control import ControlServer, inject_handler
from amdgpu_plugin.simulation.kubelet import SimulatedKubelet
from amdgpu_plugin.simulation.node import SimulatedNode
from tests.conftest import Answer, Command
from tests.processes import run

GPU = "amd.com/gpu"
A, B = "0000:05:00.0", "0000:27:00.0"


async def inject(command: Command, state: Path, *words: str) -> Answer:
    """In this process: starting another costs half a second."""
    return await asyncio.to_thread(command, "inject", *words, "--state-dir", str(state))


async def test_rehearsals_reach_the_kubelet_and_end(scratch: Path, command: Command) -> None:
    plugins, state = scratch / "p", scratch / "s"
    options = (
        *("--device-plugins-dir", str(plugins), "--pod-resources-dir", str(scratch / "r")),
        *("--state-dir", str(state), "--health-interval", "1", "--health-recovery-hold", "0"),
    )
    async with (
        SimulatedKubelet(str(plugins)) as kubelet,
        run(*options, "--simulate", "mi300x:2") as daemon,
    ):
        await kubelet.sees(GPU, healthy=2)
        # by an event alone, and undone when its time is up
        said = await inject(command, state, B, "wedged", "--for", "0.1")
        assert said == Answer(0, f"Wedged at {B}, for 0.1 s\n", "")
        await daemon.says("device unhealthy", f"device={B}", "condition=Wedged")
        await kubelet.sees(GPU, healthy=2)
        # by files alone
        said = await inject(command, state, A, "repartition=CPX")
        assert said == Answer(0, f"repartition=CPX at {A}\n", "")
        await kubelet.sees_unhealthy(A)
        assert (await inject(command, state, A, "clear")).out == f"clear at {A}\n"
        await kubelet.sees(GPU, healthy=2)


async def test_a_daemon_that_refuses_or_is_not_there_is_status_1(scratch: Path, command: Command) -> None:
    state = scratch / "s"
    nobody = await inject(command, state, A, "unbind")
    assert (nobody.status, nobody.out) == (1, "")
    assert "error: no answer at" in nobody.err
    assert "is a daemon running here, with this --state-dir?" in nobody.err
    node = SimulatedNode.create(scratch / "node", "mi210:1")
    server = asyncio.create_task(ControlServer(str(state), {"inject": inject_handler(node)}).run())
    try:
        while not (state / "control.sock").exists():  # noqa: ASYNC110 - nothing tells when it is there
            await asyncio.sleep(0.001)
        refused = await inject(command, state, A, "unbind")
        unknown = await inject(command, state, node.addresses[0], "Overheat")
    finally:
        server.cancel()
        await asyncio.wait([server])
    assert refused == Answer(
        1, "", f"amdgpu-plugin: error: no GPU '{A}' here; there are {node.addresses[0]}\n"
    )
    assert unknown.err.startswith("amdgpu-plugin: error: cannot inject 'Overheat'; did you mean Overheated?")

"""`inject` as people type it, against a simulated daemon in a process of its own."""

from pathlib import Path

from amdgpu_plugin.simulation.kubelet import SimulatedKubelet
from tests.processes import Running, run

GPU = "amd.com/gpu"
A, B = "0000:05:00.0", "0000:27:00.0"


async def inject(state: Path, *words: str) -> Running:
    async with run(*words, "--state-dir", str(state), verb="inject", stdout_too=True) as asked:
        await asked.ends()
    return asked


async def test_a_rehearsed_repartition_waits_for_the_pod_and_then_retires_the_old_id(scratch: Path) -> None:
    plugins, pods, state = scratch / "p", scratch / "r", scratch / "s"
    options = (
        "--device-plugins-dir",
        str(plugins),
        "--pod-resources-dir",
        str(pods),
        "--state-dir",
        str(state),
    )
    async with (
        SimulatedKubelet(str(plugins), pod_resources=str(pods)) as kubelet,
        run(*options, "--simulate", "mi300x:2", "--health-interval", "1", "--retire-after", "0") as daemon,
    ):
        await kubelet.sees(GPU, healthy=2)
        await kubelet.allocate(GPU, 2, pod="train")
        asked = await inject(state, A, "repartition=CPX")
        assert (asked.process.returncode, asked.log) == (0, [f"repartition=CPX at {A}"])
        await kubelet.sees_unhealthy(A)
        await daemon.says("device joined", f"device={A}-cpx7", "resource=amd.com/cpx_nps1")
        # None of its slices is given out while the pod holds the whole GPU.
        await kubelet.sees("amd.com/cpx_nps1", healthy=0, unhealthy=8)
        assert await daemon.says("device unhealthy", f"device={A}-cpx0", f"held as {A} of {GPU}", "train")
        await kubelet.free("train")
        await kubelet.sees("amd.com/cpx_nps1", healthy=8, within=20)
        await kubelet.until(lambda: set(kubelet.devices(GPU)) == {B}, within=20)
        assert await daemon.stop() == 0
    assert list(state.iterdir()) == []


async def test_what_was_injected_for_a_while_is_undone(scratch: Path) -> None:
    plugins, pods, state = scratch / "p", scratch / "r", scratch / "s"
    options = (
        "--device-plugins-dir",
        str(plugins),
        "--pod-resources-dir",
        str(pods),
        "--state-dir",
        str(state),
    )
    async with (
        SimulatedKubelet(str(plugins)) as kubelet,
        run(*options, "--simulate", "mi210:2", "--health-interval", "1") as daemon,
    ):
        await kubelet.sees(GPU, healthy=2)
        address = min(kubelet.devices(GPU))
        asked = await inject(state, address, "remove", "--for", "1")
        assert asked.log == [f"remove at {address}, for 1 s"]
        await daemon.says("device unhealthy", "condition=DeviceLost")
        await kubelet.sees(GPU, healthy=2)


async def test_a_daemon_that_refuses_or_is_not_there_is_status_1(scratch: Path) -> None:
    plugins, state = scratch / "p", scratch / "s"
    nobody = await inject(state, A, "unbind")
    assert nobody.process.returncode == 1
    assert nobody.said("error: no answer at", "is a daemon running here, with this --state-dir?")
    pods = ("--pod-resources-dir", str(scratch / "r"))
    options = ("--device-plugins-dir", str(plugins), "--state-dir", str(state), *pods)
    async with (
        SimulatedKubelet(str(plugins)) as kubelet,
        run(*options, "--simulate", "mi210:1"),
    ):
        await kubelet.sees(GPU, healthy=1)
        refused = await inject(state, A, "unbind")
        assert refused.process.returncode == 1
        assert refused.said(f"no GPU '{A}' here; there are {', '.join(kubelet.devices(GPU))}")

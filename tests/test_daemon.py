"""The daemon as operators meet it: a process, its signals, its exit status, and what it leaves behind."""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from amdgpu_plugin.daemon import leave_if_stuck
from amdgpu_plugin.simulation.kubelet import SimulatedKubelet
from amdgpu_plugin.simulation.node import SimulatedNode
from tests.processes import Running, run, succeeds

GPU = "amd.com/gpu"
MI300X_CPX_63 = Path(__file__).parent / "fixtures" / "sysfs" / "mi300x-cpx-63.capture"
MI300X = tuple(f"0000:{bus}:00.0" for bus in ("05", "27", "47", "65", "85", "a7", "c7", "e5"))
OFTEN = ("--health-interval", "1")
"""Presence is looked at every 0.2 s then."""


@pytest.fixture
def plugins(scratch: Path) -> Path:
    folder = scratch / "p"
    folder.mkdir()
    return folder


@pytest.fixture
async def kubelet(plugins: Path) -> AsyncIterator[SimulatedKubelet]:
    async with SimulatedKubelet(str(plugins)) as started:
        yield started


def at(plugins: Path, root: str | os.PathLike[str]) -> tuple[str, ...]:
    """Options that keep this machine's own kubelet, daemon and GPUs out."""
    aside = plugins.parent / "aside"
    return (
        *("--device-plugins-dir", str(plugins), "--sysfs-root", os.fspath(root)),
        *("--pod-resources-dir", str(aside / "pods"), "--state-dir", str(aside / "state")),
    )


def own_sockets(plugins: Path) -> list[str]:
    return sorted(file.name for file in plugins.iterdir() if file.name.startswith("amdgpu-plugin-"))


def identities(plugins: Path, names: list[str]) -> dict[str, tuple[int, int, int]]:
    """What would tell that any of these was touched."""
    seen = {name: (plugins / name).lstat() for name in names}
    return {name: (status.st_ino, status.st_mode, status.st_mtime_ns) for name, status in seen.items()}


async def test_a_rehearsal_beside_the_kubelet_does_not_ask_it_who_holds_what(plugins: Path) -> None:
    aside = ("--device-plugins-dir", str(plugins), "--state-dir", str(plugins.parent / "state"))
    async with run(*aside, "--simulate", "apu") as daemon:
        await daemon.says("INFO", "pod-resources is not read", "--pod-resources-dir")
        await daemon.says("waiting for the kubelet")
        assert await daemon.stop() == 0
    assert len(daemon.said("pod-resources")) == 1


# -- What it registers --


async def test_63_partitions_of_a_capture_reach_the_kubelet(plugins: Path, kubelet: SimulatedKubelet) -> None:
    async with run(*at(plugins, MI300X_CPX_63)):
        await kubelet.sees(GPU, healthy=63)
        # the last GPU's eighth partition got no DRM minor
        there = {f"{address}-cpx{number}" for address in MI300X for number in range(8)} - {
            "0000:e5:00.0-cpx7"
        }
        assert kubelet.devices(GPU) == dict.fromkeys(there, True)


async def test_mixed_naming_serves_a_resource_for_each_partition_style(
    plugins: Path, kubelet: SimulatedKubelet, tree: Callable[[str], str]
) -> None:
    async with run(*at(plugins, tree("mixed:2")), "--resource-naming", "mixed") as daemon:
        await kubelet.sees("amd.com/spx_nps1", healthy=1)
        await kubelet.sees("amd.com/cpx_nps1", healthy=8)
        assert len(own_sockets(plugins)) == 2
        assert await daemon.stop() == 0
    assert own_sockets(plugins) == []


async def test_a_container_gets_its_nodes_and_who_they_are(
    plugins: Path, kubelet: SimulatedKubelet, tree: Callable[[str], str]
) -> None:
    async with run(*at(plugins, tree("mi300x:2"))):
        await kubelet.sees(GPU, healthy=2)
        response = (await kubelet.allocate(GPU, 2, pod="train")).response
    nodes = {(spec.container_path, spec.host_path, spec.permissions) for spec in response.devices}
    assert nodes == {
        (path, path, "rw") for path in ("/dev/kfd", "/dev/dri/renderD128", "/dev/dri/renderD136")
    }
    by_device = zip(*(response.envs[name].split(",") for name in sorted(response.envs)), strict=True)
    assert sorted(response.envs) == [
        "AMDGPU_DEVICES",
        "AMDGPU_NUMA_NODES",
        "AMDGPU_PCI_ADDRESSES",
        "AMDGPU_RENDER_NODES",
    ]
    assert set(by_device) == {
        ("0000:05:00.0", "0", "0000:05:00.0", "renderD128"),
        ("0000:27:00.0", "0", "0000:27:00.0", "renderD136"),
    }
    assert (len(response.devices), list(response.mounts), list(response.cdi_devices)) == (3, [], [])


async def test_a_container_of_a_simulated_node_starts_anywhere(
    plugins: Path, kubelet: SimulatedKubelet
) -> None:
    async with run(*at(plugins, plugins / "no-gpus-here"), "--simulate", "mi300x:1"):
        await kubelet.sees(GPU, healthy=1)
        response = (await kubelet.allocate(GPU, 1, pod="rehearsal")).response
    nodes = [(spec.container_path, spec.host_path, spec.permissions) for spec in response.devices]
    assert nodes == [("/dev/kfd", "/dev/null", "rw"), ("/dev/dri/renderD128", "/dev/null", "rw")]
    assert dict(response.envs) == {
        "AMDGPU_SIMULATED": "1",
        "AMDGPU_DEVICES": "0000:05:00.0",
        "AMDGPU_NUMA_NODES": "0",
        "AMDGPU_PCI_ADDRESSES": "0000:05:00.0",
        "AMDGPU_RENDER_NODES": "renderD128",
    }


async def test_real_gpus_are_hidden_by_simulated_ones_only_on_request(
    plugins: Path, kubelet: SimulatedKubelet, tree: Callable[[str], str]
) -> None:
    simulated = (*at(plugins, tree("mi300x")), "--simulate", "mi210:1")
    async with run(*simulated) as refused:
        assert await refused.ends() == 2
    assert refused.said("--simulate: real GPUs are bound to amdgpu here", "0000:05:00.0", "--simulate-anyway")
    async with run(*simulated, "--simulate-anyway"):
        await kubelet.sees(GPU, healthy=1)
        assert kubelet.devices(GPU) == {"0000:63:00.0": True}


async def test_variables_of_service_links_are_no_options(
    plugins: Path, kubelet: SimulatedKubelet, tree: Callable[[str], str]
) -> None:
    links = {
        "AMDGPU_PLUGIN_SERVICE_HOST": "10.0.0.7",
        "AMDGPU_PLUGIN_SERVICE_PORT_METRICS": "9400",
        "AMDGPU_PLUGIN_PORT": "tcp://10.0.0.7:9400",
        "AMDGPU_PLUGIN_PORT_9400_TCP_ADDR": "10.0.0.7",
        "AMDGPU_PLUGIN_REPLICS": "3",
    }
    async with run(*at(plugins, tree("mi300x:1")), env=links) as daemon:
        await kubelet.sees(GPU, healthy=1)
        assert await daemon.stop() == 0
    told = daemon.said("AMDGPU_PLUGIN_")
    assert [line.partition("cli: ")[2] for line in told] == [
        "AMDGPU_PLUGIN_REPLICS: no such option, ignored (did you mean AMDGPU_PLUGIN_REPLICAS?)"
    ]


# -- How it ends --


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
async def test_eight_gpus_are_served_until_a_signal_that_takes_only_its_own_socket(
    plugins: Path, kubelet: SimulatedKubelet, tree: Callable[[str], str], number: signal.Signals
) -> None:
    bystanders = ["notes.txt", "amdgpu-plugin-notes.txt", "nvidia-gpu.sock"]
    for name in bystanders[:2]:
        (plugins / name).write_text("not ours")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(plugins / bystanders[2]))
    before = identities(plugins, [*bystanders, "kubelet.sock"])
    async with run(*at(plugins, tree("mi300x"))) as daemon:
        await kubelet.sees(GPU, healthy=8)
        assert kubelet.devices(GPU) == dict.fromkeys(MI300X, True)
        assert len(own_sockets(plugins)) == 2  # and a note whose name looks like it
        assert await daemon.stop(number) == 0
    assert daemon.said("stopping", f"signal={number.name}")
    assert identities(plugins, [*bystanders, "kubelet.sock"]) == before
    left = {file.name for file in plugins.iterdir()} - before.keys()
    assert left == {"kubelet_internal_checkpoint"}
    await kubelet.until(lambda: not kubelet.connected(GPU), what="the stream has ended")


async def test_sigterm_while_register_hangs_ends_it_well(
    plugins: Path, kubelet: SimulatedKubelet, tree: Callable[[str], str]
) -> None:
    kubelet.hang_registers()
    async with run(*at(plugins, tree("mi300x:1"))) as daemon:
        await kubelet.until(lambda: kubelet.counts.register_requests[GPU] == 1)
        assert len(own_sockets(plugins)) == 1
        assert await daemon.stop() == 0
    assert own_sockets(plugins) == []


async def test_the_log_names_the_address_that_http_is_answered_at(
    plugins: Path, tree: Callable[[str], str]
) -> None:
    async with run(*at(plugins, tree("mi300x:1"))) as daemon:
        line = await daemon.says("INFO", " listening http=")
        host, _, port = line.rpartition("=")[2].rpartition(":")
        socket.create_connection((host, int(port)), timeout=10).close()
        assert await daemon.stop() == 0


@pytest.mark.parametrize(
    ("folder", "waiting"),
    [("p", "waiting for the kubelet"), ("not-there", "no device-plugins directory")],
)
async def test_sigterm_without_a_kubelet_ends_it_well(
    plugins: Path, tree: Callable[[str], str], folder: str, waiting: str
) -> None:
    missing = plugins.parent / folder
    async with run(*at(missing, tree("mi300x:1")), *OFTEN) as daemon:
        await daemon.says(waiting, str(missing))
        assert await daemon.stop() == 0
    assert len(daemon.said(waiting)) == 1
    assert [path.name for path in plugins.parent.rglob("*.*")] == ["state.json"]


async def test_a_directory_deleted_behind_a_bind_mount_ends_it_with_the_remedy(
    plugins: Path, tree: Callable[[str], str]
) -> None:
    mounted = plugins.parent / "mounted"
    mounted.mkdir()
    mount = ("unshare", "-m", "sh", "-c", f'mount --bind {plugins} {mounted} && exec "$@"', "sh")
    if not await succeeds(*mount, "true"):
        pytest.skip("no mount namespace of our own: that needs root")
    async with run(*at(mounted, tree("mi300x:1")), before=mount) as daemon:
        await daemon.says("waiting for the kubelet")
        shutil.rmtree(plugins)
        assert await daemon.ends() == 1
    assert daemon.said(
        f"cannot go on here: {mounted} was deleted on the host and made again; "
        "only a restart of this container mounts the new one"
    )
    assert not daemon.said("Traceback")


async def test_an_unusable_root_ends_it_before_anything_starts(plugins: Path) -> None:
    async with run(*at(plugins, plugins / "nothing")) as daemon:
        assert await daemon.ends() == 2
    (said,) = daemon.log
    assert said.startswith(f"amdgpu-plugin: error: --sysfs-root: {plugins / 'nothing'} does not exist (")
    assert list(plugins.iterdir()) == []


def test_a_read_that_never_returns_is_named_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    leave_if_stuck((), 1)
    assert left == []
    leave_if_stuck(("gpu 0000:05:00.0", "kfd"), 0)
    assert left == [0]
    (record,) = caplog.records
    assert record.getMessage() == "leaving with reads that never returned"
    assert getattr(record, "fields", None) == {"lanes": "gpu 0000:05:00.0, kfd"}


# -- More than one process --


async def test_of_two_processes_one_serves_and_the_other_takes_over(
    plugins: Path, kubelet: SimulatedKubelet, tree: Callable[[str], str]
) -> None:
    options = at(plugins, tree("mi300x:1"))
    async with run(*options) as one, run(*options) as two:
        first = await _first_to_say(one, two, "registered")
        second = two if first is one else one
        told = await second.says("another plugin serves this resource")
        await kubelet.sees(GPU, healthy=1)
        (served,) = [name for name in own_sockets(plugins) if name in told]
        assert len(own_sockets(plugins)) == 2
        assert not second.said("registered resource=")
        assert await first.stop() == 0
        await second.says("registered resource=")
        await kubelet.sees(GPU, healthy=1)
        assert served not in own_sockets(plugins)
        assert len(own_sockets(plugins)) == 1
        assert await second.stop() == 0
    assert own_sockets(plugins) == []


async def _first_to_say(one: Running, two: Running, word: str) -> Running:
    tasks = {asyncio.create_task(each.says(word, "resource=")): each for each in (one, two)}
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    return tasks[done.pop()]


async def test_the_socket_of_a_killed_predecessor_is_removed(
    plugins: Path, kubelet: SimulatedKubelet, tree: Callable[[str], str]
) -> None:
    options = at(plugins, tree("mi300x:1"))
    async with run(*options) as killed:
        await kubelet.sees(GPU, healthy=1)
        await killed.stop(signal.SIGKILL)
    (leftover,) = own_sockets(plugins)
    async with run(*options) as daemon:
        await daemon.says("leftover socket removed", leftover)
        await kubelet.until(lambda: kubelet.connected(GPU))
        assert leftover not in own_sockets(plugins)
        assert await daemon.stop() == 0
    assert own_sockets(plugins) == []


# -- Reads that hang --


async def test_a_read_that_hangs_costs_one_gpu_and_no_good_end(
    scratch: Path, plugins: Path, kubelet: SimulatedKubelet
) -> None:
    node = SimulatedNode.create(scratch / "node", "mi300x")
    hung, ill = MI300X[3], MI300X[6]
    make_fifo(f"{node.path_of(hung)}/mem_info_vram_total")
    async with run(*at(plugins, node.root), *OFTEN, "--health-read-deadline", "1") as daemon:
        await kubelet.sees(GPU, healthy=7)
        assert kubelet.devices(GPU) == {address: True for address in MI300X if address != hung}
        await daemon.says("skipped", "class/drm/card25", "no answer in 1 s")
        node.unbind(ill)
        await kubelet.sees_unhealthy(ill)
        assert await daemon.stop() == 0
    assert daemon.said("leaving with reads that never returned", f'lanes="gpu {hung}"')
    assert own_sockets(plugins) == []


async def test_a_gpu_that_answers_late_joins_the_list(
    scratch: Path, plugins: Path, kubelet: SimulatedKubelet
) -> None:
    node = SimulatedNode.create(scratch / "node", "mi300x:2")
    late = f"{node.path_of(MI300X[0])}/mem_info_vram_total"
    answer = Path(late).read_bytes()
    make_fifo(late)
    async with run(*at(plugins, node.root), *OFTEN) as daemon:
        await kubelet.sees(GPU, healthy=1)
        assert kubelet.devices(GPU) == {MI300X[1]: True}
        answer_fifo(late, answer)
        await kubelet.sees(GPU, healthy=2)
        assert kubelet.devices(GPU) == {MI300X[0]: True, MI300X[1]: True}
        assert await daemon.stop() == 0
    assert not daemon.said("leaving with reads")


def make_fifo(path: str) -> None:
    """Whoever reads `path` from now on waits for a writer."""
    os.mkfifo(f"{path}.fifo")
    os.rename(f"{path}.fifo", path)


def answer_fifo(path: str, content: bytes) -> None:
    """The reader that waits gets its answer, and those to come find a file."""
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # ENXIO if nobody waited
    Path(f"{path}.file").write_bytes(content)
    os.rename(f"{path}.file", path)
    os.write(writer, content)
    os.close(writer)


# -- Nothing to serve --


@pytest.mark.parametrize("missing", ["everything", "class/drm", "the driver"])
async def test_a_node_without_gpus_is_waited_for_and_served_when_it_has_one(
    scratch: Path, plugins: Path, kubelet: SimulatedKubelet, missing: str
) -> None:
    node = SimulatedNode.create(scratch / "node", "mi300x:1")
    root, aside = Path(node.root), scratch / "aside"
    node.unbind(MI300X[0])
    if missing != "the driver":
        part = root if missing == "everything" else root / missing
        part.rename(aside)
        root.mkdir(exist_ok=True)
    async with run(*at(plugins, root), *OFTEN) as daemon:
        await daemon.says("no GPU to serve: waiting for one")
        assert own_sockets(plugins) == []
        if missing == "everything":
            for folder in aside.iterdir():
                folder.rename(root / folder.name)
        elif missing != "the driver":
            aside.rename(part)
        node.bind(MI300X[0])
        await kubelet.sees(GPU, healthy=1)
        assert await daemon.stop() == 0
    assert len(daemon.said("no GPU to serve")) == 1
    assert len(daemon.said("no GPU is bound to amdgpu")) == 1


async def test_a_node_without_gpus_is_no_bad_end(
    plugins: Path, kubelet: SimulatedKubelet, scratch: Path
) -> None:
    async with run(*at(plugins, scratch), *OFTEN) as daemon:
        await daemon.says("no GPU to serve: waiting for one")
        assert await daemon.stop() == 0
    assert kubelet.counts.register_requests == {}

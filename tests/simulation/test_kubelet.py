import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest

from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as rpc
from amdgpu_plugin.simulation import kubelet_choice as choice
from amdgpu_plugin.simulation.kubelet import (
    ContainerNotStarted,
    KubeletPanicked,
    PodRejected,
    SimulatedKubelet,
)

GPU = "amd.com/gpu"
Prefer = Callable[[api.ContainerPreferredAllocationRequest], Iterable[str]]


def gpus(count: int, *, ill: tuple[int, ...] = (), numa: bool = False) -> list[api.Device]:
    """g0, g1 …; with `numa` the first half on node 0 and the second on node 1."""
    return [
        api.Device(
            ID=f"g{index}",
            health="Unhealthy" if index in ill else "Healthy",
            topology=api.TopologyInfo(nodes=[api.NUMANode(ID=index * 2 // count)]) if numa else None,
        )
        for index in range(count)
    ]


class Plugin(rpc.DevicePluginServicer):
    """A device plugin of the smallest kind that writes down what it is asked."""

    def __init__(self, directory: str, name: str = "plugin.sock") -> None:
        self.directory = directory
        self.name = name
        self.options = api.DevicePluginOptions(get_preferred_allocation_available=True)
        self.lists: asyncio.Queue[list[api.Device] | None] = asyncio.Queue()
        self.prefer: Prefer = lambda request: sorted(request.available_deviceIDs)[: request.allocation_size]
        self.events: list[str] = []
        self.preferences: list[tuple[list[str], list[str], int]] = []
        self.allocations: list[list[str]] = []
        self.fail_with: str | None = None
        self.during_allocate: Callable[[], Any] | None = None
        self.stream_ended = asyncio.Event()
        self._server = grpc.aio.server()

    async def start(self) -> None:
        rpc.add_DevicePluginServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self.directory}/{self.name}")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    async def register(self, resource: str = GPU, *, version: str = "v1beta1") -> None:
        async with grpc.aio.insecure_channel(f"unix:{self.directory}/kubelet.sock") as channel:
            request = api.RegisterRequest(version=version, endpoint=self.name, resource_name=resource)
            await rpc.RegistrationStub(channel).Register(request)
            self.events.append("registered")

    async def GetDevicePluginOptions(self, request: api.Empty, context: Any) -> api.DevicePluginOptions:
        self.events.append("options")
        await self._fail_if_told(context)
        return self.options

    async def ListAndWatch(self, request: api.Empty, context: Any) -> AsyncIterator[api.ListAndWatchResponse]:
        self.events.append("list")
        try:
            while (devices := await self.lists.get()) is not None:
                yield api.ListAndWatchResponse(devices=devices)
        finally:
            self.stream_ended.set()

    async def GetPreferredAllocation(
        self, request: api.PreferredAllocationRequest, context: Any
    ) -> api.PreferredAllocationResponse:
        (asked,) = request.container_requests
        self.preferences.append(
            (sorted(asked.available_deviceIDs), sorted(asked.must_include_deviceIDs), asked.allocation_size)
        )
        await self._fail_if_told(context)
        answer = api.ContainerPreferredAllocationResponse(deviceIDs=self.prefer(asked))
        return api.PreferredAllocationResponse(container_responses=[answer])

    async def Allocate(self, request: api.AllocateRequest, context: Any) -> api.AllocateResponse:
        (asked,) = request.container_requests
        self.allocations.append(sorted(asked.devices_ids))
        await self._fail_if_told(context)
        if self.during_allocate is not None:
            await self.during_allocate()
        answer = api.ContainerAllocateResponse(envs={"IDS": ",".join(sorted(asked.devices_ids))})
        return api.AllocateResponse(container_responses=[answer])

    async def PreStartContainer(
        self, request: api.PreStartContainerRequest, context: Any
    ) -> api.PreStartContainerResponse:
        self.events.append(f"start {','.join(sorted(request.devices_ids))}")
        await self._fail_if_told(context)
        return api.PreStartContainerResponse()

    async def _fail_if_told(self, context: Any) -> None:
        if self.fail_with is not None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.fail_with)


class Stage:
    """Builds kubelets and plugins in one directory and ends them."""

    def __init__(self, directory: str, ends: AsyncExitStack) -> None:
        self.directory = directory
        self._ends = ends

    async def kubelet(self, **how: Any) -> SimulatedKubelet:
        return await self._ends.enter_async_context(SimulatedKubelet(self.directory, **how))

    async def plugin(self, name: str = "plugin.sock") -> Plugin:
        plugin = Plugin(self.directory, name)
        await plugin.start()
        self._ends.push_async_callback(plugin.stop)
        return plugin

    async def serving(self, devices: list[api.Device], **how: Any) -> tuple[SimulatedKubelet, Plugin]:
        kubelet = await self.kubelet(**how)
        plugin = await self.plugin()
        await plugin.register()
        plugin.lists.put_nowait(devices)
        await kubelet.until(lambda: kubelet.counts.lists[GPU] == 1)
        return kubelet, plugin


@asynccontextmanager
async def staged(directory: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as ends:
        yield Stage(str(directory / "dp"), ends)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as made:
        yield made


def identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_ino, status.st_ctime_ns


def leave_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as leftover:
        leftover.bind(path)


# ---- start, stop, restart ----


async def test_start_removes_sockets_and_leaves_files_and_folders(stage: Stage) -> None:
    os.makedirs(f"{stage.directory}/folder")
    Path(stage.directory, "file").touch()
    leave_socket(f"{stage.directory}/old.sock")
    leave_socket(f"{stage.directory}/folder/inner.sock")
    await stage.kubelet()
    assert sorted(os.listdir(stage.directory)) == ["file", "folder", "kubelet.sock"]
    assert os.listdir(f"{stage.directory}/folder") == ["inner.sock"]


async def test_killed_kubelet_leaves_its_socket_untouched_and_deaf(stage: Stage) -> None:
    kubelet = await stage.kubelet()
    plugin = await stage.plugin()
    path = f"{stage.directory}/kubelet.sock"
    before = identity(path)
    await kubelet.stop()
    assert identity(path) == before
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await plugin.register()
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_restart_makes_a_new_socket(stage: Stage) -> None:
    kubelet = await stage.kubelet()
    path = f"{stage.directory}/kubelet.sock"
    before = identity(path)
    await kubelet.restart()
    assert identity(path) != before
    assert stat.S_ISSOCK(os.stat(path).st_mode)


async def test_stop_can_remove_the_socket(stage: Stage) -> None:
    kubelet = await stage.kubelet()
    await kubelet.stop(leave_socket=False)
    assert os.listdir(stage.directory) == []


async def test_restart_ends_streams_and_removes_the_plugins_socket(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(2))
    await kubelet.restart()
    await plugin.stream_ended.wait()
    assert not os.path.exists(f"{stage.directory}/plugin.sock")
    assert (kubelet.connected(GPU), kubelet.capacity(GPU), kubelet.devices(GPU)) == (False, 0, {})


async def test_plugin_registers_with_each_of_many_kubelets(stage: Stage) -> None:
    kubelet = await stage.kubelet()
    for life in range(10):
        plugin = await stage.plugin(f"{life}.sock")
        await plugin.register()
        plugin.lists.put_nowait(gpus(3))
        await kubelet.sees(GPU, healthy=3)
        await kubelet.restart()
    assert kubelet.counts.registrations == {GPU: 10}
    assert kubelet.counts.errors == []


# ---- registration ----


async def test_options_are_asked_within_register_and_the_list_after_it(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(1))
    assert plugin.events.index("options") < plugin.events.index("registered")
    assert sorted(plugin.events) == ["list", "options", "registered"]
    assert kubelet.connected(GPU)


@pytest.mark.parametrize(
    ("resource", "version", "message"),
    [
        (
            GPU,
            "v1beta2",
            'requested API version "v1beta2" is not supported by kubelet. Supported version is ["v1beta1"]',
        ),
        (GPU, "", 'requested API version "" is not supported by kubelet. Supported version is ["v1beta1"]'),
        ("gpu", "v1beta1", 'the ResourceName "gpu" is invalid'),
        ("kubernetes.io/gpu", "v1beta1", 'the ResourceName "kubernetes.io/gpu" is invalid'),
    ],
)
async def test_register_refuses_what_is_no_device_plugin(
    stage: Stage, resource: str, version: str, message: str
) -> None:
    kubelet = await stage.kubelet()
    plugin = await stage.plugin()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await plugin.register(resource, version=version)
    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.UNKNOWN, message)
    assert plugin.events == []
    assert kubelet.counts.registrations == {}
    assert kubelet.counts.errors == [f"Register of {resource}: {message}"]


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("amd.com/gpu", True),
        ("amd.com/cpx_nps4", True),
        ("a/" + "b" * 63, True),
        ("a/" + "b" * 64, False),
        ("x" * 244 + "/gpu", True),
        ("x" * 245 + "/gpu", False),
        ("amd.com/", False),
        ("/gpu", False),
        ("AMD.com/gpu", False),
        ("amd..com/gpu", False),
        ("amd.com/gpu/0", False),
        ("amd.com/-gpu", False),
        ("requests.amd.com/gpu", False),
        ("node.kubernetes.io/gpu", False),
    ],
)
def test_legal_resource_names(name: str, legal: bool) -> None:  # noqa: FBT001
    assert choice.legal_resource(name) is legal


async def test_register_fails_when_nobody_serves_the_endpoint(stage: Stage) -> None:
    kubelet = await stage.kubelet(dial_seconds=0.01)
    plugin = await stage.plugin()
    plugin.name = "nowhere.sock"
    with pytest.raises(grpc.aio.AioRpcError, match="failed to dial device plugin: context deadline exceeded"):
        await plugin.register()
    assert not kubelet.connected(GPU)


async def test_register_fails_when_the_options_do(stage: Stage) -> None:
    kubelet = await stage.kubelet()
    plugin = await stage.plugin()
    plugin.fail_with = "no"
    with pytest.raises(
        grpc.aio.AioRpcError,
        match="failed to get device plugin options: rpc error: code = FailedPrecondition desc = no",
    ):
        await plugin.register()
    assert not kubelet.connected(GPU)


async def test_the_last_registration_wins(stage: Stage) -> None:
    kubelet, _ = await stage.serving(gpus(2))
    second = await stage.plugin("second.sock")
    await second.register()
    second.lists.put_nowait(gpus(5))
    await kubelet.sees(GPU, healthy=5)
    await kubelet.allocate(GPU, 1, pod="a")
    assert second.allocations == [["g0"]]


async def test_the_end_of_a_superseded_stream_disconnects_its_successor(stage: Stage) -> None:
    kubelet, first = await stage.serving(gpus(2))
    second = await stage.plugin("second.sock")
    await second.register()
    second.lists.put_nowait(gpus(5))
    await kubelet.sees(GPU, healthy=5)
    first.lists.put_nowait(None)
    await second.stream_ended.wait()
    await kubelet.sees(GPU, healthy=0, unhealthy=5)
    assert not kubelet.connected(GPU)


async def test_after_a_failed_registration_nobody_notices_the_end_of_the_earlier_stream(stage: Stage) -> None:
    kubelet, first = await stage.serving(gpus(2))
    first.fail_with = "no"
    with pytest.raises(grpc.aio.AioRpcError, match="failed to get device plugin options"):
        await first.register()
    first.lists.put_nowait(None)
    await kubelet.until(
        lambda: f"ListAndWatch ended unexpectedly for device plugin {GPU}: EOF" in kubelet.counts.errors
    )
    assert kubelet.devices(GPU) == {"g0": True, "g1": True}


async def test_resources_live_apart(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(2))
    other = await stage.plugin("other.sock")
    await other.register("amd.com/cpx_nps4")
    other.lists.put_nowait([api.Device(ID="p0", health="Healthy")])
    await kubelet.sees_healthy("p0")
    plugin.lists.put_nowait(None)
    await kubelet.sees(GPU, healthy=0, unhealthy=2)
    assert kubelet.devices("amd.com/cpx_nps4") == {"p0": True}


# ---- faults on demand ----


async def test_refused_registers_then_one_that_succeeds(stage: Stage) -> None:
    kubelet = await stage.kubelet()
    plugin = await stage.plugin()
    kubelet.refuse_registers(2, code=grpc.StatusCode.RESOURCE_EXHAUSTED, details="busy")
    for _ in range(2):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await plugin.register()
        assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
    await plugin.register()
    await kubelet.registered(GPU)
    assert (kubelet.counts.register_requests, kubelet.counts.registrations) == ({GPU: 3}, {GPU: 1})


async def test_a_register_goes_on_after_the_plugin_gave_up(stage: Stage) -> None:
    kubelet = await stage.kubelet()
    plugin = await stage.plugin()
    kubelet.hang_registers()
    registering = asyncio.create_task(plugin.register())
    await kubelet.until(lambda: kubelet.counts.register_requests[GPU] == 1)
    registering.cancel()
    await asyncio.wait([registering])
    assert plugin.events == []
    kubelet.hang_registers(hang=False)
    await kubelet.registered(GPU)


async def test_a_kubelet_killed_within_register_is_unavailable(stage: Stage) -> None:
    kubelet = await stage.kubelet()
    plugin = await stage.plugin()
    kubelet.hang_registers()
    registering = asyncio.create_task(plugin.register())
    await kubelet.until(lambda: kubelet.counts.register_requests[GPU] == 1)
    await kubelet.stop()
    with pytest.raises(grpc.aio.AioRpcError) as lost:
        await registering
    assert lost.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_ignored_plugin_is_registered_and_never_asked(stage: Stage) -> None:
    kubelet = await stage.kubelet()
    plugin = await stage.plugin()
    kubelet.ignore_plugins()
    await plugin.register()
    assert plugin.events == ["registered"]
    assert (kubelet.counts.registrations, kubelet.connected(GPU)) == ({GPU: 1}, False)
    kubelet.ignore_plugins(ignore=False)
    await plugin.register()
    assert kubelet.connected(GPU)


async def test_dropped_stream_is_cancelled_at_the_plugin_and_not_redialled(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(2))
    await kubelet.drop_stream(GPU)
    assert kubelet.devices(GPU) == {"g0": False, "g1": False}
    await plugin.stream_ended.wait()
    other = await stage.plugin("other.sock")
    await other.register("amd.com/other")
    assert plugin.events.count("list") == 1
    with pytest.raises(KeyError):
        await kubelet.drop_stream(GPU)


async def test_streams_dropped_at_their_first_list(stage: Stage) -> None:
    kubelet = await stage.kubelet()
    plugin = await stage.plugin()
    kubelet.drop_streams()
    for _ in range(3):
        plugin.stream_ended.clear()
        plugin.lists.put_nowait(gpus(2))
        await plugin.register()
        await plugin.stream_ended.wait()
        await kubelet.sees(GPU, healthy=0, unhealthy=2)
    assert (kubelet.counts.registrations, kubelet.counts.lists) == ({GPU: 3}, {GPU: 3})


# ---- what it sees ----


async def test_each_list_replaces_the_one_before(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(4))
    plugin.lists.put_nowait(gpus(3, ill=(1,)))
    await kubelet.sees_unhealthy("g1")
    assert kubelet.devices(GPU) == {"g0": True, "g1": False, "g2": True}
    assert (kubelet.capacity(GPU), kubelet.allocatable(GPU)) == (3, 2)
    plugin.lists.put_nowait(gpus(3))
    await kubelet.sees_healthy("g1")
    assert (kubelet.capacity(GPU), kubelet.allocatable(GPU)) == (3, 3)


async def test_lists_are_counted_and_timed(stage: Stage) -> None:
    now = [100.0]
    kubelet, plugin = await stage.serving(gpus(1), clock=lambda: now[0])
    assert kubelet.counts.last_list_at == {GPU: 100.0}
    now[0] = 107.5
    plugin.lists.put_nowait(gpus(1, ill=(0,)))
    await kubelet.sees_unhealthy("g0")
    assert (kubelet.counts.lists, kubelet.counts.last_list_at) == ({GPU: 2}, {GPU: 107.5})


async def test_lost_stream_leaves_capacity_for_five_minutes(stage: Stage) -> None:
    now = [0.0]
    kubelet, plugin = await stage.serving(gpus(4), clock=lambda: now[0])
    plugin.lists.put_nowait(None)
    await kubelet.sees(GPU, healthy=0, unhealthy=4)
    now[0] = 300.0
    assert (kubelet.capacity(GPU), kubelet.allocatable(GPU)) == (4, 0)
    now[0] = 300.1
    assert (kubelet.capacity(GPU), kubelet.allocatable(GPU)) == (0, 0)
    assert kubelet.counts.errors == [f"ListAndWatch ended unexpectedly for device plugin {GPU}: EOF"]


async def test_plugin_that_dies_is_seen_at_once(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(2))
    await plugin.stop()
    await kubelet.sees(GPU, healthy=0, unhealthy=2)


async def test_what_is_not_seen_in_time_is_said(stage: Stage) -> None:
    kubelet, _ = await stage.serving(gpus(1))
    with pytest.raises(
        TimeoutError, match=r"amd.com/gpu healthy=8 unhealthy=None: not within 0.01 s; .*'g0': True"
    ):
        await kubelet.sees(GPU, healthy=8, within=0.01)


# ---- allocation without NUMA policy ----


async def test_plugin_is_asked_over_everything_and_its_answer_used(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(8, ill=(3,)))
    plugin.prefer = lambda _: ["g6", "g7"]
    await kubelet.allocate(GPU, 2, pod="a")
    plugin.prefer = lambda _: ["g5"]
    allocation = await kubelet.allocate(GPU, 1, pod="b", container="c")
    assert plugin.preferences == [
        (["g0", "g1", "g2", "g4", "g5", "g6", "g7"], [], 2),
        (["g0", "g1", "g2", "g4", "g5"], [], 1),
    ]
    assert plugin.allocations == [["g6", "g7"], ["g5"]]
    assert allocation.device_ids == ("g5",)
    assert allocation.response == api.ContainerAllocateResponse(envs={"IDS": "g5"})
    assert set(kubelet.held) == {("a", "main", GPU), ("b", "c", GPU)}
    assert kubelet.held["b", "c", GPU] == allocation


async def test_plugin_is_asked_even_when_all_are_wanted(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(3, numa=True))
    await kubelet.allocate(GPU, 3, pod="a")
    assert plugin.preferences == [(["g0", "g1", "g2"], [], 3)]


async def test_plugin_that_does_not_announce_preferences_is_not_asked(stage: Stage) -> None:
    kubelet = await stage.kubelet()
    plugin = await stage.plugin()
    plugin.options = api.DevicePluginOptions()
    await plugin.register()
    plugin.lists.put_nowait(gpus(4))
    await kubelet.sees(GPU, healthy=4)
    await kubelet.allocate(GPU, 2, pod="a")
    assert (plugin.preferences, len(plugin.allocations[0])) == ([], 2)


async def test_too_many_preferred_are_drawn_from_at_random(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(8), random=Random(1))
    plugin.prefer = lambda _: ["g4", "g5", "g6", "g7"]
    drawn = set()
    for pod in range(30):
        drawn |= set((await kubelet.allocate(GPU, 1, pod=f"{pod}")).device_ids)
        await kubelet.free(f"{pod}")
    assert drawn == {"g4", "g5", "g6", "g7"}


async def test_unknown_and_held_preferred_are_ignored_and_the_rest_filled(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(3))
    plugin.prefer = lambda _: ["g1"]
    await kubelet.allocate(GPU, 1, pod="a")
    plugin.prefer = lambda _: ["g1", "g9", "g2"]
    allocation = await kubelet.allocate(GPU, 2, pod="b")
    assert sorted(allocation.device_ids) == ["g0", "g2"]


async def test_same_seed_same_choice(tmp_path: Path) -> None:
    chosen = []
    for life in ("a", "b"):
        async with staged(tmp_path / life) as stage:
            kubelet, plugin = await stage.serving(gpus(16), random=Random(7))
            plugin.prefer = lambda _: []
            chosen.append((await kubelet.allocate(GPU, 8, pod="a")).device_ids)
    assert chosen[0] == chosen[1]


async def test_an_error_of_the_preference_fails_the_pod(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(4))
    plugin.fail_with = "lost one"
    with pytest.raises(PodRejected) as rejected:
        await kubelet.allocate(GPU, 2, pod="a")
    assert str(rejected.value) == (
        "UnexpectedAdmissionError: Allocate failed due to device plugin GetPreferredAllocation rpc failed with err: "
        "rpc error: code = FailedPrecondition desc = lost one, which is unexpected"
    )
    assert plugin.allocations == []


async def test_an_error_of_allocate_fails_the_pod_and_frees_all_it_held(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(4))
    await kubelet.allocate(GPU, 2, pod="a", container="first")
    plugin.options.get_preferred_allocation_available = False
    plugin.prefer = lambda _: []

    async def fail() -> None:
        raise ValueError

    plugin.during_allocate = fail
    with pytest.raises(PodRejected, match="code = Unknown desc = Unexpected <class 'ValueError'>"):
        await kubelet.allocate(GPU, 1, pod="a", container="second")
    assert kubelet.held == {}


@pytest.mark.parametrize(
    ("devices", "size", "reason"),
    [
        (gpus(2), 3, "requested number of devices unavailable for amd.com/gpu. Requested: 3, Available: 2"),
        (
            gpus(2, ill=(0,)),
            2,
            "requested number of devices unavailable for amd.com/gpu. Requested: 2, Available: 1",
        ),
        (gpus(1, ill=(0,)), 1, "no healthy devices present; cannot allocate unhealthy devices amd.com/gpu"),
    ],
)
async def test_pods_that_do_not_fit(stage: Stage, devices: list[api.Device], size: int, reason: str) -> None:
    kubelet, plugin = await stage.serving(devices)
    with pytest.raises(PodRejected) as rejected:
        await kubelet.allocate(GPU, size, pod="a")
    assert (
        str(rejected.value)
        == f"UnexpectedAdmissionError: Allocate failed due to {reason}, which is unexpected"
    )
    assert plugin.allocations == []


async def test_unregistered_resource_and_no_size(stage: Stage) -> None:
    kubelet = await stage.kubelet()
    with pytest.raises(PodRejected, match=r"cannot allocate unregistered device amd.com/gpu"):
        await kubelet.allocate(GPU, 1, pod="a")
    with pytest.raises(ValueError, match="at least one device, not 0"):
        await kubelet.allocate(GPU, 0, pod="a")


async def test_freed_devices_are_given_again(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(2))
    await kubelet.allocate(GPU, 2, pod="a")
    await kubelet.free("a")
    assert kubelet.held == {}
    await kubelet.allocate(GPU, 2, pod="b")
    assert plugin.allocations == [["g0", "g1"], ["g0", "g1"]]


async def test_an_allocate_that_hangs_blocks_the_next_pod(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(2))
    within, go_on = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        within.set()
        await go_on.wait()

    plugin.during_allocate = hang
    first = asyncio.create_task(kubelet.allocate(GPU, 1, pod="a"))
    await within.wait()
    second = asyncio.create_task(kubelet.allocate(GPU, 1, pod="b"))
    plugin.lists.put_nowait(gpus(2))
    await kubelet.until(lambda: kubelet.counts.lists[GPU] == 2)
    assert plugin.allocations == [["g0"]]
    go_on.set()
    assert [(await first).device_ids, (await second).device_ids] == [("g0",), ("g1",)]


async def test_a_plugin_lost_within_allocate_fails_the_pod(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(2))
    plugin.during_allocate = lambda: kubelet.drop_stream(GPU)
    with pytest.raises(PodRejected, match="code = Canceled desc = grpc: the client connection is closing"):
        await kubelet.allocate(GPU, 1, pod="a")


async def test_a_kubelet_killed_within_allocate_has_no_checkpoint_of_it(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(4))
    held = await kubelet.allocate(GPU, 1, pod="a", container="first")
    within = asyncio.Event()

    async def hang() -> None:
        within.set()
        await asyncio.Event().wait()

    plugin.during_allocate = hang
    allocating = asyncio.create_task(kubelet.allocate(GPU, 1, pod="a", container="second"))
    await within.wait()
    await kubelet.restart()
    with pytest.raises(PodRejected):
        await allocating
    assert kubelet.held == {("a", "first", GPU): held}
    await kubelet.restart()
    assert kubelet.held == {("a", "first", GPU): held}


async def test_an_id_dropped_within_allocate_is_the_kubelets_end(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(2))

    async def drop() -> None:
        plugin.lists.put_nowait(gpus(1))
        await kubelet.until(lambda: kubelet.counts.lists[GPU] == 2)

    plugin.during_allocate = drop
    plugin.prefer = lambda _: ["g1"]
    with pytest.raises(KubeletPanicked, match="g1: dropped from the list during Allocate"):
        await kubelet.allocate(GPU, 1, pod="a")


# ---- init containers, restarts, re-admission ----


async def test_what_an_init_container_held_must_be_included(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(4))
    plugin.prefer = lambda _: ["g2"]
    await kubelet.allocate(GPU, 1, pod="a", container="init", init=True)
    plugin.prefer = lambda _: ["g2", "g3"]
    allocation = await kubelet.allocate(GPU, 2, pod="a", container="main")
    assert plugin.preferences[1] == (["g0", "g1", "g2", "g3"], ["g2"], 2)
    assert sorted(allocation.device_ids) == ["g2", "g3"]
    plugin.prefer = lambda _: []
    assert "g2" not in (await kubelet.allocate(GPU, 1, pod="a", container="next")).device_ids


async def test_an_init_containers_devices_may_be_enough(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(4))
    await kubelet.allocate(GPU, 2, pod="a", container="init", init=True)
    allocation = await kubelet.allocate(GPU, 1, pod="a")
    assert (len(plugin.preferences), len(plugin.allocations)) == (1, 2)
    assert set(allocation.device_ids) < {"g0", "g1"}


async def test_container_restarted_in_place_gets_the_answer_it_had_even_when_its_gpu_is_ill(
    stage: Stage,
) -> None:
    kubelet, plugin = await stage.serving(gpus(2))
    allocation = await kubelet.allocate(GPU, 1, pod="a")
    plugin.lists.put_nowait(gpus(2, ill=(0, 1)))
    await kubelet.sees(GPU, healthy=0)
    assert await kubelet.restart_container("a") == (allocation,)
    assert len(plugin.allocations) == 1


async def test_allocations_outlive_the_kubelet(stage: Stage) -> None:
    kubelet, _ = await stage.serving(gpus(2))
    first = await kubelet.allocate(GPU, 1, pod="a")
    await kubelet.restart()
    assert kubelet.held == {("a", "main", GPU): first}
    with pytest.raises(PodRejected, match="no healthy devices present"):
        await kubelet.allocate(GPU, 1, pod="early")
    plugin = await stage.plugin("again.sock")
    await plugin.register()
    plugin.lists.put_nowait(gpus(2))
    await kubelet.sees(GPU, healthy=2)
    assert await kubelet.allocate(GPU, 1, pod="a") == first
    assert plugin.allocations == []
    await kubelet.allocate(GPU, 1, pod="b")
    assert plugin.preferences == [(["g1"], [], 1)]


@pytest.mark.parametrize("listed", [gpus(2, ill=(0,)), gpus(2)[1:]])
async def test_readmission_fails_when_a_held_device_is_ill_or_gone(
    stage: Stage, listed: list[api.Device]
) -> None:
    kubelet, _ = await stage.serving(gpus(1))
    await kubelet.allocate(GPU, 1, pod="a")
    await kubelet.restart()
    plugin = await stage.plugin("again.sock")
    await plugin.register()
    plugin.lists.put_nowait(listed)
    await kubelet.sees(GPU, healthy=1)
    with pytest.raises(
        PodRejected,
        match=r"previously allocated devices are no longer healthy; cannot allocate unhealthy devices amd.com/gpu",
    ):
        await kubelet.allocate(GPU, 1, pod="a")
    assert kubelet.held == {}


async def test_readmission_with_another_size_fails(stage: Stage) -> None:
    kubelet, _ = await stage.serving(gpus(4))
    await kubelet.allocate(GPU, 1, pod="a")
    with pytest.raises(PodRejected, match=r'changed request for resource "amd.com/gpu" from 1 to 2'):
        await kubelet.allocate(GPU, 2, pod="a")


async def test_a_kubelet_whose_directory_was_replaced_starts_afresh(stage: Stage) -> None:
    kubelet, _ = await stage.serving(gpus(2))
    await kubelet.allocate(GPU, 1, pod="a")
    await kubelet.stop()
    os.rename(stage.directory, f"{stage.directory}.old")
    await kubelet.start()
    assert (kubelet.held, os.listdir(stage.directory)) == ({}, ["kubelet.sock"])
    plugin = await stage.plugin()
    await plugin.register()
    plugin.lists.put_nowait(gpus(2))
    await kubelet.sees(GPU, healthy=2)
    again = await kubelet.allocate(GPU, 1, pod="a")
    await kubelet.restart()
    assert kubelet.held == {("a", "main", GPU): again}


async def test_a_checkpoint_that_cannot_be_written_is_an_error_and_no_end(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(1))
    os.rename(stage.directory, f"{stage.directory}.old")
    plugin.lists.put_nowait(gpus(2))
    await kubelet.sees(GPU, healthy=2)
    (error,) = kubelet.counts.errors
    assert error.startswith("writing checkpoint encountered [Errno 2]")


# ---- before a container starts ----


async def prestarting(stage: Stage) -> tuple[SimulatedKubelet, Plugin]:
    kubelet = await stage.kubelet()
    plugin = await stage.plugin()
    plugin.options.pre_start_required = True
    await plugin.register()
    plugin.lists.put_nowait(gpus(2))
    await kubelet.sees(GPU, healthy=2)
    plugin.events.clear()
    return kubelet, plugin


async def test_prestart_is_called_at_each_start_when_required(stage: Stage) -> None:
    kubelet, plugin = await prestarting(stage)
    await kubelet.allocate(GPU, 2, pod="a")
    await kubelet.restart_container("a")
    assert plugin.events == ["start g0,g1", "start g0,g1"]


async def test_prestart_is_not_called_when_not_required(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(2))
    await kubelet.allocate(GPU, 2, pod="a")
    assert [event for event in plugin.events if event.startswith("start")] == []


async def test_failed_prestart_keeps_the_devices(stage: Stage) -> None:
    kubelet, plugin = await prestarting(stage)
    await kubelet.allocate(GPU, 1, pod="a")
    plugin.fail_with = "not now"
    with pytest.raises(ContainerNotStarted, match=r"PreStartContainer rpc failed with err: .*desc = not now"):
        await kubelet.restart_container("a")
    await plugin.stop()
    await kubelet.sees(GPU, healthy=0)
    with pytest.raises(ContainerNotStarted, match=r"endpoint of amd.com/gpu has been stopped"):
        await kubelet.restart_container("a")
    assert set(kubelet.held) == {("a", "main", GPU)}


# ---- NUMA policies ----


async def test_fewer_than_aligned_are_asked_over_the_aligned(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(8, numa=True), policy="single-numa-node")
    await kubelet.allocate(GPU, 3, pod="a")
    assert plugin.preferences == [(["g0", "g1", "g2", "g3"], [], 3)]
    assert plugin.allocations == [["g0", "g1", "g2"]]


async def test_exactly_the_aligned_are_taken_unasked(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(8, numa=True), policy="single-numa-node")
    await kubelet.allocate(GPU, 4, pod="a")
    await kubelet.allocate(GPU, 4, pod="b")
    assert plugin.preferences == []
    assert plugin.allocations == [["g0", "g1", "g2", "g3"], ["g4", "g5", "g6", "g7"]]


async def test_what_fits_no_single_node_is_rejected_or_spread(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(4, numa=True), policy="single-numa-node")
    with pytest.raises(
        PodRejected, match=r"^TopologyAffinityError: Resources cannot be allocated with Topology locality$"
    ):
        await kubelet.allocate(GPU, 3, pod="a")
    await kubelet.stop()
    easy, plugin = await stage.serving(gpus(4, numa=True), policy="best-effort")
    await easy.allocate(GPU, 3, pod="a")
    assert plugin.preferences == [(["g0", "g1", "g2", "g3"], [], 3)]


async def test_a_container_stays_on_the_node_of_its_init_container(stage: Stage) -> None:
    kubelet, plugin = await stage.serving(gpus(4, numa=True), policy="single-numa-node")
    await kubelet.allocate(GPU, 2, pod="on node 0")
    plugin.prefer = lambda _: ["g3"]
    await kubelet.allocate(GPU, 1, pod="a", container="init", init=True)
    await kubelet.free("on node 0")
    assert sorted((await kubelet.allocate(GPU, 2, pod="a")).device_ids) == ["g2", "g3"]


async def test_a_device_without_topology_is_left_for_last_and_asked_about(stage: Stage) -> None:
    devices = [*gpus(2, numa=True), api.Device(ID="g2", health="Healthy")]
    kubelet, plugin = await stage.serving(devices, policy="best-effort", numa_nodes=(0, 1))
    plugin.prefer = lambda _: []
    assert sorted((await kubelet.allocate(GPU, 3, pod="a")).device_ids) == ["g0", "g1", "g2"]
    assert plugin.preferences == [(["g0", "g1", "g2"], ["g0", "g1"], 3)]


NODES = {f"g{index}": choice.Device(healthy=True, numa_nodes=(index // 2,)) for index in range(4)}
ALL = frozenset(NODES)


def hint(*nodes: int, preferred: bool) -> choice.Hint:
    return choice.Hint(frozenset(nodes), preferred)


def hints(
    size: int,
    *,
    devices: choice.Devices = NODES,
    available: frozenset[str] = ALL,
    reusable: frozenset[str] = frozenset(),
) -> Any:
    return choice.hints(devices, available=available, reusable=reusable, size=size, numa_nodes=(0, 1))


def test_hints_prefer_as_few_nodes_as_the_whole_machine_would_need() -> None:
    one_each = frozenset({"g0", "g2"})
    assert hints(2) == (hint(0, preferred=True), hint(1, preferred=True), hint(0, 1, preferred=False))
    assert hints(2, available=one_each) == (hint(0, 1, preferred=False),)
    assert hints(3) == (hint(0, 1, preferred=True),)
    assert hints(3, available=one_each) == ()


def test_hints_hold_what_is_to_be_used_again() -> None:
    found = hints(2, available=ALL - {"g3"}, reusable=frozenset({"g3"}))
    assert found == (hint(1, preferred=True), hint(0, 1, preferred=False))


def test_no_topology_gives_no_hints_and_unknown_nodes_none_that_hold() -> None:
    assert hints(1, devices={"a": choice.Device(healthy=True)}, available=frozenset("a")) is None
    assert (
        hints(1, devices={"a": choice.Device(healthy=True, numa_nodes=(7,))}, available=frozenset("a")) == ()
    )


@pytest.mark.parametrize(
    ("policy", "found", "best", "admitted"),
    [
        ("none", (), choice.Hint(None, preferred=True), True),
        ("best-effort", None, hint(0, 1, preferred=True), True),
        ("best-effort", (), hint(0, 1, preferred=False), True),
        ("best-effort", (hint(0, 1, preferred=False),), hint(0, 1, preferred=False), True),
        ("restricted", (hint(0, 1, preferred=False),), hint(0, 1, preferred=False), False),
        ("restricted", (hint(0, 1, preferred=True),), hint(0, 1, preferred=True), True),
        ("restricted", (hint(1, preferred=True), hint(0, 1, preferred=False)), hint(1, preferred=True), True),
        ("best-effort", (hint(1, preferred=True), hint(0, preferred=True)), hint(0, preferred=True), True),
        (
            "single-numa-node",
            (hint(1, preferred=True), hint(0, 1, preferred=False)),
            hint(1, preferred=True),
            True,
        ),
        ("single-numa-node", (hint(0, 1, preferred=True),), choice.Hint(None, preferred=False), False),
        ("single-numa-node", None, choice.Hint(None, preferred=True), True),
    ],
)
def test_best_hint(policy: choice.Policy, found: Any, best: choice.Hint, admitted: bool) -> None:  # noqa: FBT001
    assert choice.best_hint(policy, found, (0, 1)) == best
    assert choice.admits(policy, best) is admitted

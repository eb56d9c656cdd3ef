import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import grpc
import pytest

from amdgpu_plugin.kubelet import directory as directory_module
from amdgpu_plugin.kubelet import registrar as registrar_module
from amdgpu_plugin.kubelet import sockets
from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as wire
from amdgpu_plugin.kubelet.directory import DirectoryWatch
from amdgpu_plugin.kubelet.registrar import Backoff, Phase, Registrar, Status
from amdgpu_plugin.kubelet.service import DevicePluginService, Streams
from amdgpu_plugin.kubelet.sockets import SocketNames
from amdgpu_plugin.node import Latest
from amdgpu_plugin.simulation.kubelet import SimulatedKubelet
from tests.kubelet.worlds import (
    GPU,
    DeafInotify,
    NoInotify,
    OtherPlugin,
    cancel,
    device,
    device_plugin,
    lines,
    make_dead_socket,
    odd_kubelet,
    running,
    silent_listener,
    state,
    until,
)

POLL_SECONDS = 0.02
SOON = 0.02
FOR_EVER = 3600.0

NEVER_LISTENED = f"registered, but no ListAndWatch came within {SOON} s"


@dataclass(slots=True)
class Waits(Backoff):
    """A back-off that notes the waits it would make, and makes them all last `real` seconds."""

    limit_seconds: float = 60.0
    real: float = 0.0
    noted: Latest[tuple[float, ...]] = field(default_factory=lambda: Latest(()))

    def failed(self) -> float:
        self.noted.set((*self.noted.value, Backoff.failed(self)))
        return self.real


def registrar(
    directory: str,
    *,
    resource: str = GPU,
    names: SocketNames | None = None,
    refused: Backoff | None = None,
    lost: Backoff | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Registrar:
    """Of a resource with two devices, not yet running."""
    devices = device(1, resource=resource), device(2, resource=resource)
    return Registrar(
        DevicePluginService(resource, Latest(state(*devices)), simulated=False),
        DirectoryWatch(directory, poll_seconds=POLL_SECONDS),
        names or SocketNames(),
        clock,
        _refused=refused or Backoff(30.0),
        _lost=lost or Backoff(60.0),
    )


@asynccontextmanager
async def alive(one: Registrar) -> AsyncIterator[Registrar]:
    async with running(one.watch.run(), one.run()):
        yield one


async def in_phase(one: Registrar, phase: Phase) -> Status:
    return await until(one.status, lambda status: status.phase is phase)


def own_sockets(directory: str) -> list[str]:
    return [name for name in os.listdir(directory) if sockets.is_of_this_product(name)]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the registrar logged: level, message and, where there is one, the detail."""
    return [
        ": ".join([line.levelname, line.message, *filter(None, [line.__dict__["fields"].get("detail")])])
        for line in lines(caplog, registrar_module.log)
    ]


# ---- coming and going of the kubelet and its directory ----


async def test_waits_for_directory_and_kubelet_saying_each_once(
    directory: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = f"{directory}/device-plugins"
    one = registrar(path)
    async with alive(one):
        assert await in_phase(one, Phase.NO_DIRECTORY) == Status(Phase.NO_DIRECTORY, f"{path} is not there")
        os.mkdir(path)
        assert await in_phase(one, Phase.NO_KUBELET) == Status(
            Phase.NO_KUBELET, f"{path}/kubelet.sock is not there"
        )
        for name in ("one.sock", "other.sock"):
            make_dead_socket(f"{path}/{name}")
            await until(one.watch.view, lambda view, name=name: name in view.sockets)  # type: ignore[misc]
        async with SimulatedKubelet(path) as kubelet:
            await kubelet.sees(GPU, healthy=2, unhealthy=0)
            assert await in_phase(one, Phase.REGISTERED) == Status(Phase.REGISTERED)
            assert said(caplog) == [
                f"WARNING: no device-plugins directory: {path} is not there",
                f"INFO: waiting for the kubelet: {path}/kubelet.sock is not there",
                "INFO: registered",
            ]


async def test_no_kubelet_yet_is_said_where_the_directory_is_there(
    directory: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    one = registrar(directory)
    async with alive(one):
        await in_phase(one, Phase.NO_KUBELET)
    assert said(caplog) == [f"INFO: waiting for the kubelet: {directory}/kubelet.sock is not there"]
    assert own_sockets(directory) == []


async def test_registers_again_after_each_of_20_restarts_at_random_moments(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    random = Random(20)
    one = registrar(directory)
    async with alive(one):
        for _ in range(20):
            for _ in range(random.randrange(1000)):
                await asyncio.sleep(0)
            await kubelet.restart()
            if random.random() < 0.5:
                await kubelet.sees(GPU, healthy=2)
        await kubelet.sees(GPU, healthy=2)
        await in_phase(one, Phase.REGISTERED)
        assert one.service.streams.value.live == 1
        assert len(own_sockets(directory)) == 1


async def test_a_dead_kubelets_socket_is_tried_until_a_kubelet_listens(directory: str) -> None:
    make_dead_socket(f"{directory}/kubelet.sock")
    one = registrar(directory, refused=Waits(real=FOR_EVER))
    async with alive(one):
        refused = await in_phase(one, Phase.REFUSED)
        assert refused.detail.startswith("UNAVAILABLE: ")
        async with SimulatedKubelet(directory) as kubelet:
            await kubelet.sees(GPU, healthy=2)


def removed(directory: str) -> None:
    shutil.rmtree(directory)


def moved_away(directory: str) -> None:
    os.rename(directory, f"{directory}.old")


@pytest.mark.parametrize("gone", [removed, moved_away])
async def test_registers_in_a_directory_that_replaced_the_old_one(
    directory: str, gone: Callable[[str], None]
) -> None:
    path = f"{directory}/device-plugins"
    kubelet = SimulatedKubelet(path)
    one = registrar(path)
    async with kubelet, alive(one):
        await kubelet.sees(GPU, healthy=2)
        await kubelet.stop()
        gone(path)
        await kubelet.start()
        await kubelet.sees(GPU, healthy=2)
        assert len(own_sockets(path)) == 1


@pytest.mark.parametrize("inotify", [NoInotify, DeafInotify])
async def test_registers_again_though_the_directory_watch_is_deaf(
    directory: str, inotify: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_module, "Inotify", inotify)
    path = f"{directory}/device-plugins"
    kubelet = SimulatedKubelet(path)
    one = registrar(path)
    async with kubelet, alive(one):
        await kubelet.sees(GPU, healthy=2)
        for _ in range(3):
            await kubelet.restart()
            await kubelet.sees(GPU, healthy=2)
        await kubelet.stop()
        removed(path)
        await kubelet.start()
        await kubelet.sees(GPU, healthy=2)


async def test_a_new_kubelet_is_registered_with_though_somebody_else_keeps_a_stream_open(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    one = registrar(directory)
    async with alive(one):
        await kubelet.sees(GPU, healthy=2)
        (name,) = own_sockets(directory)
        async with grpc.aio.insecure_channel(f"unix:{directory}/{name}") as channel:
            await wire.DevicePluginStub(channel).ListAndWatch(api.Empty()).read()
            await kubelet.restart()
            await kubelet.sees(GPU, healthy=2)
            assert one.service.streams.value == Streams(opened=3, live=1)


# ---- Register refused, hanging, or without effect ----


def test_waits_double_up_to_the_limit_for_however_long() -> None:
    backoff = Backoff(60.0)
    assert [backoff.failed() for _ in range(8)] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert {backoff.failed() for _ in range(3000)} == {60.0}


async def test_a_refused_register_is_tried_again_and_said_once(
    directory: str, kubelet: SimulatedKubelet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    kubelet.refuse_registers(4)
    waits = Waits()
    async with alive(registrar(directory, refused=waits)) as one:
        await kubelet.sees(GPU, healthy=2)
        await in_phase(one, Phase.REGISTERED)
        assert said(caplog) == ["WARNING: not registered: UNAVAILABLE: not ready", "INFO: registered"]
    assert waits.noted.value == (1.0, 2.0, 4.0, 8.0)
    assert kubelet.counts.register_requests[GPU] == 5


async def test_success_forgets_refusals(directory: str, kubelet: SimulatedKubelet) -> None:
    waits = Waits()
    kubelet.refuse_registers(2)
    async with alive(registrar(directory, refused=waits, lost=Waits())):
        await kubelet.sees(GPU, healthy=2)
        kubelet.refuse_registers(2)
        await kubelet.drop_stream(GPU)
        await kubelet.sees(GPU, healthy=2)
    assert waits.noted.value == (1.0, 2.0, 1.0, 2.0)


async def test_a_new_kubelet_is_tried_at_once_with_a_back_off_of_its_own(
    directory: str, kubelet: SimulatedKubelet, caplog: pytest.LogCaptureFixture
) -> None:
    waits = Waits(real=FOR_EVER)
    kubelet.refuse_registers(1, code=grpc.StatusCode.UNKNOWN, details="no")
    async with alive(registrar(directory, refused=waits)) as one:
        assert await in_phase(one, Phase.REFUSED) == Status(Phase.REFUSED, "UNKNOWN: no")
        kubelet.refuse_registers(1)
        await kubelet.restart()
        await until(one.status, lambda status: status == Status(Phase.REFUSED, "UNAVAILABLE: not ready"))
        await kubelet.restart()
        await kubelet.sees(GPU, healthy=2)
    assert waits.noted.value == (1.0, 1.0)
    assert said(caplog) == ["WARNING: not registered: UNKNOWN: no"], "said once, whatever the reasons"


async def test_a_hanging_register_is_given_up_said_once_and_tried_again(
    directory: str,
    kubelet: SimulatedKubelet,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(registrar_module, "REGISTER_SECONDS", SOON)
    kubelet.hang_registers()
    async with alive(registrar(directory, refused=Waits())) as one:
        status = await in_phase(one, Phase.REFUSED)
        assert status.detail.startswith("DEADLINE_EXCEEDED: ")
        await kubelet.until(lambda: kubelet.counts.register_requests[GPU] >= 3)
        monkeypatch.undo()
        kubelet.hang_registers(hang=False)
        await kubelet.sees(GPU, healthy=2)
        await in_phase(one, Phase.REGISTERED)
        assert said(caplog) == [f"WARNING: not registered: {status.detail}", "INFO: registered"]


async def test_a_register_given_up_that_succeeds_late_is_not_made_twice(
    directory: str, kubelet: SimulatedKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registrar_module, "REGISTER_SECONDS", 0.5)  # time enough to be asked
    kubelet.hang_registers()
    async with alive(registrar(directory, refused=Waits(real=FOR_EVER))) as one:
        await in_phase(one, Phase.REFUSED)
        kubelet.hang_registers(hang=False)
        await in_phase(one, Phase.REGISTERED)
        assert one.service.streams.value == Streams(opened=1, live=1)
    assert kubelet.counts.register_requests[GPU] == 1


async def test_a_kubelet_that_dies_during_register_is_followed_by_the_next(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    kubelet.hang_registers()
    async with alive(registrar(directory, refused=Waits(real=FOR_EVER))):
        await kubelet.until(lambda: kubelet.counts.register_requests[GPU] == 1)
        await kubelet.stop()
        kubelet.hang_registers(hang=False)
        await kubelet.start()
        await kubelet.sees(GPU, healthy=2)


async def no_answer(plugin: wire.DevicePluginStub) -> None:
    await asyncio.Event().wait()


async def nothing_more(plugin: wire.DevicePluginStub) -> None:
    pass


@pytest.mark.parametrize("does", [no_answer, nothing_more])
async def test_a_kubelet_that_took_the_place_of_one_asked_is_registered_with_at_once(
    directory: str,
    does: Callable[[wire.DevicePluginStub], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = asyncio.Event()

    async def when_asked(plugin: wire.DevicePluginStub) -> None:
        asked.set()
        await does(plugin)

    monkeypatch.setattr(registrar_module, "REGISTER_SECONDS", FOR_EVER)
    monkeypatch.setattr(registrar_module, "STREAM_SECONDS", FOR_EVER)
    async with odd_kubelet(directory, when_asked), alive(registrar(directory, refused=Waits(real=FOR_EVER))):
        await asked.wait()
        async with SimulatedKubelet(directory) as kubelet:
            await kubelet.sees(GPU, healthy=2)


async def test_a_kubelet_that_never_dials_back_is_asked_again(
    directory: str,
    kubelet: SimulatedKubelet,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(registrar_module, "STREAM_SECONDS", SOON)
    kubelet.ignore_plugins()
    waits = Waits()
    async with alive(registrar(directory, refused=waits)) as one:
        assert await in_phase(one, Phase.REFUSED) == Status(Phase.REFUSED, NEVER_LISTENED)
        await until(waits.noted, lambda noted: len(noted) >= 3)
        monkeypatch.undo()
        kubelet.ignore_plugins(ignore=False)
        await kubelet.sees(GPU, healthy=2)
        await in_phase(one, Phase.REGISTERED)
        assert said(caplog) == [f"WARNING: not registered: {NEVER_LISTENED}", "INFO: registered"]
    assert waits.noted.value[:3] == (1.0, 2.0, 4.0)


async def test_a_kubelet_that_asks_for_options_and_then_opens_no_stream_has_not_registered_us(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask_for_options(plugin: wire.DevicePluginStub) -> None:
        assert await plugin.GetDevicePluginOptions(api.Empty()) == api.DevicePluginOptions(
            pre_start_required=False, get_preferred_allocation_available=True
        )

    monkeypatch.setattr(registrar_module, "STREAM_SECONDS", SOON)
    one = registrar(directory, refused=Waits(real=FOR_EVER))
    async with odd_kubelet(directory, ask_for_options), alive(one):
        assert await in_phase(one, Phase.REFUSED) == Status(Phase.REFUSED, NEVER_LISTENED)


# ---- streams lost ----


async def test_a_stream_cancelled_without_a_restart_is_registered_again(
    directory: str, kubelet: SimulatedKubelet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with alive(registrar(directory, lost=Waits())) as one:
        await kubelet.sees(GPU, healthy=2)
        await in_phase(one, Phase.REGISTERED)
        await kubelet.drop_stream(GPU)
        await kubelet.sees(GPU, healthy=2)
        await in_phase(one, Phase.REGISTERED)
        assert one.service.streams.value == Streams(opened=2, live=1)
        assert said(caplog) == [
            "INFO: registered",
            "WARNING: not registered: the ListAndWatch stream was lost",
            "INFO: registered",
        ]
    assert kubelet.counts.register_requests[GPU] == 2


async def test_a_stream_lost_right_after_each_registration_backs_off_to_a_minute(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    kubelet.drop_streams()
    waits = Waits()
    async with alive(registrar(directory, lost=waits)) as one:
        await until(waits.noted, lambda noted: len(noted) >= 8)
        kubelet.drop_streams(drop=False)
        await kubelet.sees(GPU, healthy=2)
        await in_phase(one, Phase.REGISTERED)
    assert waits.noted.value[:8] == (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0)
    assert kubelet.counts.registrations[GPU] == len(waits.noted.value) + 1


async def test_a_stream_that_is_lost_before_register_has_answered_is_lost_and_not_missing(
    directory: str,
) -> None:
    async def open_and_cancel(plugin: wire.DevicePluginStub) -> None:
        stream = plugin.ListAndWatch(api.Empty())
        await stream.read()
        stream.cancel()
        await until(one.service.streams, lambda streams: streams == Streams(opened=1, live=0))

    waits = Waits(real=FOR_EVER)
    one = registrar(directory, lost=waits)
    async with odd_kubelet(directory, open_and_cancel), alive(one):
        assert await in_phase(one, Phase.REFUSED) == Status(Phase.REFUSED, "the ListAndWatch stream was lost")
    assert waits.noted.value == (1.0,)


async def test_a_stream_that_lasted_is_registered_again_at_once_and_forgets_short_ones(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    now = [100]
    waits = Waits()
    async with alive(registrar(directory, lost=waits, clock=lambda: now[0])) as one:
        for registrations, lasts in enumerate([4, 4, 5, 4], start=1):
            await kubelet.until(lambda count=registrations: kubelet.counts.registrations[GPU] == count)  # type: ignore[misc]
            await kubelet.sees(GPU, healthy=2)
            await in_phase(one, Phase.REGISTERED)
            now[0] += lasts
            await kubelet.drop_stream(GPU)
        await kubelet.sees(GPU, healthy=2)
    assert waits.noted.value == (1.0, 2.0, 1.0)


async def test_a_lost_stream_does_not_hold_up_a_new_kubelet(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    async with alive(registrar(directory, lost=Waits(real=FOR_EVER))) as one:
        await kubelet.sees(GPU, healthy=2)
        await kubelet.drop_stream(GPU)
        await in_phase(one, Phase.REFUSED)
        await kubelet.restart()
        await kubelet.sees(GPU, healthy=2)


async def test_a_socket_of_ours_that_somebody_deleted_is_made_again_under_a_new_name(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    async with alive(registrar(directory, lost=Waits())):
        await kubelet.sees(GPU, healthy=2)
        (before,) = own_sockets(directory)
        os.unlink(f"{directory}/{before}")
        await kubelet.drop_stream(GPU)
        await kubelet.sees(GPU, healthy=2)
        (after,) = own_sockets(directory)
    assert after != before


# ---- others in the directory ----


async def test_another_plugin_that_lives_is_waited_for_and_named_once(
    directory: str,
    kubelet: SimulatedKubelet,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(registrar_module, "NEIGHBOUR_SECONDS", SOON)
    one, other = registrar(directory), OtherPlugin()
    async with AsyncExitStack() as amds_plugin, alive(one):
        await amds_plugin.enter_async_context(device_plugin(f"{directory}/amd.com_gpu", other))
        assert await in_phase(one, Phase.CONFLICT) == Status(Phase.CONFLICT, "amd.com_gpu answers")
        await until(other.looked_at, lambda looks: looks >= 3)
        assert kubelet.counts.register_requests[GPU] == 0
        await amds_plugin.aclose()
        await kubelet.sees(GPU, healthy=2)
    assert said(caplog) == ["WARNING: waiting: another plugin serves this resource: amd.com_gpu answers"]


async def test_another_plugin_that_dies_and_leaves_its_socket_is_found_out(
    directory: str, kubelet: SimulatedKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registrar_module, "NEIGHBOUR_SECONDS", SOON)
    one = registrar(directory)
    async with AsyncExitStack() as amds_plugin:
        await amds_plugin.enter_async_context(device_plugin(f"{directory}/made-as", OtherPlugin()))
        os.rename(f"{directory}/made-as", f"{directory}/amd.com_gpu")
        async with alive(one):
            await in_phase(one, Phase.CONFLICT)
            await amds_plugin.aclose()
            await kubelet.sees(GPU, healthy=2)
    assert "amd.com_gpu" in os.listdir(directory)


async def test_another_resources_plugin_is_no_conflict(directory: str, kubelet: SimulatedKubelet) -> None:
    async with device_plugin(f"{directory}/amd.com_cpx_nps1", OtherPlugin()), alive(registrar(directory)):
        await kubelet.sees(GPU, healthy=2)


async def test_another_plugins_dead_socket_is_ignored_and_left(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    make_dead_socket(f"{directory}/amd.com_gpu", long_ago=True)
    async with alive(registrar(directory)):
        await kubelet.sees(GPU, healthy=2)
    assert "amd.com_gpu" in os.listdir(directory)


async def test_another_plugins_socket_that_does_not_answer_is_ignored_and_left(
    directory: str, kubelet: SimulatedKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "ANSWER_SECONDS", SOON)
    with silent_listener(f"{directory}/amd.com_gpu"):
        async with alive(registrar(directory)):
            await kubelet.sees(GPU, healthy=2)
    assert "amd.com_gpu" in os.listdir(directory)


async def test_only_sockets_of_dead_predecessors_are_removed(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    for name in ("amdgpu-plugin-00000001-1.sock", "amdgpu-plugin-00000002-7.sock"):
        make_dead_socket(f"{directory}/{name}", long_ago=True)
    for name in ("amd.com_gpu", "nvidia-gpu.sock"):
        make_dead_socket(f"{directory}/{name}", long_ago=True)
    Path(directory, "amdgpu-plugin-00000003-1.sock").write_text("a plain file")
    Path(directory, "notes").touch()
    async with alive(registrar(directory)):
        await kubelet.sees(GPU, healthy=2)
    assert sorted(os.listdir(directory)) == [
        "amd.com_gpu",
        "amdgpu-plugin-00000003-1.sock",
        "kubelet.sock",
        "kubelet_internal_checkpoint",
        "notes",
        "nvidia-gpu.sock",
    ]


async def test_a_socket_bound_just_now_is_not_taken_for_a_dead_one(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    async with alive(registrar(directory, lost=Waits())):
        await kubelet.sees(GPU, healthy=2)
        make_dead_socket(f"{directory}/amdgpu-plugin-00000001-1.sock")  # bound, and not yet listening
        await kubelet.drop_stream(GPU)
        await kubelet.sees(GPU, healthy=2)
    assert own_sockets(directory) == ["amdgpu-plugin-00000001-1.sock"]


async def test_of_two_of_ours_the_earlier_is_registered_until_it_ends(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    first, second = registrar(directory, lost=Waits()), registrar(directory, refused=Waits())
    async with AsyncExitStack() as life_of_first:
        await life_of_first.enter_async_context(alive(first))
        await kubelet.sees(GPU, healthy=2)
        (of_first,) = own_sockets(directory)
        async with alive(second):
            assert await in_phase(second, Phase.CONFLICT) == Status(Phase.CONFLICT, f"{of_first} answers")
            await kubelet.drop_stream(GPU)  # the first looks around again
            await kubelet.until(lambda: kubelet.counts.registrations[GPU] == 2)
            await in_phase(first, Phase.REGISTERED)
            assert second.status.value.phase is Phase.CONFLICT
            assert len(own_sockets(directory)) == 2
            await life_of_first.aclose()
            await in_phase(second, Phase.REGISTERED)
            await kubelet.sees(GPU, healthy=2)


async def test_a_later_resource_of_the_earlier_process_does_not_wait_for_the_later_process(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    of_first = SocketNames()
    async with alive(registrar(directory, names=of_first)) as first:
        await in_phase(first, Phase.REGISTERED)
        async with alive(registrar(directory)) as second:
            await in_phase(second, Phase.CONFLICT)
            async with alive(registrar(directory, names=of_first, resource="amd.com/cpx_nps1")):
                await kubelet.sees("amd.com/cpx_nps1", healthy=2)
            assert second.status.value.phase is Phase.CONFLICT


async def test_of_two_sockets_dated_alike_the_name_decides_and_both_are_looked_at(
    directory: str, kubelet: SimulatedKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _: "ffffffff")
    monkeypatch.setattr(registrar_module, "TICK_SECONDS", 0.3)
    async with (
        device_plugin(f"{directory}/made-as", OtherPlugin()),
        alive(registrar(directory)) as one,
    ):
        await until(one.watch.view, lambda view: "amdgpu-plugin-ffffffff-1.sock" in view.sockets)
        for _ in range(50):  # long enough to have looked around, had it not waited
            await asyncio.sleep(0)
        dated = os.lstat(f"{directory}/amdgpu-plugin-ffffffff-1.sock").st_mtime_ns
        os.utime(f"{directory}/made-as", ns=(dated, dated))
        os.link(f"{directory}/made-as", f"{directory}/amdgpu-plugin-00000000-1.sock")
        assert await in_phase(one, Phase.CONFLICT) == Status(
            Phase.CONFLICT, "amdgpu-plugin-00000000-1.sock answers"
        )
        assert kubelet.counts.register_requests[GPU] == 0


# ---- the end ----


async def test_cancelled_at_any_moment_leaves_no_socket(directory: str, kubelet: SimulatedKubelet) -> None:
    for turns in [*range(40), *range(40, 2000, 97)]:
        task = asyncio.create_task(registrar(directory).run())
        for _ in range(turns):
            await asyncio.sleep(0)
        await cancel(task)
        assert own_sockets(directory) == [], f"cancelled after {turns} turns of the loop"


async def test_cancelled_while_register_hangs_ends_at_once(directory: str, kubelet: SimulatedKubelet) -> None:
    kubelet.hang_registers()
    task = asyncio.create_task(registrar(directory).run())
    await kubelet.until(lambda: kubelet.counts.register_requests[GPU] == 1)
    assert len(own_sockets(directory)) == 1
    await cancel(task)
    assert os.listdir(directory) == ["kubelet.sock"]


async def test_cancelled_with_a_stream_open_has_ended_it_when_it_returns(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    one = registrar(directory)
    left: list[tuple[list[str], Streams]] = []

    async def live() -> None:
        try:
            await one.run()
        finally:
            left.append((own_sockets(directory), one.service.streams.value))

    task = asyncio.create_task(live())
    await kubelet.sees(GPU, healthy=2)
    await cancel(task)
    assert left == [([], Streams(opened=1, live=0))]
    await kubelet.sees(GPU, healthy=0, unhealthy=2)


# ---- a directory that cannot be served in ----


async def test_a_directory_that_is_not_writable_is_named_and_served_once_it_is(
    directory: str, kubelet: SimulatedKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registrar_module, "NEIGHBOUR_SECONDS", SOON)
    async with alive(registrar(directory)) as one:
        with monkeypatch.context() as read_only:
            read_only.setattr(os, "access", lambda *_: False)
            assert await in_phase(one, Phase.NOT_WRITABLE) == Status(
                Phase.NOT_WRITABLE, f"{directory} is not writable: mount it read-write"
            )
        await kubelet.sees(GPU, healthy=2)

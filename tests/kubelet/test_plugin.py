import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from amdgpu_plugin.kubelet import sockets
from amdgpu_plugin.kubelet.directory import DirectoryWatch
from amdgpu_plugin.kubelet.plugin import DirectoryLostError, KubeletFace
from amdgpu_plugin.kubelet.registrar import Phase
from amdgpu_plugin.node import Latest, NodeState, any_change
from amdgpu_plugin.simulation.kubelet import PodRejected, SimulatedKubelet
from tests.kubelet.worlds import (
    GPU,
    GUARD_SECONDS,
    UNBOUND,
    cancel,
    device,
    make_dead_socket,
    running,
    state,
    until,
)

CPX, DPX = "amd.com/cpx_nps1", "amd.com/dpx_nps1"


@asynccontextmanager
async def alive(directory: str, node: Latest[NodeState]) -> AsyncIterator[KubeletFace]:
    face = KubeletFace(directory, node, simulated=False)
    async with running(face.run()):
        yield face


def own_sockets(directory: str) -> set[str]:
    return {name for name in os.listdir(directory) if sockets.is_of_this_product(name)}


async def in_phase(face: KubeletFace, phase: Phase) -> None:
    """All the resources that are served now."""
    for registrar in face.registrars.values():
        await until(registrar.status, lambda status: status.phase is phase)


async def test_each_resource_has_a_socket_and_a_registration_of_its_own(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    node = Latest(state(device(1), device(2, resource=CPX), device(3, resource=CPX), device(4, resource=DPX)))
    async with alive(directory, node):
        for resource in (GPU, CPX, DPX):
            await kubelet.registered(resource)
            await kubelet.until(lambda resource=resource: kubelet.devices(resource) != {})  # type: ignore[misc]
        assert {resource: kubelet.devices(resource) for resource in (GPU, CPX, DPX)} == {
            GPU: {"0000:01:00.0": True},
            CPX: {"0000:02:00.0": True, "0000:03:00.0": True},
            DPX: {"0000:04:00.0": True},
        }
        assert len(own_sockets(directory)) == 3
    assert own_sockets(directory) == set()


async def test_several_resources_register_again_after_a_restart(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    async with alive(directory, Latest(state(device(1), device(2, resource=CPX)))):
        for _ in range(3):
            await kubelet.sees(GPU, healthy=1)
            await kubelet.sees(CPX, healthy=1)
            await kubelet.restart()
        await kubelet.sees(GPU, healthy=1)
        await kubelet.sees(CPX, healthy=1)
        assert len(own_sockets(directory)) == 2


async def test_nothing_to_serve_opens_no_socket_until_there_is(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    node = Latest(state())
    async with alive(directory, node) as face:
        make_dead_socket(f"{directory}/other.sock")
        await until(face.watch.view, lambda view: "other.sock" in view.sockets)  # it has run by then
        assert own_sockets(directory) == set()
        node.set(state(device(1)))
        await kubelet.sees(GPU, healthy=1)


async def test_a_resource_that_appears_later_registers_and_leaves_the_others_alone(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    node = Latest(state(device(1)))
    async with alive(directory, node):
        await kubelet.sees(GPU, healthy=1)
        before = own_sockets(directory)
        node.set(state(device(1), device(2, resource=CPX)))
        await kubelet.sees(CPX, healthy=1)
        assert before < own_sockets(directory)
    assert kubelet.counts.registrations == {GPU: 1, CPX: 1}
    assert kubelet.counts.lists == {GPU: 1, CPX: 1}


async def test_a_resource_whose_last_id_left_closes_its_socket_and_leaves_the_others_alone(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    node = Latest(state(device(1), device(2, resource=CPX)))
    async with alive(directory, node) as face:
        await kubelet.sees(GPU, healthy=1)
        await kubelet.sees(CPX, healthy=1)
        node.set(state(device(1)))
        await kubelet.until(lambda: not kubelet.connected(CPX))
        await until(face.watch.view, lambda _: len(own_sockets(directory)) == 1)
        assert kubelet.connected(GPU)
        assert list(face.registrars) == [GPU]
    assert kubelet.counts.registrations == {GPU: 1, CPX: 1}


async def test_a_resource_that_comes_back_registers_again(directory: str, kubelet: SimulatedKubelet) -> None:
    both = state(device(1), device(2, resource=CPX))
    node = Latest(both)
    async with alive(directory, node):
        await kubelet.sees(CPX, healthy=1)
        node.set(state(device(1)))
        await kubelet.until(lambda: not kubelet.connected(CPX))
        node.set(both)
        await kubelet.registered(CPX)
        await kubelet.sees(CPX, healthy=1)


async def test_a_pod_gets_devices_and_an_ill_one_is_not_given_to_the_next(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    node = Latest(state(device(1), device(2), device(3)))
    async with alive(directory, node):
        await kubelet.sees(GPU, healthy=3)
        first = await kubelet.allocate(GPU, 2, pod="first")
        assert sorted(first.response.envs["AMDGPU_DEVICES"].split(",")) == sorted(first.device_ids)
        node.set(state(*(replace(listed, verdict=UNBOUND) for listed in node.value.devices)))
        await kubelet.sees(GPU, healthy=0, unhealthy=3)
        with pytest.raises(PodRejected, match="no healthy devices present"):
            await kubelet.allocate(GPU, 1, pod="second")


# ---- two daemons of ours in one directory ----


async def test_of_two_started_at_once_one_is_registered_and_the_other_takes_over(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    node = Latest(state(device(1), device(2, resource=CPX)))
    faces = [KubeletFace(directory, node, simulated=False) for _ in range(2)]
    async with AsyncExitStack() as lives:
        tasks = {id(face): asyncio.create_task(face.run()) for face in faces}
        for task in tasks.values():
            lives.push_async_callback(cancel, task)
        await kubelet.sees(GPU, healthy=1)
        await kubelet.sees(CPX, healthy=1)
        await until_phases(faces, {Phase.REGISTERED, Phase.CONFLICT})
        (first,) = (face for face in faces if phases(face) == {Phase.REGISTERED})
        (second,) = (face for face in faces if phases(face) == {Phase.CONFLICT})
        assert len(own_sockets(directory)) == 4, "neither deletes the other's sockets"
        assert kubelet.counts.registrations == {GPU: 1, CPX: 1}
        await cancel(tasks[id(first)])
        await in_phase(second, Phase.REGISTERED)
        await kubelet.sees(GPU, healthy=1)
        await kubelet.sees(CPX, healthy=1)


async def test_of_two_one_is_registered_after_each_restart_of_the_kubelet(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    node = Latest(state(device(1)))
    async with alive(directory, node) as one, alive(directory, node) as other:
        for restarts in range(10):
            await kubelet.sees(GPU, healthy=1)
            await until_phases([one, other], {Phase.REGISTERED, Phase.CONFLICT})
            assert kubelet.counts.registrations[GPU] == restarts + 1
            await kubelet.restart()


def phases(face: KubeletFace) -> set[Phase]:
    return {registrar.status.value.phase for registrar in face.registrars.values()}


async def until_phases(faces: list[KubeletFace], wanted: set[Phase]) -> None:
    """Until each face is in one of the phases with all its resources, and together they are in all."""

    statuses = [registrar.status for face in faces for registrar in face.registrars.values()]
    async with asyncio.timeout(GUARD_SECONDS):
        while not (
            all(len(phases(face)) == 1 for face in faces) and set().union(*map(phases, faces)) == wanted
        ):
            await any_change(*statuses)


# ---- the end ----


async def test_cancelled_closes_every_socket(directory: str, kubelet: SimulatedKubelet) -> None:
    task = asyncio.create_task(
        KubeletFace(directory, Latest(state(device(1), device(2, resource=CPX))), simulated=False).run()
    )
    await kubelet.sees(GPU, healthy=1)
    await kubelet.sees(CPX, healthy=1)
    await cancel(task)
    assert task.cancelled()
    assert own_sockets(directory) == set()
    await kubelet.until(lambda: not kubelet.connected(GPU) and not kubelet.connected(CPX))


async def test_cancelled_while_register_hangs_closes_every_socket(
    directory: str, kubelet: SimulatedKubelet
) -> None:
    kubelet.hang_registers()
    task = asyncio.create_task(
        KubeletFace(directory, Latest(state(device(1), device(2, resource=CPX))), simulated=False).run()
    )
    await kubelet.until(lambda: kubelet.counts.register_requests == {GPU: 1, CPX: 1})
    await cancel(task)
    assert os.listdir(directory) == ["kubelet.sock"]


async def test_a_directory_deleted_under_its_mount_ends_the_face_with_the_reason(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    mounted = f"/proc/self/fd/{descriptor}"
    face = KubeletFace(mounted, Latest(state(device(1))), simulated=False)
    face.watch = DirectoryWatch(mounted, poll_seconds=0.02)
    task = asyncio.create_task(face.run())
    try:
        await until(face.watch.view, lambda view: view.directory is not None)
        os.rmdir(directory)
        with pytest.raises(ExceptionGroup) as ended:
            await asyncio.wait_for(task, GUARD_SECONDS)
    finally:
        os.mkdir(directory)
        os.close(descriptor)
    (reason,) = ended.value.exceptions
    assert isinstance(reason, DirectoryLostError)
    assert str(reason) == (
        f"{mounted} was deleted on the host and made again; only a restart of this container mounts the new one"
    )

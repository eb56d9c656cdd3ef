import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from amdgpu_plugin.kubelet import pod_resources
from amdgpu_plugin.kubelet.api import deviceplugin_pb2
from amdgpu_plugin.kubelet.api import podresources_pb2 as api
from amdgpu_plugin.kubelet.pod_resources import PodResources, holders_in
from amdgpu_plugin.node import Held, Holder, Holders, Latest
from amdgpu_plugin.simulation.kubelet_checkpoint import Allocation
from amdgpu_plugin.simulation.kubelet_pod_resources import PodResourcesServer

EMPTY = deviceplugin_pb2.ContainerAllocateResponse()
GPU = Held("amd.com/gpu", "0000:05:00.0")
TRAIN = Holder("default", "train", "main")


@asynccontextmanager
async def serving(directory: Path, held: Sequence[Allocation]) -> AsyncIterator[None]:
    server = PodResourcesServer(str(directory), lambda: held)
    await server.start()
    try:
        yield
    finally:
        await server.stop()


def allocation(pod: str, *ids: str, container: str = "main", resource: str = "amd.com/gpu") -> Allocation:
    return Allocation(pod, container, resource, ids, EMPTY)


async def test_holders_are_who_the_kubelet_says(tmp_path: Path) -> None:
    held = [allocation("train", "0000:05:00.0"), allocation("nic", "eth0", resource="example.com/nic")]
    holders: Latest[Holders | None] = Latest(None)
    async with serving(tmp_path, held):
        await PodResources(str(tmp_path), holders).refresh()
    assert holders.value == {
        GPU: (TRAIN,),
        Held("example.com/nic", "eth0"): (Holder("default", "nic", "main"),),
    }


def test_a_shared_device_has_all_its_holders_once_each() -> None:
    answer = api.ListPodResourcesResponse()
    for pod in ("b", "a"):
        container = answer.pod_resources.add(name=pod, namespace="ns").containers.add(name="c")
        for _ in range(2):
            container.devices.add(resource_name="amd.com/gpu", device_ids=["0000:05:00.0"])
    assert holders_in(answer) == {GPU: (Holder("ns", "a", "c"), Holder("ns", "b", "c"))}


async def test_no_socket_makes_holders_unknown_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    holders: Latest[Holders | None] = Latest({GPU: (TRAIN,)})
    client = PodResources(str(tmp_path), holders)
    with caplog.at_level(logging.INFO):
        await client.refresh()
        await client.refresh()
    assert holders.value is None
    assert [record.message for record in caplog.records] == [
        "no pod-resources: who holds a device is not known"
    ]


async def test_kubelet_restart_replaces_the_socket_and_holders_are_known_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = [allocation("train", "0000:05:00.0")]
    holders: Latest[Holders | None] = Latest(None)
    client = PodResources(str(tmp_path), holders)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            async with serving(tmp_path, held):
                await client.refresh()
                assert holders.value == {GPU: (TRAIN,)}
            await client.refresh()
            assert holders.value is None
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]


async def test_answers_over_4_mib_are_read(tmp_path: Path) -> None:
    ids = tuple(f"{number:01000d}" for number in range(5_000))
    holders: Latest[Holders | None] = Latest(None)
    async with serving(tmp_path, [allocation("big", *ids)]):
        await PodResources(str(tmp_path), holders).refresh(within=30)
    assert holders.value is not None
    assert len(holders.value) == len(ids)


async def test_an_allocation_is_asked_about_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(pod_resources, "REFRESH_SECONDS", 3600.0)
    monkeypatch.setattr(pod_resources, "SHORTEST_PAUSE_SECONDS", 0.0)
    held: list[Allocation] = []
    holders: Latest[Holders | None] = Latest(None)
    client = PodResources(str(tmp_path), holders)
    async with serving(tmp_path, held), asyncio.timeout(30):
        running = asyncio.create_task(client.run())
        assert await holders.until_other_than(None) == {}
        held.append(allocation("train", "0000:05:00.0"))
        client.ask_soon()
        assert await holders.until_other_than({}) == {GPU: (TRAIN,)}
        running.cancel()
        await asyncio.wait([running])

import asyncio
from dataclasses import replace

import pytest

from amdgpu_plugin.discovery.inventory import ComputeDevice, Driver, Gpu, Inventory, Skipped
from amdgpu_plugin.node import Latest, ListedDevice, NodeState, Verdict

EMPTY = Inventory(Driver("amdgpu", None, "readable"), (), (), ())


def listed(address: str, *, resource: str = "amd.com/gpu", numa: int | None = 0) -> ListedDevice:
    device = ComputeDevice(address, resource, None, "renderD128", "card1", 2)
    gpu = Gpu(
        pci_address=address,
        product=None,
        pci_id=None,
        unique_id=None,
        numa_node=numa,
        vram_bytes=None,
        compute_partition=None,
        memory_partition=None,
        xgmi_hive=None,
        devices=(device,),
    )
    return ListedDevice(device, gpu)


A, B = listed("0000:05:00.0"), listed("0000:27:00.0")
ILL = replace(A, verdict=Verdict("DriverUnbound", "bound to no driver", 10.0))


def test_device_with_a_verdict_is_not_healthy() -> None:
    assert (A.healthy, ILL.healthy, ILL.id) == (True, False, "0000:05:00.0")


def test_verdict_reads_as_condition_and_detail() -> None:
    assert str(ILL.verdict) == "DriverUnbound: bound to no driver"


def test_devices_by_resource() -> None:
    part = listed("0000:47:00.0", resource="amd.com/cpx_nps1")
    state = NodeState(EMPTY, (part, A, ILL))
    assert state.resources == ("amd.com/cpx_nps1", "amd.com/gpu")
    assert state.devices_of("amd.com/gpu") == (A, ILL)
    assert state.devices_of("amd.com/none") == ()


@pytest.mark.parametrize(
    "devices",
    [
        (),
        (A, B),
        (ILL,),
        (listed("0000:05:00.0", numa=1),),
        (listed("0000:05:00.0", resource="amd.com/spx_nps1"),),
    ],
    ids=["gone", "joined", "ill", "other NUMA node", "other resource"],
)
def test_revision_counts_what_the_kubelet_sees(devices: tuple[ListedDevice, ...]) -> None:
    state = NodeState(EMPTY, (A,), revision=7)
    assert state.followed_by(devices=devices) == NodeState(EMPTY, devices, revision=8)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (A, replace(A, gpu=replace(A.gpu, product="AMD Instinct MI300X"))),
        (A, replace(A, device=replace(A.device, kfd_node=9))),
        (ILL, replace(ILL, verdict=Verdict("DeviceLost", "not on the PCI bus", 11.0))),
    ],
    ids=["product", "KFD node", "another verdict"],
)
def test_revision_stands_still_when_the_kubelet_would_see_no_difference(
    before: ListedDevice, after: ListedDevice
) -> None:
    inventory = replace(EMPTY, skipped=(Skipped("class/drm/card0", "odd"),))
    state = NodeState(EMPTY, (before,), revision=7)
    assert state.followed_by(inventory=inventory, devices=(after,)) == NodeState(
        inventory, (after,), revision=7
    )


async def test_follower_gets_the_value_there_is_first() -> None:
    follower = Latest(1).follow()
    assert await anext(follower) == 1


async def test_follower_gets_every_change_it_waits_for() -> None:
    latest = Latest(1)
    follower = latest.follow()
    await anext(follower)
    seen = []
    for value in (2, 3):
        waiting = asyncio.ensure_future(anext(follower))
        await asyncio.sleep(0)
        assert not waiting.done()
        latest.set(value)
        seen.append(await waiting)
    assert seen == [2, 3]


async def test_slow_follower_skips_to_the_newest_value() -> None:
    latest = Latest(1)
    follower = latest.follow()
    await anext(follower)
    for value in (2, 3, 4):
        latest.set(value)
    assert await anext(follower) == 4
    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_change_back_while_a_follower_was_away_is_no_loss() -> None:
    latest = Latest("a")
    follower = latest.follow()
    await anext(follower)
    latest.set("b")
    latest.set("a")
    latest.set("c")
    assert await anext(follower) == "c"


async def test_equal_value_wakes_nobody() -> None:
    latest = Latest((1, 2))
    follower = latest.follow()
    await anext(follower)
    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0)
    latest.set((1, 2))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_followers_do_not_disturb_each_other() -> None:
    latest = Latest(1)
    one, other = latest.follow(), latest.follow()
    assert [await anext(one), await anext(other)] == [1, 1]
    latest.set(2)
    assert await anext(one) == 2
    latest.set(3)
    assert [await anext(other), await anext(one)] == [3, 3]


async def test_setting_never_waits_for_a_follower_that_stopped_reading() -> None:
    latest = Latest(0)
    follower = latest.follow()
    await anext(follower)
    for value in range(1000):
        latest.set(value)
    assert latest.value == 999


async def test_until_other_than_waits_for_a_difference() -> None:
    latest = Latest(1)
    assert await latest.until_other_than(0) == 1
    waiting = asyncio.ensure_future(latest.until_other_than(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    latest.set(2)
    assert await waiting == 2

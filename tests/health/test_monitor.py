"""What the monitor tells of a node that changes: a simulated one, whose clocks are the test's."""

import asyncio
import logging
import os
import re
from pathlib import Path

import pytest

from amdgpu_plugin.discovery.naming import Naming
from amdgpu_plugin.health.events import CoreDumped
from amdgpu_plugin.health.settling import SETTLE_SECONDS
from amdgpu_plugin.node import Verdict
from amdgpu_plugin.simulation.node import SimulatedNode
from tests.health.worlds import GPU, NOW, A, B, C, listed, parts, verdict_of, whole, world
from tests.kubelet.worlds import until

IMPATIENCE = 0.5
"""Seconds after which what hangs is given up for a while."""


# -- A GPU goes and comes --


async def test_an_unbound_gpu_is_unhealthy_until_it_is_bound_again(scratch: Path) -> None:
    async with world(scratch, "mi300x:2") as it:
        await it.lists(whole(A, B))
        it.unix_seconds = NOW + 7
        it.node.unbind(A)
        state = await it.lists(whole(A, ill="DriverUnbound"), whole(B))
        assert verdict_of(state, A) == Verdict("DriverUnbound", "bound to no driver", since=NOW + 7)
        it.unix_seconds = NOW + 60
        await it.rounds(2)
        assert verdict_of(it.state.value, A) == Verdict("DriverUnbound", "bound to no driver", since=NOW + 7)
        it.node.bind(A)
        await it.lists(whole(A, B))


async def test_a_gpu_taken_by_another_driver_is_unhealthy_and_says_which(scratch: Path) -> None:
    async with world(scratch, "mi300x:2") as it:
        it.node.unbind(B)
        await it.lists(whole(A), whole(B, ill="DriverUnbound"))
        os.symlink("../../../../bus/pci/drivers/vfio-pci", f"{it.node.path_of(B)}/driver")
        taken = Verdict("DriverUnbound", "bound to vfio-pci, not amdgpu", since=NOW)
        await until(it.state, lambda state: verdict_of(state, B) == taken)
        assert listed(it.state.value) == whole(A) | whole(B, ill="DriverUnbound")


async def test_a_removed_gpu_is_lost_until_it_is_found_again(scratch: Path) -> None:
    async with world(scratch, "mi300x:2") as it:
        it.node.remove(A)
        state = await it.lists(whole(A, ill="DeviceLost"), whole(B))
        assert verdict_of(state, A) == Verdict("DeviceLost", "not on the PCI bus", since=NOW)
        it.node.add(A)
        await it.lists(whole(A, B))


async def test_a_worse_condition_has_a_beginning_of_its_own(scratch: Path) -> None:
    async with world(scratch, "mi300x:2") as it:
        it.node.unbind(A)
        await it.lists(whole(A, ill="DriverUnbound"), whole(B))
        it.unix_seconds = NOW + 30
        it.node.remove(A)
        state = await it.lists(whole(A, ill="DeviceLost"), whole(B))
        assert verdict_of(state, A) == Verdict("DeviceLost", "not on the PCI bus", since=NOW + 30)


async def test_all_partitions_share_the_fate_of_their_gpu(scratch: Path) -> None:
    async with world(scratch, "mi300x-cpx:2") as it:
        it.node.unbind(B)
        await it.lists(parts(A, "cpx", GPU), parts(B, "cpx", GPU, "DriverUnbound"))
        it.node.bind(B)
        await it.lists(parts(A, "cpx", GPU), parts(B, "cpx", GPU))


async def test_a_new_gpu_joins(scratch: Path) -> None:
    async with world(scratch, "mi300x:3", before=lambda node: node.remove(B)) as it:
        assert listed(it.state.value) == whole(A, C)
        it.node.add(B)
        await it.lists(whole(A, B, C))


async def test_a_gpu_that_came_while_the_first_scan_was_under_way_joins(scratch: Path) -> None:
    async with world(
        scratch, "mi300x:2", before=lambda node: node.remove(B), meanwhile=lambda node: node.add(B)
    ) as it:
        await it.lists(whole(A, B))


@pytest.mark.parametrize(("shape", "kfd_nodes"), [("mi300x:2", [2, 3]), ("mi300x-cpx:1", list(range(2, 10)))])
async def test_kfd_that_comes_late_is_taken_in(scratch: Path, shape: str, kfd_nodes: list[int]) -> None:
    def hide_kfd(node: SimulatedNode) -> None:
        os.rename(f"{node.root}/class/kfd", scratch / "kfd")

    async with world(scratch, shape, before=hide_kfd) as it:
        first = it.state.value
        assert first.inventory.driver.kfd == "absent"
        assert [device.device.kfd_node for device in first.devices] == [None] * len(kfd_nodes)
        await it.rounds(2)
        os.rename(scratch / "kfd", f"{it.node.root}/class/kfd")
        state = await until(it.state, lambda state: state.inventory.driver.kfd == "readable")
        assert [device.device.kfd_node for device in state.devices] == kfd_nodes
        assert listed(state) == listed(first)
        assert state.revision == first.revision  # the kubelet sees no difference


async def test_a_quiet_node_wakes_nobody(scratch: Path) -> None:
    async with world(scratch, "mixed:2") as it:
        await it.rounds(2)
        told = len(it.state.history)
        await it.rounds(3)
        assert it.state.history[told:] == []
        assert {state.revision for state in it.state.history} == {0}


async def test_a_node_without_gpus_is_said_once(scratch: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "amdgpu_plugin")
    async with world(scratch, "mi300x:1", before=lambda node: node.remove(A)) as it:
        await it.rounds(3)
        assert it.state.history == it.state.history[:1]
        assert listed(it.state.value) == {}
    assert [fields["reason"] for fields in said(caplog)] == [
        "no GPU is bound to amdgpu",
        "not an amdgpu device (vendor 0x1a03)",
    ]


def said(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    return [fields for record in caplog.records if (fields := getattr(record, "fields", None)) is not None]


# -- A GPU in another partition mode --


async def test_ids_of_another_mode_retire_at_once_and_new_ones_are_listed_when_settled(scratch: Path) -> None:
    async with world(scratch, "mi300x:2") as it:
        it.node.repartition(A, "CPX")
        state = await it.lists(whole(A, ill="Retired"), whole(B))
        assert verdict_of(state, A) == Verdict("Retired", "the compute partition mode is now CPX", since=NOW)
        await it.rounds(1)
        it.seconds = SETTLE_SECONDS - 0.1
        await it.rounds(3)
        assert listed(it.state.value) == whole(A, ill="Retired") | whole(B)
        it.seconds = SETTLE_SECONDS
        await it.lists(whole(A, ill="Retired"), whole(B), parts(A, "cpx", "amd.com/cpx_nps1"))


async def test_a_mode_that_changes_before_it_is_settled_is_never_listed(scratch: Path) -> None:
    async with world(scratch, "mi300x:1") as it:
        it.node.repartition(A, "CPX")
        await it.lists(whole(A, ill="Retired"))
        await it.rounds(1)
        it.seconds = 4.0
        it.node.repartition(A, "DPX")
        await it.rounds(2)
        it.seconds = 8.9
        await it.rounds(2)
        assert listed(it.state.value) == whole(A, ill="Retired")
        it.seconds = 9.0
        await it.lists(whole(A, ill="Retired"), parts(A, "dpx", "amd.com/dpx_nps1"))
    assert not any("-cpx" in device.id for state in it.state.history for device in state.devices)


async def test_a_mode_that_was_out_of_sight_settles_anew(scratch: Path) -> None:
    async with world(scratch, "mi300x:2") as it:
        it.node.repartition(A, "DPX")
        await it.lists(whole(A, ill="Retired"), whole(B))
        await it.rounds(1)
        it.node.unbind(A)
        await it.lists(whole(A, ill="DriverUnbound"), whole(B))
        await it.survey_rounds(2)
        it.seconds = 100.0
        await it.sysfs.hold("topology/generation_id")
        it.node.bind(A)  # between two scans: none sees half of it
        it.sysfs.release()
        await it.lists(whole(A, ill="Retired"), whole(B))
        await it.rounds(1)
        it.seconds = 100.0 + SETTLE_SECONDS - 0.1
        await it.rounds(2)
        assert listed(it.state.value) == whole(A, ill="Retired") | whole(B)
        it.seconds = 100.0 + SETTLE_SECONDS
        await it.lists(whole(A, ill="Retired"), whole(B), parts(A, "dpx", "amd.com/dpx_nps1"))


async def test_ids_whose_mode_returns_are_ordinary_again(scratch: Path) -> None:
    async with world(scratch, "mi300x:2") as it:
        it.node.repartition(A, "CPX")
        await it.lists(whole(A, ill="Retired"), whole(B))
        it.node.repartition(A, "SPX")
        await it.lists(whole(A, B))  # nothing new, nothing to wait for
        it.node.repartition(A, "CPX")
        await it.lists(whole(A, ill="Retired"), whole(B))
        await it.rounds(1)
        it.seconds = SETTLE_SECONDS
        new = "amd.com/cpx_nps1"
        await it.lists(whole(A, ill="Retired"), whole(B), parts(A, "cpx", new))
        it.node.repartition(A, "SPX")
        await it.lists(whole(A, B), parts(A, "cpx", new, "Retired"))
        it.node.repartition(A, "CPX")
        await it.lists(whole(A, ill="Retired"), whole(B), parts(A, "cpx", new))


async def test_retired_ids_of_an_unbound_gpu_are_unhealthy_for_that(scratch: Path) -> None:
    async with world(scratch, "mi300x:1") as it:
        it.node.repartition(A, "DPX")
        await it.lists(whole(A, ill="Retired"))
        await it.rounds(1)
        it.seconds = SETTLE_SECONDS
        new = "amd.com/dpx_nps1"
        await it.lists(whole(A, ill="Retired"), parts(A, "dpx", new))
        it.node.unbind(A)
        await it.lists(whole(A, ill="DriverUnbound"), parts(A, "dpx", new, "DriverUnbound"))
        it.node.bind(A)
        await it.lists(whole(A, ill="Retired"), parts(A, "dpx", new))


async def test_mixed_naming_names_a_new_mode_by_its_style(scratch: Path) -> None:
    async with world(scratch, "mi300x:2", naming="mixed") as it:
        it.node.repartition(B, "QPX")
        spx = "amd.com/spx_nps1"
        await it.lists(whole(A, resource=spx), whole(B, resource=spx, ill="Retired"))
        await it.rounds(1)
        it.seconds = SETTLE_SECONDS
        await it.lists(
            whole(A, resource=spx),
            whole(B, resource=spx, ill="Retired"),
            parts(B, "qpx", "amd.com/qpx_nps1"),
        )


@pytest.mark.parametrize("naming", ["single", "mixed"])
@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ("mi300x:2", "A CPX, B CPX, A DPX, A SPX, A CPX"),
        ("mi300x-cpx:2", "A DPX, B DPX, A CPX, A QPX, B QPX"),
        ("mi300x-cpx:2", "A SPX, B SPX, A CPX"),
        ("mi300x-dpx:1", "A SPX, A CPX, A DPX"),
        ("mixed:2", "A CPX, B SPX, A SPX, B DPX"),
    ],
)
async def test_a_name_stands_for_one_size_and_a_size_has_one_name(
    scratch: Path, naming: Naming, shape: str, changes: str
) -> None:
    async with world(scratch, shape, naming=naming) as it:
        for gpu, mode in (change.split() for change in changes.split(", ")):
            address = {"A": A, "B": B}[gpu]
            it.node.repartition(address, mode)
            await it.rounds(1)
            it.seconds += SETTLE_SECONDS
            await it.has_healthy(whole(address) if mode == "SPX" else parts(address, mode.lower(), ""))
    names_of_ids: dict[str, str] = {}
    for state in it.state.history:
        sizes: dict[str, str] = {}
        for device in state.devices:
            resource, size = device.device.resource, re.sub(r"^[^-]+-?|[0-9]+$", "", device.id)
            assert names_of_ids.setdefault(device.id, resource) == resource
            assert sizes.setdefault(resource, size) == size
        assert len(set(sizes.values())) == len(sizes)


# -- Reads that hang --


async def test_a_gpu_that_hangs_is_unresponsive_alone_and_holds_up_no_other(scratch: Path) -> None:
    async with world(scratch, "mi300x:3", deadline=0.05, patience=IMPATIENCE) as it:
        await it.lists(whole(A, B, C))
        it.sysfs.held = f"{A}/current_compute_partition"
        state = await it.lists(whole(A, ill="Unresponsive"), whole(B, C))
        assert verdict_of(state, A) == Verdict("Unresponsive", "no answer in 0.05 s", since=NOW)
        it.node.unbind(B)
        await it.lists(whole(A, ill="Unresponsive"), whole(B, ill="DriverUnbound"), whole(C))
        it.sysfs.release()
        await it.lists(whole(A), whole(B, ill="DriverUnbound"), whole(C))


async def test_all_gpus_that_hang_at_once_are_more_likely_our_trouble(scratch: Path) -> None:
    async with world(scratch, "mi300x:2", deadline=0.05, patience=IMPATIENCE) as it:
        await it.lists(whole(A, B))
        it.sysfs.held = "current_compute_partition"
        state = await until(it.state, lambda state: state.guard_active)
        assert listed(state) == whole(A, B)
        it.sysfs.release()
        await until(it.state, lambda state: not state.guard_active)
        assert listed(it.state.value) == whole(A, B)


async def test_a_gpu_that_hangs_at_first_joins_when_it_answers_and_is_said_once(
    scratch: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "amdgpu_plugin")
    async with world(scratch, "mi300x:2", held=f"{B}/mem_info_vram_total", patience=IMPATIENCE) as it:
        assert listed(it.state.value) == whole(A)
        await it.rounds(3)
        assert listed(it.state.value) == whole(A)
        it.sysfs.release()
        await it.lists(whole(A, B))
    silent = [fields["path"] for fields in said(caplog) if "no answer" in fields.get("reason", "")]
    assert silent == ["class/drm/card9"]


async def test_a_bus_that_hangs_changes_no_verdict(scratch: Path) -> None:
    async with world(scratch, "mi300x:2", patience=IMPATIENCE) as it:
        it.node.unbind(A)
        await it.lists(whole(A, ill="DriverUnbound"), whole(B))
        it.sysfs.held = "topology/generation_id"
        await it.rounds(3)
        assert listed(it.state.value) == whole(A, ill="DriverUnbound") | whole(B)
        it.node.bind(A)
        it.sysfs.release()
        await it.lists(whole(A, B))


async def test_thousands_of_core_dumps_are_one_task_and_as_many_as_can_be_told(scratch: Path) -> None:
    async with world(scratch, "mi300x:2", events=True) as it:
        it.node.core_dump(A)
        await until(it.state, lambda state: state.statuses[A].core_dumps == 1)
        dump = CoreDumped("devices/virtual/devcoredump/devcd1")
        tasks = len(asyncio.all_tasks())
        for _ in range(5000):
            it.monitor.hear([dump], it.seconds)
        assert len(asyncio.all_tasks()) == tasks + 1
        await until(it.state, lambda state: state.statuses[A].core_dumps == 1 + 1024)
        it.monitor.hear([dump], it.seconds)
        told = await until(it.state, lambda state: state.statuses[A].core_dumps > 1 + 1024)
        assert (told.statuses[A].core_dumps, told.statuses[B].core_dumps) == (1 + 1024 + 1, 0)

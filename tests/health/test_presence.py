import errno
from dataclasses import replace

import pytest

from amdgpu_plugin.capture_file import Entry, Link
from amdgpu_plugin.discovery.inventory import Driver, Gpu, Inventory
from amdgpu_plugin.health.presence import Bound, Gone, NotSeen, Presence, Unbound, judge, look
from amdgpu_plugin.node import ListedDevice, Verdict
from amdgpu_plugin.sysfs import Absent, Blob, Refused
from tests.discovery.trees import ADDRESSES, Tree, gone, in_memory, mi300x, mi300x_node, pci_path

ADDRESS = ADDRESSES[0]
PATH = pci_path(ADDRESS)
NOW = 1000.0


def tree_with(**changed: Entry) -> Tree:
    return mi300x_node("DPX", count=1) | {f"{PATH}/{name}": entry for name, entry in changed.items()}


@pytest.mark.parametrize(
    ("tree", "presence"),
    [
        (tree_with(), Bound("DPX")),
        (tree_with(current_compute_partition=Blob(b"CPX\n")), Bound("CPX")),
        (tree_with(current_compute_partition=Absent()), Bound(None)),
        (tree_with(current_compute_partition=Refused(errno.EPERM)), Bound(None)),
        (tree_with(current_compute_partition=Blob(b"\xff")), Bound(None)),
        (tree_with(current_compute_partition=Blob(b"")), Bound(None)),
        (tree_with(current_compute_partition=Blob(b"odd\n")), Bound(None)),
        (tree_with(current_compute_partition=Blob(b"DPX\n\0\0\0")), Bound("DPX")),
        (tree_with(driver=Absent()), Unbound(None)),
        (tree_with(driver=Link("../../../../bus/pci/drivers/vfio-pci")), Unbound("vfio-pci")),
        (tree_with(driver=Refused(errno.EIO)), NotSeen("not a symbolic link")),
        (tree_with(driver=Blob(b"odd")), NotSeen("not a symbolic link")),
        (gone(tree_with(), f"bus/pci/devices/{ADDRESS}"), Gone()),
        (gone(tree_with(), PATH), Gone()),
        ({f"bus/pci/devices/{ADDRESS}": Link(ADDRESS)}, NotSeen("a loop of symbolic links")),
        ({}, Gone()),
    ],
)
def test_look_tells_where_the_gpu_is(tree: Tree, presence: Presence) -> None:
    assert look(in_memory(tree), ADDRESS) == presence


def listed(gpu: Gpu, verdict: Verdict | None = None) -> tuple[ListedDevice, ...]:
    return tuple(ListedDevice(device, gpu, verdict) for device in gpu.devices)


def inventory(*gpus: Gpu) -> Inventory:
    return Inventory(Driver("amdgpu", None, "readable"), gpus, (), ())


DPX, OTHER = mi300x(0, "DPX"), mi300x(1)
UNBOUND = Verdict("DriverUnbound", "bound to no driver", 5.0)


def test_what_is_found_is_listed_healthy_in_the_order_of_addresses() -> None:
    assert judge((), inventory(OTHER, DPX), {}, NOW) == (*listed(DPX), *listed(OTHER))


def test_partitions_are_listed_in_the_order_of_their_numbers() -> None:
    cpx = mi300x(0, "CPX")
    found = judge((), inventory(replace(cpx, devices=cpx.devices[::-1])), {}, NOW)
    assert [each.device.partition for each in found] == list(range(8))


@pytest.mark.parametrize(
    ("presence", "condition", "detail"),
    [
        (Unbound(None), "DriverUnbound", "bound to no driver"),
        (Unbound("vfio-pci"), "DriverUnbound", "bound to vfio-pci, not amdgpu"),
        (Gone(), "DeviceLost", "not on the PCI bus"),
        (Bound("CPX"), "Retired", "the compute partition mode is now CPX"),
    ],
)
@pytest.mark.parametrize("found", [(), (DPX,)], ids=["not found", "still found"])
def test_listed_devices_stay_and_turn_unhealthy_with_the_reason(
    found: tuple[Gpu, ...], presence: Presence, condition: str, detail: str
) -> None:
    now_listed = judge(listed(DPX), inventory(*found), {ADDRESS: presence}, NOW)
    assert now_listed == listed(DPX, Verdict(condition, detail, NOW))


def test_other_gpus_are_not_touched() -> None:
    before = (*listed(DPX), *listed(OTHER))
    now_listed = judge(before, inventory(OTHER), {ADDRESS: Gone(), ADDRESSES[1]: Bound("SPX")}, NOW)
    assert now_listed == (*listed(DPX, Verdict("DeviceLost", "not on the PCI bus", NOW)), *listed(OTHER))


def test_condition_that_lasts_keeps_its_since_and_another_begins_anew() -> None:
    unbound = listed(DPX, UNBOUND)
    vfio = {ADDRESS: Unbound("vfio-pci")}
    assert judge(unbound, inventory(), vfio, NOW) == listed(
        DPX, Verdict("DriverUnbound", "bound to vfio-pci, not amdgpu", 5.0)
    )
    assert judge(unbound, inventory(), {ADDRESS: Gone()}, NOW) == listed(
        DPX, Verdict("DeviceLost", "not on the PCI bus", NOW)
    )


def test_gpu_that_is_bound_and_found_again_is_healthy() -> None:
    assert judge(listed(DPX, UNBOUND), inventory(DPX), {ADDRESS: Bound("DPX")}, NOW) == listed(DPX)


def test_gpu_that_is_bound_but_not_found_yet_keeps_its_verdict() -> None:
    unbound = listed(DPX, UNBOUND)
    assert judge(unbound, inventory(), {ADDRESS: Bound("DPX")}, NOW) == unbound


@pytest.mark.parametrize("presences", [{}, {ADDRESS: NotSeen("no answer in 2 s")}])
@pytest.mark.parametrize("found", [(), (DPX,)], ids=["not found", "still found"])
@pytest.mark.parametrize("verdict", [None, UNBOUND], ids=["healthy", "unhealthy"])
def test_what_could_not_be_looked_at_changes_no_verdict(
    verdict: Verdict | None, found: tuple[Gpu, ...], presences: dict[str, Presence]
) -> None:
    before = listed(DPX, verdict)
    assert judge(before, inventory(*found), presences, NOW) == before


def test_what_was_found_anew_is_what_is_listed() -> None:
    newer = replace(DPX, numa_node=1, devices=tuple(replace(each, kfd_node=9) for each in DPX.devices))
    assert judge(listed(DPX), inventory(newer), {ADDRESS: Bound("DPX")}, NOW) == listed(newer)
    assert judge(listed(DPX), inventory(newer), {ADDRESS: Gone()}, NOW) == listed(
        newer, Verdict("DeviceLost", "not on the PCI bus", NOW)
    )


@pytest.mark.parametrize("mode", [None, "DPX"])
def test_mode_that_is_not_told_retires_nobody(mode: str | None) -> None:
    gpu = replace(DPX, compute_partition=mode)
    presences: dict[str, Presence] = {ADDRESS: Bound(None if mode else "CPX")}
    assert judge(listed(gpu), inventory(gpu), presences, NOW) == listed(gpu)


def test_new_partitions_join_the_retired_ones_and_old_ids_return_with_their_mode() -> None:
    cpx = mi300x(0, "CPX")
    retired = Verdict("Retired", "the compute partition mode is now CPX", NOW)
    both = judge(listed(DPX), inventory(cpx), {ADDRESS: Bound("CPX")}, NOW)
    assert both == (*listed(cpx), *listed(DPX, retired))
    back = judge(both, inventory(DPX), {ADDRESS: Bound("DPX")}, NOW + 1)
    assert back == (
        *listed(cpx, Verdict("Retired", "the compute partition mode is now DPX", NOW + 1)),
        *listed(DPX),
    )

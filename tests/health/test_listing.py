from dataclasses import replace

import pytest

from amdgpu_plugin.discovery.inventory import ComputeDevice, Driver, Gpu, Inventory, XcpDevice
from amdgpu_plugin.health.listing import (
    with_earlier,
    with_held_elsewhere,
    with_verdicts,
    without_left,
)
from amdgpu_plugin.node import GpuStatus, Held, Holder, Holders, ListedDevice, Verdict

A, B = "0000:05:00.0", "0000:27:00.0"
POD = (Holder("ml", "train", "main"),)
XCPS = tuple(XcpDevice(number, f"renderD{129 + number}", A) for number in range(7))


def whole(address: str = A, *, resource: str = "amd.com/gpu", verdict: Verdict | None = None) -> ListedDevice:
    device = ComputeDevice(address, resource, None, "renderD128", "card1", None)
    return ListedDevice(device, gpu(address, "SPX"), verdict)


def slice_(number: int, *, mode: str = "CPX", resource: str = "amd.com/cpx_nps1") -> ListedDevice:
    identity = f"{A}-{mode.lower()}{number}"
    device = ComputeDevice(identity, resource, number, f"renderD{128 + number}", None, None)
    return ListedDevice(device, gpu(A, mode))


def gpu(address: str, mode: str) -> Gpu:
    return Gpu(address, None, None, None, 0, None, mode, "NPS1", None, ())


def held_elsewhere(detail: str, since: float = 7.0) -> Verdict:
    return Verdict("HeldElsewhere", detail, since)


def test_a_device_held_under_its_own_id_is_healthy() -> None:
    holders = {Held("amd.com/gpu", A): POD}
    assert with_held_elsewhere((whole(),), holders, (), now=7) == (whole(),)


def test_slices_of_a_gpu_held_as_a_whole_are_not_given_out() -> None:
    devices = (slice_(0), slice_(7), whole(B))
    holders = {Held("amd.com/gpu", A): POD}
    detail = f"held as {A} of amd.com/gpu by ml/train"
    verdict = held_elsewhere(detail)
    assert with_held_elsewhere(devices, holders, (), now=7) == (
        replace(slice_(0), verdict=verdict),
        replace(slice_(7), verdict=verdict),
        whole(B),
    )


def test_a_gpu_of_which_a_slice_is_held_is_not_given_out_as_a_whole() -> None:
    holders = {Held("amd.com/cpx_nps1", f"{A}-cpx3"): POD}
    verdict = held_elsewhere(f"held as {A}-cpx3 of amd.com/cpx_nps1 by ml/train")
    assert with_held_elsewhere((whole(),), holders, (), now=7) == (whole(verdict=verdict),)


def test_another_slice_of_the_same_mode_is_no_trouble() -> None:
    holders = {Held("amd.com/cpx_nps1", f"{A}-cpx3"): POD}
    devices = (slice_(2), slice_(3))
    assert with_held_elsewhere(devices, holders, (), now=7) == devices


def test_any_slice_of_another_mode_may_overlap() -> None:
    holders = {Held("amd.com/dpx_nps1", f"{A}-dpx1"): POD}
    detail = f"held as {A}-dpx1 of amd.com/dpx_nps1 by ml/train"
    assert with_held_elsewhere((slice_(0),), holders, (), now=7) == (
        replace(slice_(0), verdict=held_elsewhere(detail)),
    )


@pytest.mark.parametrize("spelling", ["amdgpu_xcp_2", "amdgpu_xcp.2"])
def test_the_slice_another_plugin_holds_by_its_xcp_name_is_not_given_out(spelling: str) -> None:
    holders = {Held("amd.com/gpu", spelling): POD}
    verdict = held_elsewhere(f"held as {spelling} of amd.com/gpu by ml/train")
    devices = (slice_(2), slice_(3), slice_(4))
    assert with_held_elsewhere(devices, holders, XCPS, now=7) == (
        slice_(2),
        replace(slice_(3), verdict=verdict),
        slice_(4),
    )


def test_a_whole_gpu_is_not_given_out_while_one_of_its_xcp_devices_is_held() -> None:
    holders = {Held("amd.com/gpu", "amdgpu_xcp_6"): POD}
    verdict = held_elsewhere("held as amdgpu_xcp_6 of amd.com/gpu by ml/train")
    assert with_held_elsewhere((whole(), whole(B)), holders, XCPS, now=7) == (
        whole(verdict=verdict),
        whole(B),
    )


def test_the_same_id_under_another_resource_is_held_elsewhere() -> None:
    holders = {Held("amd.com/gpu", A): POD}
    listed = whole(resource="amd.com/spx_nps1")
    verdict = held_elsewhere(f"held as {A} of amd.com/gpu by ml/train")
    assert with_held_elsewhere((listed,), holders, (), now=7) == (replace(listed, verdict=verdict),)


def shared(resource: str = "amd.com/gpu") -> ListedDevice:
    listed = whole(resource=resource)
    return replace(listed, device=replace(listed.device, replicas=2))


def test_a_shared_device_of_which_a_replica_is_held_is_healthy() -> None:
    holders = {Held("amd.com/gpu", f"{A}::1"): POD}
    assert with_held_elsewhere((shared(),), holders, (), now=7) == (shared(),)


def test_a_replica_of_before_there_were_fewer_is_no_trouble() -> None:
    holders = {Held("amd.com/gpu", f"{A}::7"): POD}
    assert with_held_elsewhere((shared(),), holders, (), now=7) == (shared(),)


@pytest.mark.parametrize(
    ("listed", "held"),
    [
        (whole(), Held("amd.com/gpu", f"{A}::1")),
        (shared(), Held("amd.com/gpu", A)),
        (shared("amd.com/gpu.shared"), Held("amd.com/gpu", A)),
        (whole(), Held("amd.com/gpu.shared", f"{A}::1")),
    ],
    ids=["shared before", "unshared before", "unshared before, and renamed", "shared and renamed before"],
)
def test_a_device_is_not_given_out_while_it_is_held_as_it_was_served_before(
    listed: ListedDevice, held: Held
) -> None:
    verdict = held_elsewhere(f"held as {held.device_id} of {held.resource} by ml/train")
    assert with_held_elsewhere((listed,), {held: POD}, (), now=7) == (replace(listed, verdict=verdict),)


def test_it_ends_with_the_pod_and_keeps_its_beginning_until_then() -> None:
    holders = {Held("amd.com/cpx_nps1", f"{A}-cpx3"): POD}
    first = with_held_elsewhere((whole(),), holders, (), now=7)
    later = with_held_elsewhere(first, holders, (), now=50)
    assert [listed.verdict and listed.verdict.since for listed in later] == [7.0]
    assert with_held_elsewhere(later, {}, (), now=60) == (whole(),)


def test_another_trouble_goes_first() -> None:
    lost = Verdict("DeviceLost", "not on the PCI bus", 3)
    holders = {Held("amd.com/cpx_nps1", f"{A}-cpx3"): POD}
    assert with_held_elsewhere((whole(verdict=lost),), holders, (), now=7) == (whole(verdict=lost),)


@pytest.mark.parametrize(
    "device_id",
    [
        "",
        "gpu-5",
        "0000:05:00.0-",
        "amdgpu_xcp_99",
        "x" * 500,
        f"{A}-cpx",
        f"{A}-cpx{'9' * 5000}",
        f"amdgpu_xcp_{'9' * 5000}",
        "amdgpu_xcp_٣",
    ],
)
def test_ids_that_mean_nothing_here_change_nothing(device_id: str) -> None:
    holders: Holders = {Held("example.com/thing", device_id): POD}
    assert with_held_elsewhere((whole(), slice_(3)), holders, XCPS, now=7) == (whole(), slice_(3))


RETIRED = Verdict("Retired", "the compute partition mode is now CPX", 100.0)


@pytest.mark.parametrize(
    ("holders", "now", "stays"),
    [
        ({}, 699.9, True),
        ({}, 700.0, False),
        ({Held("amd.com/gpu", A): POD}, 9999.0, True),
        ({Held("amd.com/gpu", f"{A}::3"): POD}, 9999.0, True),
        ({Held("amd.com/gpu.shared", f"{A}::3"): POD}, 9999.0, True),
        ({Held("amd.com/gpu", B): POD}, 700.0, False),
        (None, 9999.0, True),
    ],
    ids=[
        "too early",
        "in time",
        "held",
        "a replica held",
        "held under the name of before",
        "another held",
        "holders not known",
    ],
)
def test_a_retired_id_leaves_when_nobody_holds_it(
    holders: Holders | None, now: float, *, stays: bool
) -> None:
    devices = (whole(verdict=RETIRED), whole(B))
    left = without_left(devices, holders, now=now, retire_after_seconds=600)
    assert left == (devices if stays else (whole(B),))


def test_no_other_verdict_makes_an_id_leave() -> None:
    lost = whole(verdict=Verdict("DeviceLost", "not on the PCI bus", 0.0))
    assert without_left((lost,), {}, now=1e9, retire_after_seconds=0) == (lost,)


def test_no_id_leaves_before_it_was_seen_unhealthy() -> None:
    devices = (whole(verdict=RETIRED),)
    assert without_left(devices, {}, now=104.9, retire_after_seconds=0) == devices
    assert without_left(devices, {}, now=105.0, retire_after_seconds=0) == ()


def inventory(*gpus: Gpu) -> Inventory:
    return Inventory(Driver("amdgpu", None, "readable"), gpus, (), ())


def test_an_id_of_a_gpu_that_is_left_out_now_is_retired() -> None:
    before = (whole(), whole(B))
    left_out = replace(before[0].gpu, left_out="left out by devices.exclude: 1002:74a1")
    there = replace(before[1].gpu, devices=(before[1].device,))
    verdict = Verdict("Retired", "left out by devices.exclude: 1002:74a1", 7)
    now = with_verdicts(with_earlier(before, inventory(left_out, there)), {}, {B: "SPX"}, now=7)
    assert [(listed.id, listed.verdict) for listed in now] == [(A, verdict), (B, None)]
    later = with_verdicts(with_earlier(now, inventory(left_out, there)), {}, {A: "SPX", B: "SPX"}, now=50)
    assert [(listed.id, listed.verdict) for listed in later] == [(A, verdict), (B, None)]
    again = replace(left_out, left_out=None, devices=(before[0].device,))
    back = with_verdicts(with_earlier(later, inventory(again, there)), {}, {A: "SPX", B: "SPX"}, now=60)
    assert [(listed.id, listed.verdict) for listed in back] == [(A, None), (B, None)]


def test_what_an_id_is_to_be_served_as_must_stay_the_same_before_it_moves() -> None:
    def named(listed: ListedDevice, resource: str, now: float) -> ListedDevice:
        found = slice_(0, resource=resource)
        there = replace(found.gpu, devices=(found.device,), memory_partition=resource[-4:].upper())
        judged = with_verdicts(with_earlier((listed,), inventory(there)), {}, {A: "CPX"}, now=now)
        (only,) = without_left(judged, {}, now=now, retire_after_seconds=600)
        return only

    def told(listed: ListedDevice) -> tuple[str, Verdict | None]:
        return listed.device.resource, listed.verdict

    def waiting(anew: str, since: float) -> tuple[str, Verdict]:
        detail = f"served as {anew} when nobody holds it any more"
        return "amd.com/cpx_nps1", Verdict("Retired", detail, since)

    first = named(slice_(0), "amd.com/cpx_nps4", 7)
    assert told(first) == waiting("amd.com/cpx_nps4", 7)
    second = named(first, "amd.com/cpx_nps2", 11)
    assert told(second) == waiting("amd.com/cpx_nps2", 11)
    assert told(named(second, "amd.com/cpx_nps2", 15)) == waiting("amd.com/cpx_nps2", 11)
    assert told(named(second, "amd.com/cpx_nps2", 16)) == ("amd.com/cpx_nps2", None)
    assert told(named(second, "amd.com/cpx_nps1", 16)) == ("amd.com/cpx_nps1", None)


def test_a_clock_that_was_ahead_keeps_no_id_back() -> None:
    """What came at a time that is not yet came now: else it would stay for as long as the clock jumped back."""
    judged = with_verdicts((whole(),), {}, {A: "CPX"}, now=86_400.0)
    for now in (7.0, 607.0):
        judged = with_verdicts(judged, {}, {A: "CPX"}, now=now)
        assert [each.verdict.since for each in judged if each.verdict is not None] == [7.0]
    assert without_left(judged, {}, now=607.0, retire_after_seconds=600) == ()


def test_a_superseded_id_is_retired_whatever_its_gpu_has_besides() -> None:
    wedged = GpuStatus(verdict=Verdict("Wedged", "WEDGED=rebind", 3.0))
    (listed,) = with_verdicts((whole(),), {A: wedged}, {A: "CPX"}, now=7)
    assert listed.verdict == Verdict("Retired", "the compute partition mode is now CPX", 7)
    (listed,) = with_verdicts((whole(),), {A: wedged}, {A: "SPX"}, now=7)
    assert listed.verdict == wedged.verdict

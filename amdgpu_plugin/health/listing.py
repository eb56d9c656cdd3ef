"""Which devices are listed, and which of them are unhealthy for what. Pure.

A listed ID is never dropped because its GPU is ill or gone: it turns unhealthy. `Retired` and `HeldElsewhere`
are facts about IDs: they reach the kubelet in every mode. An ID of another mode charges the same hardware to
a pod as ours would; so does another plugin's `amdgpu_xcp_N`.

The kubelet counts an ID for each resource by itself. So an ID whose resource should be another one by now
(memory modes are no part of IDs) is retired under the old, and listed under the new when nobody holds it.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from amdgpu_plugin.discovery.inventory import (
    Gpu,
    Inventory,
    XcpDevice,
    address_order,
    device_of,
    is_replica,
)
from amdgpu_plugin.node import GpuStatus, Held, Holder, Holders, ListedDevice, Verdict

RETIRED, HELD_ELSEWHERE = "Retired", "HeldElsewhere"
SHORTEST_RETIREMENT_SECONDS = 5.0
UNSEEN = ("Unresponsive", "not seen since this daemon started")
"""Condition and detail of a device that an earlier daemon listed and that no scan or look has found yet."""

_OWN_ID = re.compile(r"([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(?:-([a-z]+)([0-9]{1,4}))?(?:::[0-9]+)?")
_XCP_ID = re.compile(r"amdgpu_xcp[._]([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class _Hardware:
    """What an ID stands for.

    `part` is a mode with a partition's number, or a render node; None is the whole GPU.
    """

    gpu: str
    part: tuple[str, int] | str | None


IsForeign = Callable[[str, Gpu], bool]


def _never(*_: object) -> bool:
    return False


def with_earlier(
    earlier: tuple[ListedDevice, ...], inventory: Inventory, is_foreign: IsForeign = _never
) -> tuple[ListedDevice, ...]:
    """The devices of the inventory, and the earlier ones that are not in it any more.

    Verdicts are the earlier ones. `is_foreign` says whether a resource is a name that is not given to devices
    of that GPU any more. Sorted by PCI address, then partition.
    """
    found = {device.id: ListedDevice(device, gpu) for gpu in inventory.gpus for device in gpu.devices}
    left_out = {gpu.pci_address: gpu.left_out for gpu in inventory.gpus}
    for before in earlier:
        found[before.id] = _kept(before, found.get(before.id), left_out, is_foreign)
    return tuple(sorted(found.values(), key=_order))


def with_verdicts(
    devices: tuple[ListedDevice, ...],
    statuses: Mapping[str, GpuStatus],
    modes: Mapping[str, str | None],
    *,
    now: float,
) -> tuple[ListedDevice, ...]:
    """The devices with what is the matter with them now.

    `statuses` and `modes` are by PCI address: a GPU's health, and the compute partition mode its file told
    last; a GPU that is in neither was never seen by this process.
    """
    verdicts = (_verdict(each, each.verdict, statuses, modes, now) for each in devices)
    return tuple(
        each if each.verdict == verdict else replace(each, verdict=verdict)
        for each, verdict in zip(devices, verdicts, strict=True)
    )


def _kept(
    before: ListedDevice,
    found: ListedDevice | None,
    left_out: Mapping[str, str | None],
    is_foreign: IsForeign,
) -> ListedDevice:
    """An ID's resource is fixed while it is listed, whatever its GPU's modes say for a moment."""
    if found is None:
        why = left_out.get(before.gpu.pci_address, before.gpu.left_out)
        return replace(before, gpu=replace(before.gpu, left_out=why), named_anew=None)
    if found.device.resource == before.device.resource:
        memory = found.gpu.memory_partition or before.gpu.memory_partition
        return replace(found, gpu=replace(found.gpu, memory_partition=memory), verdict=before.verdict)
    # The mode that the name was given for: it stays with the name.
    memory = before.gpu.memory_partition or found.gpu.memory_partition
    # A name made of modes that are not known at the moment says nothing.
    forgotten = found.gpu.memory_partition is None and memory is not None
    is_sure = found.gpu.compute_partition is not None and not forgotten
    is_wrong = found.gpu.memory_partition != memory or is_foreign(before.device.resource, found.gpu)
    return ListedDevice(
        replace(found.device, resource=before.device.resource, replicas=before.device.replicas),
        replace(found.gpu, memory_partition=memory),
        verdict=before.verdict,
        named_anew=found if is_sure and is_wrong else None,
    )


def _verdict(
    listed: ListedDevice,
    before: Verdict | None,
    statuses: Mapping[str, GpuStatus],
    modes: Mapping[str, str | None],
    now: float,
) -> Verdict | None:
    address = listed.gpu.pci_address
    status = statuses.get(address)
    mode = modes.get(address)
    superseded = mode is not None and _mode_of(listed) != mode
    # That an ID is to leave lasts, whatever its GPU has besides: else it would never do so.
    leaves = superseded or listed.named_anew is not None
    if status is not None and status.verdict is not None and not leaves:
        return status.verdict
    if address not in modes and before is not None and (before.condition, before.detail) == UNSEEN:
        return before
    condition = None if before is None else before.condition
    why = listed.gpu.left_out
    if listed.named_anew is not None:
        why = _served_anew(listed.named_anew)
    if superseded:
        why = f"the compute partition mode is now {mode}"
    if why is not None:
        # What it is to be served as must have stayed the same for a while.
        anew = listed.named_anew is not None and not superseded
        lasts = before is not None and before.condition == RETIRED and (not anew or before.detail == why)
        # A clock that jumped back must not keep it here for as long as it jumped.
        return Verdict(RETIRED, why, min(before.since, now) if before is not None and lasts else now)
    stays = condition == HELD_ELSEWHERE or (condition == RETIRED and mode is None)
    return before if stays else None


def _served_anew(anew: ListedDevice) -> str:
    return f"served as {anew.device.resource} when nobody holds it any more"


def _mode_of(listed: ListedDevice) -> str:
    """By the ID: what its GPU's file says of the mode is not known during a reset."""
    own = _OWN_ID.fullmatch(listed.id)
    return "SPX" if own is None or own[2] is None else own[2].upper()


def _order(listed: ListedDevice) -> tuple[tuple[int, ...], str, int]:
    return (
        address_order(listed.gpu.pci_address),
        listed.gpu.compute_partition or "",
        listed.device.partition or 0,
    )


def without_left(
    devices: tuple[ListedDevice, ...], holders: Holders | None, *, now: float, retire_after_seconds: float
) -> tuple[ListedDevice, ...]:
    """The list without IDs that have been retired for `retire_after_seconds` and that nobody holds.

    Those that are named anew go to their new resource instead, and sooner. Where holders are not known, none
    leaves: an ID that leaves while it is held counts as free. And none leaves before
    SHORTEST_RETIREMENT_SECONDS: an ID that a running Allocate may name must be seen unhealthy first
    (kubernetes #95041). A device is held by any of its replicas, under whatever resource it was served.
    """
    if not any(listed.verdict is not None and listed.verdict.condition == RETIRED for listed in devices):
        return devices
    held = {device_of(each.device_id) for each in holders or ()}
    stays = partial(_stays, now=now, retire_after_seconds=retire_after_seconds)
    return tuple(
        following
        for listed in devices
        if (following := listed if holders is None or listed.id in held or stays(listed) else _moved(listed))
    )


def _stays(listed: ListedDevice, *, now: float, retire_after_seconds: float) -> bool:
    verdict = listed.verdict
    if verdict is None or verdict.condition != RETIRED:
        return True
    span = 0.0 if _is_to_move(listed) else retire_after_seconds
    return now - verdict.since < max(span, SHORTEST_RETIREMENT_SECONDS)


def _is_to_move(listed: ListedDevice) -> bool:
    """Not when its mode is another by now: then it just leaves."""
    anew, verdict = listed.named_anew, listed.verdict
    return anew is not None and verdict is not None and verdict.detail == _served_anew(anew)


def _moved(listed: ListedDevice) -> ListedDevice | None:
    """None where it only leaves."""
    return listed.named_anew if _is_to_move(listed) else None


def with_held_elsewhere(
    devices: tuple[ListedDevice, ...],
    holders: Holders | None,
    xcp_devices: tuple[XcpDevice, ...],
    *,
    now: float,
) -> tuple[ListedDevice, ...]:
    """The list in which a device is unhealthy while its hardware is held under another ID.

    Any other trouble a device is in goes first.
    """
    if not holders and not any(_is_held_elsewhere(listed) for listed in devices):
        return devices
    held = _held_hardware(holders or {}, devices, xcp_devices)
    return tuple(_judged(listed, held, now) for listed in devices)


def _is_held_elsewhere(listed: ListedDevice) -> bool:
    return listed.verdict is not None and listed.verdict.condition == HELD_ELSEWHERE


_HeldHardware = Mapping[str, Sequence[tuple[Held, _Hardware, Holder]]]


def _judged(listed: ListedDevice, held: _HeldHardware, now: float) -> ListedDevice:
    before = listed.verdict
    if before is not None and before.condition != HELD_ELSEWHERE:
        return listed
    for charged, hardware, holder in held.get(listed.gpu.pci_address, ()):
        if not _is_own(listed, charged) and _overlap(listed, hardware):
            detail = f"held as {charged.device_id} of {charged.resource} by {holder}"
            return replace(listed, verdict=Verdict(HELD_ELSEWHERE, detail, before.since if before else now))
    return listed if before is None else replace(listed, verdict=None)


def _is_own(listed: ListedDevice, charged: Held) -> bool:
    """Whether a device is charged as it is served now: shared and unshared are two things."""
    if (charged.resource, device_of(charged.device_id)) != (listed.device.resource, listed.id):
        return False
    return is_replica(charged.device_id) == (listed.device.replicas > 1)


def _overlap(listed: ListedDevice, hardware: _Hardware) -> bool:
    if hardware.part is None or listed.device.partition is None:
        return True
    if isinstance(hardware.part, str):
        return hardware.part == listed.device.render_node
    # Which slices of two modes lie upon each other is the driver's affair: any may.
    mode, number = hardware.part
    return mode != (listed.gpu.compute_partition or "").lower() or number == listed.device.partition


def _held_hardware(
    holders: Holders, devices: tuple[ListedDevice, ...], xcp_devices: tuple[XcpDevice, ...]
) -> _HeldHardware:
    xcps = {xcp.number: xcp for xcp in xcp_devices}
    owners = {listed.device.render_node: listed.gpu.pci_address for listed in devices}
    listed = {each.gpu.pci_address for each in devices}
    found: defaultdict[str, list[tuple[Held, _Hardware, Holder]]] = defaultdict(list)
    for held, containers in sorted(holders.items()):
        hardware = _hardware(held.device_id, xcps, owners)
        if hardware is not None and hardware.gpu in listed:
            found[hardware.gpu].append((held, hardware, containers[0]))
    return found


def _hardware(device_id: str, xcps: Mapping[int, XcpDevice], owners: Mapping[str, str]) -> _Hardware | None:
    if own := _OWN_ID.fullmatch(device_id):
        return _Hardware(own[1], None if own[2] is None else (own[2], int(own[3])))
    if foreign := _XCP_ID.fullmatch(device_id):
        xcp = xcps.get(int(foreign[1]))
        gpu = None if xcp is None else owners.get(xcp.render_node, xcp.gpu)
        return None if xcp is None or gpu is None else _Hardware(gpu, xcp.render_node)
    return None

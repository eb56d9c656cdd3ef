"""What holders mean for the list: hardware held under another ID, and retired IDs that may leave. Pure.

`Retired` and `HeldElsewhere` are facts about IDs: they reach the kubelet in every mode. An ID of another mode
charges the same hardware to a pod as ours would; so does another plugin's `amdgpu_xcp_N`.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from amdgpu_plugin.discovery.inventory import XcpDevice
from amdgpu_plugin.node import Held, Holder, Holders, ListedDevice, Verdict

RETIRED, HELD_ELSEWHERE = "Retired", "HeldElsewhere"
SHORTEST_RETIREMENT_SECONDS = 5.0

_OWN_ID = re.compile(r"([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(?:-([a-z]+)([0-9]{1,4}))?(?:::[0-9]+)?")
_XCP_ID = re.compile(r"amdgpu_xcp[._]([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class _Hardware:
    """What an ID stands for.

    `part` is a mode with a partition's number, or a render node; None is the whole GPU.
    """

    gpu: str
    part: tuple[str, int] | str | None


def without_left(
    devices: tuple[ListedDevice, ...], holders: Holders | None, *, now: float, retire_after_seconds: float
) -> tuple[ListedDevice, ...]:
    """The list without IDs that have been retired for `retire_after_seconds` and that nobody holds.

    Where holders are not known, none leaves: an ID that leaves while it is held counts as free. And none
    leaves before SHORTEST_RETIREMENT_SECONDS: an ID that a running Allocate may name must be seen unhealthy
    first (kubernetes #95041).
    """
    retire_after_seconds = max(retire_after_seconds, SHORTEST_RETIREMENT_SECONDS)
    return tuple(
        listed
        for listed in devices
        if listed.verdict is None
        or listed.verdict.condition != RETIRED
        or holders is None
        or now - listed.verdict.since < retire_after_seconds
        or Held(listed.device.resource, listed.id) in holders
    )


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
    held = _held_hardware(holders or {}, devices, xcp_devices)
    return tuple(_judged(listed, held, now) for listed in devices)


_HeldHardware = Mapping[str, Sequence[tuple[Held, _Hardware, Holder]]]


def _judged(listed: ListedDevice, held: _HeldHardware, now: float) -> ListedDevice:
    before = listed.verdict
    if before is not None and before.condition != HELD_ELSEWHERE:
        return listed
    own = Held(listed.device.resource, _without_replica(listed.id))
    for key, hardware, holder in held.get(listed.gpu.pci_address, ()):
        if key != own and _overlap(listed, hardware):
            detail = f"held as {key.device_id} of {key.resource} by {holder}"
            return replace(listed, verdict=Verdict(HELD_ELSEWHERE, detail, before.since if before else now))
    return replace(listed, verdict=None)


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
            key = Held(held.resource, _without_replica(held.device_id))
            found[hardware.gpu].append((key, hardware, containers[0]))
    return found


def _hardware(device_id: str, xcps: Mapping[int, XcpDevice], owners: Mapping[str, str]) -> _Hardware | None:
    if own := _OWN_ID.fullmatch(device_id):
        return _Hardware(own[1], None if own[2] is None else (own[2], int(own[3])))
    if foreign := _XCP_ID.fullmatch(device_id):
        xcp = xcps.get(int(foreign[1]))
        gpu = None if xcp is None else owners.get(xcp.render_node, xcp.gpu)
        return None if xcp is None or gpu is None else _Hardware(gpu, xcp.render_node)
    return None


def _without_replica(device_id: str) -> str:
    return device_id.partition("::")[0]

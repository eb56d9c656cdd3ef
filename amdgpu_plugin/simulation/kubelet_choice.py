"""What the kubelet decides about devices before it asks for them: pure, randomness passed in.

Enters: the devices of one resource, which of them are available or may be reused, how many are wanted.
Leaves: topology hints, the best of them, and a `Plan` of what to take and what to ask the plugin about.
As the device manager and topology manager of kubelet 1.36 decide (pkg/kubelet/cm/devicemanager/manager.go
and topology_hints.go, pkg/kubelet/cm/topologymanager), for a container whose only hints are these.
"""

import itertools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal

Policy = Literal["none", "best-effort", "restricted", "single-numa-node"]
Ids = frozenset[str]

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_DOMAIN_LIMIT = 253 - len("requests.")  # quotas put that in front of the name


@dataclass(frozen=True, slots=True)
class Device:
    """One line of a ListAndWatch answer. `numa_nodes` is empty without topology."""

    healthy: bool
    numa_nodes: tuple[int, ...] = ()


Devices = Mapping[str, Device]


@dataclass(frozen=True, slots=True)
class Hint:
    """NUMA nodes that could serve a request; None is any. Preferred: no fewer nodes could."""

    nodes: frozenset[int] | None
    preferred: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """How devices are to be chosen.

    `taken` are chosen without asking, and the plugin must include them. It is asked over `ask_over`, unless
    that is empty. What is still missing comes from `then`, one set after the other.
    """

    taken: Ids
    ask_over: Ids = frozenset()
    then: tuple[Ids, ...] = ()


def legal_resource(name: str) -> bool:
    """Whether a device plugin may serve a resource of that name."""
    domain, slash, rest = name.partition("/")
    if not slash or "kubernetes.io/" in name or name.startswith("requests."):
        return False
    return len(domain) <= _DOMAIN_LIMIT and bool(_DOMAIN.fullmatch(domain)) and bool(_NAME.fullmatch(rest))


def healthy(devices: Devices) -> Ids:
    """The IDs of the healthy ones."""
    return frozenset(device_id for device_id, device in devices.items() if device.healthy)


def refusal(resource: str, devices: Devices | None, held: Collection[str]) -> str | None:
    """Why a container cannot be admitted, whatever it still needs; None when it can.

    `devices` is None for a resource nobody has registered, `held` what the container was given before.
    """
    if devices is None:
        return f"cannot allocate unregistered device {resource}"
    if not healthy(devices):
        return f"no healthy devices present; cannot allocate unhealthy devices {resource}"
    if not healthy(devices).issuperset(held):
        return (
            "previously allocated devices are no longer healthy; "
            f"cannot allocate unhealthy devices {resource}"
        )
    return None


def hints(
    devices: Devices, *, available: Ids, reusable: Ids, size: int, numa_nodes: tuple[int, ...]
) -> tuple[Hint, ...] | None:
    """Every set of the machine's NUMA nodes that holds enough; None when no device has topology."""
    if not _has_topology(devices):
        return None
    if len(available | reusable) < size:
        return ()
    masks = [
        frozenset(nodes)
        for count in range(len(numa_nodes))
        for nodes in itertools.combinations(numa_nodes, count + 1)
    ]
    # What is preferred depends on all devices, busy and unhealthy ones too.
    large_enough = [len(mask) for mask in masks if len(_touching(devices, devices.keys(), mask)) >= size]
    smallest = min(large_enough, default=len(numa_nodes))
    placed = frozenset(device_id for device_id in reusable if devices[device_id].numa_nodes)
    return tuple(
        Hint(mask, len(mask) == smallest)
        for mask in masks
        if _touching(devices, placed, mask) == placed
        and len(_touching(devices, available, mask) | placed) >= size
    )


def best_hint(policy: Policy, found: tuple[Hint, ...] | None, numa_nodes: tuple[int, ...]) -> Hint:
    """The hint a container is placed by: preferred, then narrow, then on low nodes."""
    everywhere = frozenset(numa_nodes)
    if policy == "none":
        return Hint(None, preferred=True)
    if policy == "single-numa-node" and found is not None:
        found = tuple(hint for hint in found if hint.preferred and len(hint.nodes or ()) == 1)
    best = Hint(everywhere, preferred=found is None)
    if found:
        best = min(found, key=lambda hint: (not hint.preferred, *_narrowness(hint)))
    if policy == "single-numa-node" and best.nodes == everywhere:
        return Hint(None, best.preferred)
    return best


def admits(policy: Policy, hint: Hint) -> bool:
    """Whether a container may run with that placement."""
    return hint.preferred or policy in {"none", "best-effort"}


def plan(devices: Devices, *, available: Ids, reusable: Ids, size: int, hint: Hint, random: Random) -> Plan:
    """What to take and what to ask. `available` holds at least what `reusable` leaves to be found."""
    taken = _some(reusable, size, random)
    needed = size - len(taken)
    if needed == 0:
        return Plan(taken)
    aligned, unaligned, unplaced = _by_affinity(devices, available, hint)
    if needed < len(aligned):
        return Plan(taken, ask_over=aligned | taken, then=(aligned,))
    taken |= aligned
    if len(taken) == size:
        return Plan(taken)
    return Plan(taken, ask_over=available | taken, then=(unaligned, unplaced))


def finish(plan: Plan, preferred: Collection[str], size: int, random: Random) -> tuple[str, ...]:
    """The devices, in the random order they are asked for. IDs preferred but not asked about are ignored."""
    chosen = plan.taken
    for group in (plan.ask_over.intersection(preferred), *plan.then):
        chosen |= _some(group - chosen, size - len(chosen), random)
    return tuple(random.sample(sorted(chosen), len(chosen)))


def _by_affinity(devices: Devices, available: Ids, hint: Hint) -> tuple[Ids, Ids, Ids]:
    if hint.nodes is None or not _has_topology(devices):
        return frozenset(), frozenset(), available
    aligned = _touching(devices, available, hint.nodes)
    unplaced = frozenset(device_id for device_id in available if not devices[device_id].numa_nodes)
    return aligned, available - aligned - unplaced, unplaced


def _has_topology(devices: Devices) -> bool:
    return any(device.numa_nodes for device in devices.values())


def _touching(devices: Devices, ids: Collection[str], nodes: frozenset[int]) -> Ids:
    return frozenset(device_id for device_id in ids if not nodes.isdisjoint(devices[device_id].numa_nodes))


def _narrowness(hint: Hint) -> tuple[int, int]:
    nodes = hint.nodes or frozenset()
    return len(nodes), sum(1 << node for node in nodes)


def _some(ids: Ids, count: int, random: Random) -> Ids:
    return frozenset(random.sample(sorted(ids), min(count, len(ids))))

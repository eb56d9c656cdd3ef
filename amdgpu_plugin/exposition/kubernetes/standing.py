"""What there is to tell, and of what: conditions of GPUs, of the Node and of pods that hold them. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

from amdgpu_plugin.discovery.inventory import Gpu, device_of
from amdgpu_plugin.health.conditions import FACTS
from amdgpu_plugin.node import GpuStatus, ListedDevice, NodeState

RETIRED = "Retired"

Weight = Literal["unhealthy", "inform"]
"""What a trouble does to devices. Facts about IDs are unhealthy to the kubelet, and nothing is broken."""


class Subject(NamedTuple):
    """A condition of a GPU as one object is told of it: the Node, or the pod `namespace/pod`."""

    gpu: str
    condition: str
    namespace: str = ""
    pod: str = ""

    @property
    def is_fact(self) -> bool:
        """Whether it says something of IDs, and not that a GPU is ill."""
        return self.condition in FACTS


@dataclass(frozen=True, slots=True)
class Trouble:
    """`devices` are the IDs concerned: of a pod's those that it holds. `since` is a UNIX time in seconds."""

    weight: Weight
    detail: str
    since: float
    devices: tuple[str, ...]


def standing(state: NodeState) -> dict[Subject, Trouble]:
    """All that stands now. The Node's own come first, by GPU; then those of pods, if holders are known."""
    of_node = dict(_of_node(state))
    return of_node | dict(_of_pods(state, of_node))


def holdings(state: NodeState) -> frozenset[tuple[str, str, str]]:
    """Which pod holds something of which GPU: PCI address, namespace, name."""
    return frozenset((listed.gpu.pci_address, *pod) for listed, pod in _held(state))


def gpus(state: NodeState) -> Mapping[str, Gpu]:
    """Those that are here and those that were and are still listed, by PCI address."""
    listed = {listed.gpu.pci_address: listed.gpu for listed in state.devices}
    return listed | {gpu.pci_address: gpu for gpu in state.inventory.gpus}


def _of_node(state: NodeState) -> Iterator[tuple[Subject, Trouble]]:
    devices = {
        address: tuple(group) for address, group in groupby(state.devices, lambda each: each.gpu.pci_address)
    }
    for address in sorted({*state.statuses, *devices}):
        listed = devices.get(address, ())
        status = state.statuses.get(address, GpuStatus())
        counted = tuple(each.id for each in listed if not _is(each, RETIRED))
        for each in status.conditions:
            weight: Weight = "unhealthy" if each.effect == "unhealthy" else "inform"
            yield Subject(address, each.name), Trouble(weight, each.detail, each.since, counted)
        yield from _only_listed(address, listed, {condition.name for condition in status.conditions})


def _only_listed(
    address: str, listed: tuple[ListedDevice, ...], known: set[str]
) -> Iterator[tuple[Subject, Trouble]]:
    """Why devices are unhealthy though their GPU has no such condition: facts, or not seen yet."""
    verdicts = {each.verdict.condition: each.verdict for each in listed if each.verdict is not None}
    for name in sorted(verdicts.keys() - known):
        those = tuple(each.id for each in listed if _is(each, name))
        yield Subject(address, name), Trouble("unhealthy", verdicts[name].detail, verdicts[name].since, those)


def _of_pods(state: NodeState, of_node: Mapping[Subject, Trouble]) -> Iterator[tuple[Subject, Trouble]]:
    held: dict[tuple[str, str, str], set[str]] = {}
    for listed, holder in _held(state):
        held.setdefault((listed.gpu.pci_address, *holder), set()).add(listed.id)
    for subject, trouble in of_node.items():
        if trouble.weight == "unhealthy" and not subject.is_fact:
            for (gpu, namespace, pod), ids in sorted(held.items()):
                if gpu == subject.gpu:
                    told = Trouble(trouble.weight, trouble.detail, trouble.since, tuple(sorted(ids)))
                    yield Subject(gpu, subject.condition, namespace, pod), told


def _held(state: NodeState) -> Iterator[tuple[ListedDevice, tuple[str, str]]]:
    """Each listed device with each pod that holds it, whatever resource it is charged as."""
    listed = {device.id: device for device in state.devices}
    for held, holders in (state.holders or {}).items():
        if (device := listed.get(device_of(held.device_id))) is not None:
            for holder in holders:
                yield device, (holder.namespace, holder.pod)


def _is(listed: ListedDevice, condition: str) -> bool:
    return listed.verdict is not None and listed.verdict.condition == condition

"""Which KFD nodes are linked, and with what weight and bandwidth (amdkfd/kfd_crat.c, kfd_topology.c)."""

from collections.abc import Sequence
from dataclasses import dataclass

from amdgpu_plugin.simulation.parts import Board, Wire

_INSIDE_PACKAGE = Wire(kind=11, weight=13, min_bandwidth=819200, max_bandwidth=819200)
_BETWEEN_PACKAGES = 2 * _INSIDE_PACKAGE.weight
_CPU_TO_CPU = 1
_PCIE = 2
_OUTBOUND, _BOTH_WAYS = 1, 3


@dataclass(frozen=True, slots=True)
class GpuNode:
    """A GPU, or partition number `partition` of the `siblings` it is split into. `slot` is an index."""

    slot: int
    partition: int
    siblings: int
    gpu_id: int
    render_minor: int
    simd_id_base: int


@dataclass(frozen=True, slots=True)
class LinkTo:
    """One link, as its starting node shows it; `to` and `flags` are KFD's."""

    to: int
    wire: Wire
    flags: int


@dataclass(frozen=True, slots=True)
class Links:
    """`direct` is `io_links`; `summed`, ways through CPUs, is `p2p_links`."""

    direct: Sequence[LinkTo]
    summed: Sequence[LinkTo]


def links_of(board: Board, gpus: Sequence[GpuNode], number: int) -> Links:
    """The links of the node with that number; `gpus` are numbered after the CPUs."""
    if number < len(board.cpus):
        return _links_of_cpu(board, gpus, number)
    return _links_of_gpu(board, gpus, number)


def _links_of_cpu(board: Board, gpus: Sequence[GpuNode], cpu: int) -> Links:
    between = Wire(kind=_CPU_TO_CPU, weight=board.cpu_distance, sdma_mask=0)
    direct = [LinkTo(other, between, 0) for other in range(len(board.cpus)) if other != cpu]
    summed = []
    for number, gpu in enumerate(gpus, len(board.cpus)):
        if board.slots[gpu.slot].cpu == cpu:
            direct.append(LinkTo(number, board.cpu_wire, _BOTH_WAYS))
        else:
            summed.append(LinkTo(number, _far_cpu(board), _BOTH_WAYS))
    return Links(direct, summed)


def _links_of_gpu(board: Board, gpus: Sequence[GpuNode], number: int) -> Links:
    gpu = gpus[number - len(board.cpus)]
    cpu = board.slots[gpu.slot].cpu
    direct = [LinkTo(cpu, board.cpu_wire, _OUTBOUND)]
    summed = [LinkTo(far, _far_cpu(board), _OUTBOUND) for far in range(len(board.cpus)) if far != cpu]
    for other_number, other in enumerate(gpus, len(board.cpus)):
        if other_number == number:
            continue
        # The node added later brings the link; the way back is a copy of it.
        later, earlier = (gpu, other) if number > other_number else (other, gpu)
        wire = _gpu_wire(board, later, earlier)
        if wire is not None:
            direct.append(LinkTo(other_number, wire, _OUTBOUND))
        else:
            wire = _through_cpus(board, gpu, other, sdma_mask=3 if number > other_number else 0)
            summed.append(LinkTo(other_number, wire, _BOTH_WAYS))
    return Links(direct, summed)


def _gpu_wire(board: Board, later: GpuNode, earlier: GpuNode) -> Wire | None:
    if later.slot == earlier.slot:
        return _INSIDE_PACKAGE
    hive = board.hive_of(later.slot)
    if hive is None or hive != board.hive_of(earlier.slot):
        return None
    xgmi = board.xgmi_wire
    if later.siblings > 1:
        return Wire(kind=xgmi.kind, weight=_BETWEEN_PACKAGES + xgmi.weight, sdma_mask=xgmi.sdma_mask)
    hops = board.xgmi_hops(later.slot, earlier.slot)
    pair = min(later.slot, earlier.slot), max(later.slot, earlier.slot)
    return Wire(
        kind=xgmi.kind,
        weight=xgmi.weight * hops,
        min_bandwidth=xgmi.min_bandwidth,
        max_bandwidth=xgmi.max_bandwidth * board.xgmi_links.get(pair, 1),
        sdma_mask=xgmi.sdma_mask,
    )


def _far_cpu(board: Board) -> Wire:
    return Wire(kind=board.cpu_wire.kind, weight=board.cpu_wire.weight + board.cpu_distance, sdma_mask=0)


def _through_cpus(board: Board, gpu: GpuNode, other: GpuNode, *, sdma_mask: int) -> Wire:
    wire, weight = board.cpu_wire, 2 * board.cpu_wire.weight
    if board.slots[gpu.slot].cpu != board.slots[other.slot].cpu:
        return Wire(kind=_PCIE, weight=weight + board.cpu_distance, sdma_mask=sdma_mask)
    return Wire(_PCIE, weight, wire.min_bandwidth, wire.max_bandwidth, sdma_mask)

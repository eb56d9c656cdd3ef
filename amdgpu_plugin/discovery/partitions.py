"""Which devices a GPU offers: itself, or its compute partitions. Pure.

A partition's render node is handed out only when it is proven to be this GPU's. KFD proves it (render minor
and location). Without KFD, the order of minors does, where nothing is missing: the driver registers seven
xcp devices right after each partitionable GPU, in every mode (amdgpu_xcp.c: MAX_XCP 8).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from amdgpu_plugin.discovery.drm import DrmMinors, Minor
from amdgpu_plugin.discovery.inventory import ComputeDevice
from amdgpu_plugin.discovery.kfd import KfdNode
from amdgpu_plugin.discovery.pci import PciGpu

XCP_DEVICES_PER_GPU = 7
_COUNTS = {"SPX": 1, "DPX": 2, "TPX": 3, "QPX": 4}
# The number of XCCs, which CPX makes one partition each, shows in the modes a GPU may take
# (aqua_vanjaram.c: QPX wants eight, TPX a multiple of three, DPX a multiple of four).
_CPX_COUNT_BY_MODE = (("QPX", 8), ("TPX", 6), ("DPX", 4))


@dataclass(frozen=True, slots=True)
class Unproven:
    """Why a GPU's devices cannot be told."""

    reason: str


def minors_in_order(gpus: Iterable[PciGpu], drm: DrmMinors, foreign: frozenset[str] = frozenset()) -> bool:
    """True when each xcp minor is one of the seven after a GPU that may have them, and nothing else is there.

    A GPU takes the lowest free minors, its own first. Bound into gaps that others left it may have its xcp
    minors behind another's own, seven in a row; then some are out of order elsewhere. A device that would
    not say what it is may be a GPU with partitions; `foreign` are the paths of those that did, and are none.
    """
    whole = {gpu.path for gpu in gpus if _is_never_partitioned(gpu)} | foreign
    known = {minor.device for minor in drm.render_nodes.values() if not minor.is_xcp} - whole
    before: Minor | None = None
    for minor in drm.render_nodes.values():
        near = before is not None and minor.number <= before.number + XCP_DEVICES_PER_GPU
        if minor.is_xcp:
            if before is None or not near or before.device in whole:
                return False
        elif before is not None and near and before.device in known:
            return False
        else:
            before = minor
    return True


def whole_or_partitions(
    gpu: PciGpu, drm: DrmMinors, nodes: tuple[KfdNode, ...], *, kfd_complete: bool, in_order: bool
) -> tuple[ComputeDevice, ...] | Unproven:
    """The GPU's devices (resource not yet named), by partition.

    `nodes` are the KFD nodes proven to be this GPU's; `kfd_complete` says that there are no others, and
    `in_order` (`minors_in_order`) that minors tell whose they are.
    """
    mode = gpu.compute_partition
    if mode == "SPX" or _is_never_partitioned(gpu):
        if len(nodes) > 1:
            return Unproven(f"KFD lists {len(nodes)} nodes, but the GPU is not partitioned: not settled")
        return _whole(gpu, drm, nodes)
    if not isinstance(mode, str):
        # One node, the GPU's own, and no other that could be its: it is whole whatever the file would say.
        own = drm.of(gpu.path, "render")
        if kfd_complete and len(nodes) == 1 and own is not None and nodes[0].render_minor == own.number:
            return _whole(gpu, drm, nodes)
        return Unproven(f"compute partition mode not known ({mode or 'absent'})")
    if not nodes:
        return Unproven("no KFD node yet") if kfd_complete else _inferred(gpu, mode, drm, in_order=in_order)
    if len(nodes) == 1 and mode == "CPX" and (nodes[0].num_xcc or 1) > 1:
        return Unproven("the mode is CPX, but KFD still lists one whole node: not settled")
    if len(nodes) > _COUNTS.get(mode, XCP_DEVICES_PER_GPU + 1):
        return Unproven(f"the mode is {mode}, but KFD lists {len(nodes)} nodes: not settled")
    return _proven(gpu, mode, drm, nodes)


def _is_never_partitioned(gpu: PciGpu) -> bool:
    # A GPU that lists the modes it may take has one, whatever became of the file that tells it.
    return gpu.compute_partition is None and not gpu.available_partitions


def _whole(gpu: PciGpu, drm: DrmMinors, nodes: tuple[KfdNode, ...]) -> tuple[ComputeDevice, ...] | Unproven:
    render = drm.of(gpu.path, "render")
    if render is None:
        return Unproven("no render node")
    return (_device(gpu.address, None, render, drm, nodes[0].number if nodes else None),)


def _proven(gpu: PciGpu, mode: str, drm: DrmMinors, nodes: tuple[KfdNode, ...]) -> tuple[ComputeDevice, ...]:
    return tuple(
        _device(
            f"{gpu.address}-{mode.lower()}{number}",
            number,
            drm.render_nodes[node.render_minor],
            drm,
            node.number,
        )
        for number, node in _numbered(gpu, nodes)
    )


def _numbered(gpu: PciGpu, nodes: tuple[KfdNode, ...]) -> Iterable[tuple[int, KfdNode]]:
    """Each node with its partition's number: the low bits of location_id, else the order of minors.

    The kernel ORs the number into the function's: it is only told apart where that is 0.
    """
    numbers = [node.location_id & 7 for node in nodes]
    told = gpu.address.endswith(".0") and len(set(numbers)) == len(nodes)
    in_order = sorted(nodes, key=lambda node: node.render_minor)
    pairs = zip(numbers, nodes, strict=True) if told else enumerate(in_order)
    return sorted(pairs, key=lambda pair: pair[0])


def _inferred(
    gpu: PciGpu, mode: str, drm: DrmMinors, *, in_order: bool
) -> tuple[ComputeDevice, ...] | Unproven:
    count = _COUNTS.get(mode) or _cpx_count(gpu)
    minors = _own_minors(gpu, drm) if in_order else None
    if count is None or minors is None:
        return Unproven("parent not provable without KFD")
    return tuple(
        _device(f"{gpu.address}-{mode.lower()}{number}", number, minor, drm, None)
        for number, minor in enumerate(minors[:count])
    )


def _cpx_count(gpu: PciGpu) -> int | None:
    return next((count for mode, count in _CPX_COUNT_BY_MODE if mode in gpu.available_partitions), None)


def _own_minors(gpu: PciGpu, drm: DrmMinors) -> tuple[Minor, ...] | None:
    """The GPU's own render minor and its seven xcp minors, if they are exactly that and contiguous."""
    renders = list(drm.render_nodes.values())
    own = drm.of(gpu.path, "render")
    if own is None:
        return None
    start = renders.index(own)
    following: list[Minor] = []
    for minor in renders[start + 1 :]:
        if not minor.is_xcp:
            break
        following.append(minor)
    expected = list(range(own.number + 1, own.number + 1 + XCP_DEVICES_PER_GPU))
    return (own, *following) if [minor.number for minor in following] == expected else None


def _device(
    device_id: str, partition: int | None, render: Minor, drm: DrmMinors, node: int | None
) -> ComputeDevice:
    card = drm.of(render.device, "card")
    return ComputeDevice(
        id=device_id,
        resource="",
        partition=partition,
        render_node=render.name,
        card_node=card.name if card else None,
        kfd_node=node,
    )

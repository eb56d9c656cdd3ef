"""KFD topology: `/sys/class/kfd/kfd/topology/nodes/N`, the compute driver's view of the node.

Format: lines `key value`, unsigned decimal (kernel: drivers/gpu/drm/amd/amdkfd/kfd_topology.c). Reading a
GPU's node needs device-cgroup access to its render node, else gpu_id, name and properties answer EPERM.
Node numbers shift whenever a node is removed: they are good for one scan only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from errno import EACCES, EPERM
from typing import Literal

from amdgpu_plugin.discovery.inventory import KfdAccess, Skipped
from amdgpu_plugin.sysfs import Absent, Names, Refused, Sysfs, Text

NODES = "class/kfd/kfd/topology/nodes"
XGMI, PCIE = 11, 2
"""Link types (kfd_crat.h: CRAT_IOLINK_TYPE_XGMI, _PCIEXPRESS)."""

_DENIED = frozenset({EPERM, EACCES})
_VRAM_HEAPS = frozenset({1, 2})
_HIGHEST = str(2**64 - 1)
_BANK_KEYS = frozenset({"heap_type", "size_in_bytes"})
_LINK_KEYS = frozenset({"type", "node_to", "weight", "max_bandwidth"})
_NODE_KEYS = frozenset(
    {
        "drm_render_minor",
        "location_id",
        "domain",
        "hive_id",
        "unique_id",
        "num_xcc",
        "simd_count",
        "local_mem_size",
    }
)


@dataclass(frozen=True, slots=True)
class KfdLink:
    """An edge of the graph as KFD tells it. `max_bandwidth` is in MB/s, 0 = not known."""

    to: int
    type: int
    weight: int | None
    max_bandwidth: int | None


@dataclass(frozen=True, slots=True)
class KfdNode:
    """A GPU's node. `domain` is None on kernels that do not tell it; `vram_bytes` sums its VRAM banks.

    `location_id` is bus << 8 | devfn, OR-ed with the partition's number where a GPU has several nodes.
    """

    number: int
    render_minor: int
    domain: int | None
    location_id: int
    hive_id: int
    unique_id: int
    num_xcc: int | None
    vram_bytes: int | None
    links: tuple[KfdLink, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class NotAGpu:
    """A CPU's node."""


@dataclass(frozen=True, slots=True)
class Denied:
    """A GPU's node that this process may not read."""


@dataclass(frozen=True, slots=True)
class KfdTopology:
    """All GPU nodes that could be read.

    `complete` says that there are no others; `hung` are the numbers of nodes that did not answer.
    """

    access: KfdAccess
    nodes: tuple[KfdNode, ...]
    complete: bool = False
    hung: tuple[int, ...] = ()
    skipped: tuple[Skipped, ...] = ()


NodeAnswer = KfdNode | NotAGpu | Denied | Skipped


def node_path(number: int) -> str:
    """The node's folder."""
    return f"{NODES}/{number}"


def list_nodes(sysfs: Sysfs) -> tuple[int, ...] | Absent | Refused:
    """The numbers of all nodes; Absent where KFD is not there, Refused where it is denied."""
    names = sysfs.list(NODES)
    if isinstance(names, Refused):
        return names
    if not isinstance(names, Names):
        return Absent()
    return tuple(sorted(int(name) for name in names.value if _is_number(name)))


def read_node(sysfs: Sysfs, number: int, existing: frozenset[int]) -> NodeAnswer:
    """One node; links to nodes not among `existing` are dropped and said. Blocks: for a lane."""
    path = node_path(number)
    gpu_id = _gpu_id(sysfs, path)
    if gpu_id == 0:
        return NotAGpu()
    if isinstance(gpu_id, Denied):
        return gpu_id
    properties = sysfs.read(f"{path}/properties")
    if isinstance(properties, Refused) and properties.errno in _DENIED:
        return Denied()
    if not isinstance(properties, Text):
        return Skipped(
            f"{path}/properties", "vanished" if isinstance(properties, Absent) else str(properties)
        )
    return _understand(sysfs, number, properties.value, gpu_id, existing)


def _understand(
    sysfs: Sysfs, number: int, text: str, gpu_id: int | None, existing: frozenset[int]
) -> NodeAnswer:
    path = node_path(number)
    values = parse_properties(text, _NODE_KEYS)
    if isinstance(values, str):
        return Skipped(f"{path}/properties", values)
    if gpu_id is None and values.get("simd_count") == 0:
        return NotAGpu()
    for needed in ("drm_render_minor", "location_id"):
        if needed not in values:
            return Skipped(f"{path}/properties", f"no {needed}")
    skipped: list[Skipped] = []
    links = _read_links(sysfs, path, existing, skipped)
    return KfdNode(
        number=number,
        render_minor=values["drm_render_minor"],
        domain=values.get("domain"),
        location_id=values["location_id"],
        hive_id=values.get("hive_id", 0),
        unique_id=values.get("unique_id", 0),
        num_xcc=values.get("num_xcc"),
        # local_mem_size is 0 on all but old kernels, which in turn may have no banks to read
        vram_bytes=_read_vram(sysfs, path) or values.get("local_mem_size") or None,
        links=links,
        skipped=tuple(skipped),
    )


def parse_properties(text: str, wanted: frozenset[str]) -> Mapping[str, int] | str:
    """The wanted keys that are there, or the reason why the text cannot be trusted.

    A last line without its line end means the text was cut, and half a number looks like a number.
    """
    text = text.rstrip("\0")
    if not text:
        return "empty"
    if not text.endswith("\n"):
        return "cut short: its last line has no end"
    words = text.split()
    pairs = dict(zip(words[::2], words[1::2], strict=False))
    # Pairs of words are lines wherever every line has its two; a node of 64 partitions has 4,000 such files.
    if len(words) % 2 or not all(_is_number(pairs.get(key)) for key in wanted):
        return _parse_lines(text, wanted)
    return {key: int(pairs[key]) for key in wanted}


def _parse_lines(text: str, wanted: frozenset[str]) -> Mapping[str, int] | str:
    values: dict[str, int] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key in wanted:
            if not _is_number(value):
                return f"{key} is not a number: {value[:40]!r}"
            values[key] = int(value)
    return values


def _is_number(text: str | None) -> bool:
    """True for the decimal of 64 bits, the widest the kernel prints; int() raises on thousands of digits."""
    if text is None or not (text.isdecimal() and text.isascii()):
        return False
    return len(text) < len(_HIGHEST) or (len(text) == len(_HIGHEST) and text <= _HIGHEST)


def _gpu_id(sysfs: Sysfs, path: str) -> int | Denied | None:
    answer = sysfs.read(f"{path}/gpu_id")
    if isinstance(answer, Refused) and answer.errno in _DENIED:
        return Denied()
    text = answer.value.strip("\0\n ") if isinstance(answer, Text) else ""
    return int(text) if _is_number(text) else None


def _read_vram(sysfs: Sysfs, path: str) -> int | None:
    """Bytes of all VRAM banks; None where there are none, or one does not tell its size."""
    banks = sysfs.list(f"{path}/mem_banks")
    total = 0
    for bank in banks.value if isinstance(banks, Names) else ():
        answer = sysfs.read(f"{path}/mem_banks/{bank}/properties")
        values = parse_properties(answer.value, _BANK_KEYS) if isinstance(answer, Text) else str(answer)
        if isinstance(values, str):
            return None
        if values.get("heap_type") in _VRAM_HEAPS:
            total += values.get("size_in_bytes", 0)
    return total or None


def _read_links(
    sysfs: Sysfs, path: str, existing: frozenset[int], skipped: list[Skipped]
) -> tuple[KfdLink, ...]:
    # The folders tell: the counts in properties disagree with them in real captures.
    links: list[KfdLink] = []
    family: Literal["io_links", "p2p_links"]
    for family in ("io_links", "p2p_links"):
        names = sysfs.list(f"{path}/{family}")
        for name in names.value if isinstance(names, Names) else ():
            file = f"{path}/{family}/{name}/properties"
            answer = sysfs.read(file)
            if isinstance(answer, Absent) or (isinstance(answer, Refused) and answer.errno in _DENIED):
                continue
            link = parse_link(answer.value, existing) if isinstance(answer, Text) else str(answer)
            if isinstance(link, KfdLink):
                links.append(link)
            else:
                skipped.append(Skipped(file, link))
    return tuple(links)


def parse_link(text: str, existing: frozenset[int]) -> KfdLink | str:
    """One io_links/N/properties or p2p_links/N/properties, or the reason to drop it."""
    values = parse_properties(text, _LINK_KEYS)
    if isinstance(values, str):
        return values
    if "node_to" not in values or "type" not in values:
        return "no node_to or no type"
    if values["node_to"] not in existing:
        return f"a link to node {values['node_to']}, which does not exist"
    return KfdLink(values["node_to"], values["type"], values.get("weight"), values.get("max_bandwidth"))

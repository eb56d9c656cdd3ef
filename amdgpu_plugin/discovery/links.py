"""The link graph between GPUs. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations

from amdgpu_plugin.discovery.inventory import Gpu, Link, LinkKind, address_order
from amdgpu_plugin.discovery.kfd import PCIE, XGMI, KfdNode

_KINDS: Mapping[int, LinkKind] = {XGMI: "xgmi", PCIE: "pcie"}


def link_graph(gpus: tuple[Gpu, ...], owners: Mapping[str, tuple[KfdNode, ...]]) -> tuple[Link, ...]:
    """One link per pair of GPUs and one per partitioned GPU, sorted.

    `owners` gives each GPU's KFD nodes by its address. Pairs KFD tells of get its weight and bandwidth; a
    pair of which it tells nothing although both GPUs' nodes are readable has no link; the rest is told by
    hive.
    """
    told = _told_by_kfd(owners)
    best = dict(told)
    for gpu in gpus:
        if len(gpu.devices) > 1 and (gpu.pci_address, gpu.pci_address) not in best:
            best[gpu.pci_address, gpu.pci_address] = _link(gpu, gpu, "internal")
    for a, b in combinations(gpus, 2):
        if not (owners.get(a.pci_address) and owners.get(b.pci_address)):
            kind: LinkKind = "xgmi" if a.xgmi_hive is not None and a.xgmi_hive == b.xgmi_hive else "pcie"
            best[a.pci_address, b.pci_address] = _link(a, b, kind)
    known = {gpu.pci_address for gpu in gpus}
    links = (link for link in best.values() if link.a in known and link.b in known)
    return tuple(sorted(links, key=lambda link: (address_order(link.a), address_order(link.b))))


def _link(a: Gpu, b: Gpu, kind: LinkKind) -> Link:
    return Link(a.pci_address, b.pci_address, kind, None, None)


def _told_by_kfd(owners: Mapping[str, tuple[KfdNode, ...]]) -> dict[tuple[str, str], Link]:
    address_of = {node.number: address for address, nodes in owners.items() for node in nodes}
    # Many edges (64 partitions: 4,000) fall into few kinds: each is looked at once.
    edges = {
        (address, address_of[link.to], link.type, link.weight, link.max_bandwidth)
        for address, nodes in owners.items()
        for node in nodes
        for link in node.links
        if link.to in address_of
    }
    best: dict[tuple[str, str], Link] = {}
    for link in _as_links(edges):
        pair = (link.a, link.b)
        if pair not in best or _rank(link) < _rank(best[pair]):
            best[pair] = link
    return best


def _as_links(edges: Iterable[tuple[str, str, int, int | None, int | None]]) -> Iterator[Link]:
    for here, there, kfd_type, weight, bandwidth in edges:
        if kfd_type in _KINDS:
            a, b = sorted((here, there), key=address_order)
            yield Link(a, b, "internal" if a == b else _KINDS[kfd_type], weight, bandwidth or None)


def _rank(link: Link) -> tuple[bool, int, int, str]:
    """Lowest weight first, unknown last; then the widest."""
    return (link.weight is None, link.weight or 0, -(link.bandwidth_mb_s or 0), link.kind)

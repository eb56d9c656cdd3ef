"""Why a choice is what it is, in sentences for people. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

from amdgpu_plugin.allocation.layout import Layout
from amdgpu_plugin.allocation.preference import Choice, Ranked, Request
from amdgpu_plugin.allocation.shares import Spread
from amdgpu_plugin.discovery.inventory import Link, device_of, is_replica

_KINDS = {"xgmi": "XGMI", "pcie": "PCIe"}


def explain(layout: Layout, request: Request, choice: Choice, spread: Spread = "distinct") -> tuple[str, ...]:
    """A sentence for each thing that was weighed; `choice` was made with its runner-up."""
    return tuple(_sentences(layout, request, choice, spread))


def _sentences(layout: Layout, request: Request, choice: Choice, spread: Spread) -> Iterator[str]:
    best = choice.best
    yield _placed(layout, best)
    if request.must_include:
        yield f"{', '.join(sorted(set(request.must_include)))} had to be included"
    if any(map(is_replica, best.devices)):
        yield _shared(best, spread)
    if len(best.devices) == 1:
        yield "one device: no distance to weigh"
    elif choice.exact:
        yield f"total distance {best.cost}: no choice has less"
    else:
        yield f"total distance {best.cost}: the least found before the search was ended"
    yield f"leaves {_whole(layout, best)} whole"
    if choice.runner_up is not None:
        yield f"next best: {_difference(layout, best, choice.runner_up)}"
    elif len(best.devices) == len(set(request.available)):
        yield "it is all that is available"
    else:
        yield "any other choice is at most as good: the lowest IDs are taken"


def _placed(layout: Layout, best: Ranked) -> str:
    places = sorted({layout.gpu_of[device_of(served)] for served in best.devices})
    gpus = [layout.gpus[place] for place in places]
    numa = sorted({gpu.numa_node for gpu in gpus}, key=lambda node: (node is not None, node))
    told = ", ".join("unknown" if node is None else str(node) for node in numa)
    nodes = f"NUMA node{'s' * (len(numa) > 1)} {told}"
    if len(gpus) == 1:
        return f"on one GPU, {gpus[0].pci_address}; {nodes}"
    hives = {gpu.xgmi_hive for gpu in gpus}
    of_hive = " of one hive" if len(hives) == 1 and None not in hives else ""
    return f"on {len(gpus)} GPUs{of_hive}, joined by {_joints(layout, places)}; {nodes}"


def _joints(layout: Layout, places: Sequence[int]) -> str:
    addresses = [layout.gpus[place].pci_address for place in places]
    links = (layout.links.get(frozenset(pair)) for pair in combinations(addresses, 2))
    counted = Counter(map(_joint, links))
    return ", ".join(f"{count} × {joint}" for joint, count in sorted(counted.items(), reverse=True))


def _joint(link: Link | None) -> str:
    if link is None:
        return "no known link"
    kind = _KINDS.get(link.kind, link.kind)
    return kind if link.weight is None else f"{kind} weight {link.weight}"


def _shared(best: Ranked, spread: Spread) -> str:
    distinct = len(set(map(device_of, best.devices)))
    first = "least" if spread == "distinct" else "most"
    told = f"distinct devices first, and of those the {first} shared"
    return told if distinct == len(best.devices) else f"{told}; there are only {distinct}"


def _whole(layout: Layout, ranked: Ranked) -> str:
    gpus = _counted(ranked.gpus_left_whole, "GPU")
    return f"{gpus} and {_counted(ranked.hives_left_whole, 'hive')}" if layout.graph.hive_count else gpus


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'s' * (number > 1)}"


def _difference(layout: Layout, best: Ranked, other: Ranked) -> str:
    if other.cost != best.cost:
        return f"total distance {other.cost}"
    return f"as near, but leaves {_whole(layout, other)} whole"

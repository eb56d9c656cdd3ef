"""All that is known of one GPU, to unfold. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from amdgpu_plugin.discovery.inventory import Link
from amdgpu_plugin.exposition.markup import Inside, element
from amdgpu_plugin.exposition.page.facts import Facts, stand_of
from amdgpu_plugin.exposition.page.troubles import advice_for
from amdgpu_plugin.exposition.view import Board
from amdgpu_plugin.exposition.words import (
    OLD_ROUNDS,
    OLD_SECONDS,
    UNKNOWN,
    counted,
    definitions,
    gib,
    link_key,
    link_words,
    moment,
    part_of,
    percent,
    prose,
    with_unit,
)
from amdgpu_plugin.node import ListedDevice
from amdgpu_plugin.telemetry.readings import AerCounters, Memory, PcieLink, RasCounts, Readings

_Pairs = Iterator[tuple[str, list[Inside]]]
_EFFECTS = {"unhealthy": "makes unhealthy", "inform": "informs", "ignore": "ignored"}


def detail(facts: Facts, board: Board) -> Element:
    """Conditions with advice, what it is, its readings, its devices."""
    interval = facts.view.snapshot.state.policy.get("interval_seconds")
    return element(
        "div",
        *_conditions(board),
        element("section", element("h3", "What it is"), definitions(_identity(facts, board))),
        element("section", element("h3", "Readings"), definitions(_readings(board.readings, interval))),
        element("section", element("h3", "Errors"), definitions(_errors(board))),
        *_devices(facts, board),
        class_="detail",
    )


def _conditions(board: Board) -> Iterator[Element]:
    for each in board.status.conditions:
        yield element(
            "section",
            element("h3", each.name),
            element("p", each.detail),
            element("p", *prose(advice_for(each.name) or ""), class_="advice"),
            element(
                "p",
                f"{_EFFECTS[each.effect]}; found by {each.source}; since ",
                *moment(each.since),
                class_="soft",
            ),
            class_="wide",
        )


def _identity(facts: Facts, board: Board) -> _Pairs:
    gpu = board.gpu
    yield "PCI address", [gpu.pci_address]
    yield "Product", [_known(gpu.product)]
    yield "PCI id", [_known(gpu.pci_id)]
    yield "Unique id", [_known(gpu.unique_id)]
    yield "NUMA node", [_known(gpu.numa_node)]
    yield "VRAM", [gib(gpu.vram_bytes)]
    yield "Partition mode", [f"{_known(gpu.compute_partition)}, memory {_known(gpu.memory_partition)}"]
    yield "XGMI hive", [gpu.xgmi_hive or "none"]
    yield "Kind", ["APU" if gpu.integrated else UNKNOWN if gpu.integrated is None else "discrete"]
    yield "Links", [_links(facts.view.snapshot.state.inventory.links, gpu.pci_address)]


def _links(links: tuple[Link, ...], address: str) -> str:
    sorts = Counter(link_key(link) for link in links if address in {link.a, link.b})
    told = (
        link_words(*sort) if sort[0] == "internal" else f"{link_words(*sort)}: {counted(number, 'GPU')}"
        for sort, number in sorts.items()
    )
    return "; ".join(told) or "none told"


def _readings(readings: Readings | None, interval: object) -> _Pairs:
    if readings is None:
        yield "Readings", ["none that hold now"]
        return
    old_after = OLD_ROUNDS * interval + OLD_SECONDS if isinstance(interval, float | int) else None
    yield "Read", moment(readings.taken_at, old_after=old_after)
    if readings.asleep:
        yield "State", ["asleep: runtime-suspended, and not woken to be read"]
        return
    for each in readings.temperatures:
        limits = [
            f"{word} {limit:.0f} °C"
            for word, limit in (("crit", each.critical_celsius), ("emergency", each.emergency_celsius))
            if limit is not None
        ]
        bracket = f" ({', '.join(limits)})" if limits else ""
        yield f"Temperature, {each.sensor}", [f"{each.celsius:.0f} °C{bracket}"]
    if not readings.temperatures:
        yield "Temperature", [UNKNOWN]
    yield "Power", [part_of(readings.power_watts, readings.power_cap_watts, "W")]
    busy = (
        ("graphics", readings.gfx_busy_ratio),
        ("memory", readings.memory_busy_ratio),
        ("video", readings.vcn_busy_ratio),
    )
    yield "Busy", [", ".join(f"{name} {percent(ratio)}" for name, ratio in busy)]
    if readings.partition_busy_ratios:
        yield "Busy, by partition", [", ".join(map(percent, readings.partition_busy_ratios))]
    for name, memory in (
        ("VRAM", readings.vram),
        ("VRAM, visible", readings.visible_vram),
        ("GTT", readings.gtt),
    ):
        yield name, [_memory(memory)]
    for name, hertz in readings.clocks_hertz.items():
        yield f"Clock, {name}", [f"{hertz / 1e6:.0f} MHz"]
    if readings.fan_rpm is not None:
        yield "Fan", [with_unit(readings.fan_rpm, "rpm")]
    yield "PCIe link", [_pcie(readings.pcie_link)]
    if readings.throttled_by:
        yield "Throttled by", [", ".join(readings.throttled_by)]


def _errors(board: Board) -> _Pairs:
    status, readings = board.status, board.readings
    yield (
        "Resets, flaps, core dumps",
        [f"{status.resets}, {status.flaps}, {status.core_dumps} since the start"],
    )
    if readings is None:
        return
    yield "Memory and block errors (RAS)", [_ras(readings.ras)]
    if readings.ras_unknown:
        yield "Blocks that do not tell", [", ".join(readings.ras_unknown)]
    yield "Bad pages", [_pages(readings)]
    yield "PCIe replays", [_known(readings.pcie_replays)]
    yield "PCIe errors (AER)", [_aer(readings.aer)]


def _pages(readings: Readings) -> str:
    pages, limit = readings.bad_pages, readings.bad_page_threshold
    if pages is None:
        return UNKNOWN
    told = f"{pages.retired} retired, {pages.pending} pending, {pages.unreservable} that cannot be reserved"
    return told if limit is None else f"{told} (limit {limit})"


def _aer(errors: AerCounters | None) -> str:
    if errors is None:
        return UNKNOWN
    kinds = ((errors.correctable, "correctable"), (errors.nonfatal, "nonfatal"), (errors.fatal, "fatal"))
    return ", ".join(f"{_known(count)} {kind}" for count, kind in kinds)


def _ras(blocks: Mapping[str, RasCounts]) -> str:
    if not blocks:
        return UNKNOWN
    counts = {
        name: (each.uncorrectable, each.correctable, each.deferred or 0)
        for name, each in blocks.items()
        if each.uncorrectable or each.correctable or each.deferred
    }
    if not counts:
        return f"none in {counted(len(blocks), 'block')}"
    return "; ".join(
        f"{name}: {uncorrectable} uncorrectable, {correctable} correctable, {deferred} deferred"
        for name, (uncorrectable, correctable, deferred) in counts.items()
    )


def _memory(memory: Memory | None) -> str:
    if memory is None:
        return UNKNOWN
    return part_of(memory.used_bytes, memory.size_bytes, "GiB")


def _pcie(link: PcieLink | None) -> str:
    if link is None:
        return UNKNOWN
    most = _lanes(link.max_lanes, link.max_transfers_per_second)
    return f"{_lanes(link.lanes, link.transfers_per_second)}; at most {most}"


def _lanes(lanes: int | None, transfers: float | None) -> str:
    speed = "speed not known" if transfers is None else f"{transfers / 1e9:g} GT/s"
    return f"{'lanes not known' if lanes is None else f'{lanes} lanes'}, {speed}"


def _devices(facts: Facts, board: Board) -> Iterator[Element]:
    listed = facts.listed(board.gpu.pci_address)
    if not listed:
        return
    heads = ("Device ID", "Resource", "Health", "Render node", "Card", "KFD node", "Shares", "Held by")
    rows = (
        element(
            "tr",
            element("th", each.id, scope="row"),
            *(
                element("td", cell)
                for cell in (
                    each.device.resource,
                    stand_of(each, board).word if each.verdict is None else str(each.verdict),
                    each.device.render_node,
                    each.device.card_node or "–",
                    _known(each.device.kfd_node),
                    str(each.device.replicas),
                )
            ),
            element("td", *holders(facts, each)),
        )
        for each in listed
    )
    yield element(
        "section",
        element("h3", "Devices"),
        element(
            "div",
            element(
                "table",
                element("caption", f"Devices of {board.gpu.pci_address}", class_="unseen"),
                element("thead", element("tr", *(element("th", head, scope="col") for head in heads))),
                element("tbody", *rows),
            ),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label=f"Devices of {board.gpu.pci_address}",
        ),
        class_="wide",
    )


def holders(facts: Facts, listed: ListedDevice) -> list[Inside]:
    """Who holds a device: namespace/pod, and the container."""
    if not facts.holders_known:
        return [element("span", UNKNOWN, class_="soft")]
    found = facts.held.get(listed.id, [])
    if not found:
        return [element("span", "free", class_="soft")]
    return [
        element(
            "span",
            f"{holder.namespace}/", element("wbr"), holder.pod,
            element("span", f" {holder.container}", class_="soft"),
            class_="holder",
        )
        for holder in found
    ]  # fmt: skip


def _known(value: object) -> str:
    return UNKNOWN if value is None else str(value)

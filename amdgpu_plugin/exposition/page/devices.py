"""The table of GPUs: board readings once for each, its partitions under it, its detail to unfold. Pure."""

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from amdgpu_plugin.exposition.markup import Inside, Level, element, mark
from amdgpu_plugin.exposition.page.detail import detail, holders
from amdgpu_plugin.exposition.page.facts import Facts, board_stand, product_of, stand_of
from amdgpu_plugin.exposition.picture.drawing import Stand
from amdgpu_plugin.exposition.view import RETIRED, Board
from amdgpu_plugin.exposition.words import UNKNOWN, counted, moment, part_of, percent, with_unit
from amdgpu_plugin.node import ListedDevice
from amdgpu_plugin.telemetry.readings import Readings

_HEADS = ("GPU", "Health", "Held by", "Temp.", "Power", "VRAM", "Busy")
_READING_HEADS = _HEADS[3:]


def devices_table(facts: Facts) -> Element:
    """A body of rows for each GPU."""
    heads = (element("th", head, scope="col") for head in _HEADS)
    return element(
        "table",
        element("caption", "GPUs and devices", class_="unseen"),
        element("thead", element("tr", *heads)),
        *(_body(facts, board) for board in facts.view.boards),
        class_="devices",
    )


def anchor(address: str) -> str:
    """The id of a GPU's rows."""
    return f"gpu-{address}"


def _body(facts: Facts, board: Board) -> Element:
    address = board.gpu.pci_address
    listed = facts.listed(address)
    single = len(listed) == 1 and listed[0].device.partition is None
    stand = board_stand(facts, board)
    return element(
        "tbody",
        _row(facts, board, stand, single=single),
        _reasons(facts, board),
        None if single or not listed else _partitions(facts, board, listed),
        element("tr", element("td", _unfolding(facts, board), colspan=len(_HEADS)), class_="more"),
        class_=stand.level,
        id=anchor(address),
    )


def _row(facts: Facts, board: Board, stand: Stand, *, single: bool) -> Element:
    gpu = board.gpu
    about = [] if len(facts.products) == 1 else [product_of(gpu)]
    about.append("NUMA not known" if gpu.numa_node is None else f"NUMA {gpu.numa_node}")
    if gpu.compute_partition not in {None, "SPX"}:
        about.append(f"{gpu.compute_partition}/{gpu.memory_partition or '?'}")
    return element(
        "tr",
        element(
            "th",
            element("span", gpu.pci_address, class_="id"),
            element("span", " · ".join(about), class_="soft"),
            scope="row",
        ),
        element("td", *_health(facts, board, stand), data_head="Health", class_="health"),
        element("td", *_held_by(facts, board, single=single), data_head="Held by", class_="held"),
        *_readings(board.readings),
        class_="gpu",
    )


def _health(facts: Facts, board: Board, stand: Stand) -> Iterator[Inside]:
    current = [each for each in facts.listed(board.gpu.pci_address) if not _is_retired(each)]
    yield mark(stand.level)
    yield " "
    yield element("strong", _health_word(current, stand), class_=stand.level)
    if board.gpu.left_out is not None and not current:
        yield element("span", board.gpu.left_out, class_="soft")


def _reasons(facts: Facts, board: Board) -> Element | None:
    """Verdicts and conditions, each with its detail and since when; across the table."""
    verdicts = dict.fromkeys(
        each.verdict
        for each in facts.listed(board.gpu.pci_address)
        if each.verdict is not None and not _is_retired(each)
    )
    named = {verdict.condition for verdict in verdicts}
    lines = [_reason("bad", each.condition, each.detail, each.since) for each in verdicts]
    lines += [
        _reason("warn", each.name, each.detail, each.since)
        for each in board.status.conditions
        if each.name not in named
    ]
    if not lines:
        return None
    return element("tr", element("td", element("ul", *lines), colspan=len(_HEADS)), class_="reasons")


def _reason(level: Level, name: str, told: str, since: float) -> Element:
    return element("li", element("strong", name, class_=level), f": {told}, since ", *moment(since))


def _health_word(current: Sequence[ListedDevice], stand: Stand) -> str:
    if not current:
        return stand.word[:1].upper() + stand.word[1:]
    healthy = sum(each.healthy for each in current)
    if len(current) > 1:
        return f"{healthy} of {len(current)} healthy"
    return "Healthy" if healthy else "Unhealthy"


def _is_retired(listed: ListedDevice) -> bool:
    return listed.verdict is not None and listed.verdict.condition == RETIRED


def _held_by(facts: Facts, board: Board, *, single: bool) -> list[Inside]:
    listed = facts.listed(board.gpu.pci_address)
    if not listed:
        return [element("span", "–", class_="soft")]
    if not facts.holders_known:
        return [element("span", UNKNOWN, class_="soft")]
    if single:
        return holders(facts, listed[0])
    count = sum(bool(facts.held.get(each.id)) for each in listed)
    return [f"{count} of {counted(len(listed), 'device')}"]


def _readings(readings: Readings | None) -> Iterator[Element]:
    if readings is None or readings.asleep:
        told = "no readings" if readings is None else "asleep, and not woken to be read"
        yield element(
            "td", element("span", told, class_="soft"), colspan=len(_READING_HEADS), class_="unread"
        )
        return
    hottest = max(readings.temperatures, key=lambda each: each.celsius, default=None)
    vram = readings.vram
    used, size = (vram.used_bytes, vram.size_bytes) if vram else (None, None)
    cells = (
        (with_unit(None if hottest is None else hottest.celsius, "°C"), None),
        (
            part_of(readings.power_watts, readings.power_cap_watts, "W"),
            _ratio(readings.power_watts, readings.power_cap_watts),
        ),
        (part_of(used, size, "GiB"), _ratio(used, size)),
        (percent(readings.gfx_busy_ratio), readings.gfx_busy_ratio),
    )
    for head, (told, ratio) in zip(_READING_HEADS, cells, strict=True):
        unknown = "soft" if told == UNKNOWN else None
        yield element(
            "td", element("span", told, class_=unknown), _bar(ratio), data_head=head, class_="number"
        )


def _ratio(used: float | None, size: float | None) -> float | None:
    return None if used is None or not size else used / size


def _bar(ratio: float | None) -> Element | None:
    """A bar beside its number."""
    if ratio is None:
        return None
    filled = element("rect", width=100 * min(1.0, max(0.0, ratio)), height=4)
    return element(
        "svg", filled, class_="bar", viewBox="0 0 100 4", preserveAspectRatio="none", aria_hidden="true"
    )


def _partitions(facts: Facts, board: Board, listed: Sequence[ListedDevice]) -> Element:
    shown = element("ul", *(_partition(facts, board, each) for each in listed), class_="parts")
    return element("tr", element("td", shown, colspan=len(_HEADS)), class_="partitions")


def _partition(facts: Facts, board: Board, listed: ListedDevice) -> Element:
    stand = stand_of(listed, board)
    name = (
        listed.id.removeprefix(f"{board.gpu.pci_address}-")
        if listed.device.partition is not None
        else "whole"
    )
    told = None if stand.level == "good" else element("span", stand.word, class_=f"reason {stand.level}")
    unseen = element("span", "healthy", class_="unseen") if told is None else None
    return element(
        "li",
        mark(stand.level), " ", element("strong", name), " ", unseen, told, " ", *_pods(facts, listed),
        class_=stand.level,
    )  # fmt: skip


def _pods(facts: Facts, listed: ListedDevice) -> list[Inside]:
    pods = dict.fromkeys(map(str, facts.held.get(listed.id, ())))
    return [element("span", pod, class_="holder") for pod in pods] or holders(facts, listed)


def _unfolding(facts: Facts, board: Board) -> Element:
    address = board.gpu.pci_address
    return element(
        "details",
        element("summary", "Details", element("span", f" of {address}", class_="unseen")),
        detail(facts, board),
        id=f"more-{address}",
    )

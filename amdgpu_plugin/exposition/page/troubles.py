"""What is amiss on the node, worst first, each with what is known of it and what to do. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from amdgpu_plugin.exposition.markup import Level
from amdgpu_plugin.exposition.page.facts import Facts
from amdgpu_plugin.exposition.view import RETIRED, Board
from amdgpu_plugin.exposition.words import counted
from amdgpu_plugin.health.conditions import CONDITIONS
from amdgpu_plugin.node import Condition, Verdict


@dataclass(frozen=True, slots=True)
class Trouble:
    """`bad`: pods get less than there is. `warn`: nothing is kept from them, but somebody should look.

    `gpu` is None for what is the matter with the node. `devices` are those it makes unhealthy, `pods` who
    holds any of them, `also` what else the GPU has. `remark` is what to know, `advice` what to do; `code` in
    backquotes.
    """

    level: Literal["bad", "warn"]
    name: str
    detail: str
    gpu: str | None = None
    since: float | None = None
    devices: tuple[str, ...] = ()
    pods: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    remark: str | None = None
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class Headline:
    """How the node is, in one line."""

    level: Level
    text: str


def troubles(facts: Facts) -> tuple[Trouble, ...]:
    """Bad ones first; then in the order of the node."""
    found = chain(
        _of_node(facts), chain.from_iterable(_of_board(facts, board) for board in facts.view.boards)
    )
    return tuple(sorted(found, key=lambda trouble: trouble.level != "bad"))


def headline(facts: Facts, found: Iterable[Trouble]) -> Headline:
    """What is wrong, or that all is well."""
    found = tuple(found)
    devices = facts.view.devices
    ill = sum(not listed.healthy for listed in devices)
    if ill:
        return Headline("bad", f"{ill} of {counted(len(devices), 'device')} unhealthy")
    whole = f"All {len(devices)} devices healthy" if len(devices) > 1 else "The one device is healthy"
    bad = next((trouble for trouble in found if trouble.level == "bad"), None)
    if bad is not None:
        return Headline("bad", f"{whole}, but {bad.name}" if devices else _capital(bad.name))
    if not devices:
        return Headline("none", "No GPU to serve")
    if found:
        return Headline("warn", f"{whole}; {counted(len(found), 'thing')} to look at")
    return Headline("good", whole)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _of_node(facts: Facts) -> Iterator[Trouble]:
    snapshot = facts.view.snapshot
    expected, there = snapshot.about.expected_gpus, len(snapshot.state.inventory.gpus)
    if expected is not None and there < expected:
        yield Trouble(
            "bad",
            f"{there} of {expected} GPUs are there",
            f"`devices.expect` says that this node has {expected}.",
            advice="See what was not used below, `lspci -d 1002:` and `dmesg`; or mend the number.",
        )
    for resource in snapshot.state.resources:
        registration = snapshot.registration(resource)
        if registration.live:
            continue
        said = ": ".join(filter(None, (registration.phase, registration.detail)))
        stream = ", but no stream is open" if registration.registered else ""
        yield Trouble(
            "bad",
            f"the kubelet does not hear of {resource}",
            f"{_capital(said)}{stream}.",
            advice="Another device plugin serves it: remove one of the two."
            if registration.conflict
            else "No new pod gets these devices. `amdgpu-plugin doctor` in the pod says what is in the way.",
        )
    if snapshot.state.guard_active:
        yield Trouble(
            "warn",
            "Every GPU has the same trouble at once",
            "That is more likely this plugin's or the node's than all GPUs', so that it informs only.",
            advice="Look at the node's load, at `/dev/dri`, and at the plugin's log.",
        )


def _of_board(facts: Facts, board: Board) -> Iterator[Trouble]:
    address = board.gpu.pci_address
    verdicts: dict[Verdict, list[str]] = {}
    for listed in facts.listed(address):
        if listed.verdict is not None and listed.verdict.condition != RETIRED:
            verdicts.setdefault(listed.verdict, []).append(listed.id)
    named = {verdict.condition for verdict in verdicts}
    others = [condition for condition in board.status.conditions if condition.name not in named]
    for verdict, ids in verdicts.items():
        held = any(each.name == verdict.condition and each.held for each in board.status.conditions)
        yield Trouble(
            "bad",
            verdict.condition,
            verdict.detail,
            address,
            verdict.since,
            tuple(ids),
            _pods(facts, ids),
            tuple(f"{each.name}: {each.detail}" for each in others),
            _HELD if held else None,
            advice_for(verdict.condition),
        )
    if not verdicts:
        for condition in others:
            yield _trouble(facts, address, condition, board.status.would_be)


def _pods(facts: Facts, ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(holder) for each in ids for holder in facts.held.get(each, ())))


_HELD = "Its cause is gone; it ends with the recovery hold."


def _trouble(facts: Facts, address: str, condition: Condition, would_be: Verdict | None) -> Trouble:
    kept_back = would_be is not None and would_be.condition == condition.name
    remark = "Kept from the kubelet by observe mode." if kept_back else _HELD if condition.held else None
    return Trouble(
        "warn",
        condition.name,
        condition.detail,
        address,
        condition.since,
        pods=_pods(facts, (listed.id for listed in facts.listed(address))),
        remark=remark,
        advice=advice_for(condition.name),
    )


def advice_for(condition: str) -> str | None:
    """What the table of conditions says to do."""
    kind = CONDITIONS.get(condition)
    return None if kind is None else kind.advice

"""What befalls a GPU, and what the kubelet hears of it: a simulated node, its monitor, and clocks by hand."""

import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from amdgpu_plugin.exposition.rendering import exposed
from amdgpu_plugin.health.conditions import CONDITIONS
from amdgpu_plugin.health.evidence import Acknowledged
from amdgpu_plugin.health.hearing import AFTER_SECONDS
from amdgpu_plugin.health.settling import SETTLE_SECONDS
from amdgpu_plugin.node import Held, Holder, Verdict
from amdgpu_plugin.simulation import rehearsals
from amdgpu_plugin.simulation.node import SimulatedNode
from amdgpu_plugin.sysfs import Text
from tests.health import worlds
from tests.health.worlds import (
    GPU,
    INTERVAL,
    NOW,
    A,
    B,
    C,
    Kernel,
    World,
    as_saved,
    conditions_of,
    heard_by_kubelet,
    listed,
    monitoring,
    parts,
    told,
    verdict_of,
    whole,
)
from tests.kubelet.worlds import until

HOLD = 60.0
DEADLINE = 0.2
"""Of the machine's own time: a test waits for it."""
NEVER = 10_000.0
"""Seconds between looks where only events are to tell."""

world = partial(worlds.world, faults=True, interval=INTERVAL, hold=HOLD)


def write(node: SimulatedNode, address: str, name: str, body: str | None) -> None:
    """A file of the GPU's folder says that, or is gone."""
    file = Path(node.path_of(address)) / name
    if body is None:
        file.unlink()
    else:
        file.write_text(body)


def conditions_told(it: World, address: str = A) -> set[str]:
    """All that was ever told of a GPU."""
    return {told(state, address) for state in it.state.history}


# -- Driver and bus --


async def test_an_unbind_is_told_with_its_event(scratch: Path) -> None:
    async with world(scratch, "mi300x:2", events=True, period=NEVER) as it:
        await it.passes(7)
        it.node.unbind(A)
        state = await it.tells("!DriverUnbound")
        assert (conditions_of(state)[0].source, state.heard_at) == ("uevent", 7)
        assert listed(state) == whole(A, ill="DriverUnbound") | whole(B)


async def test_an_unbind_without_an_event_is_seen(scratch: Path) -> None:
    async with world(scratch, "mi300x:2") as it:
        it.node.unbind(A)
        state = await it.tells("!DriverUnbound")
        assert (conditions_of(state)[0].source, state.heard_at) == ("presence", None)
        assert listed(state) == whole(A, ill="DriverUnbound") | whole(B)


@pytest.mark.parametrize(
    ("words", "then"),
    [
        ("none", ""),
        ("rebind,bus-reset", "!Wedged"),
        ("unknown", "!Wedged"),
        ("vendor-specific", "!Wedged"),
        ("wait-and-hope", "Wedged"),
    ],
)
async def test_what_the_kernel_says_when_a_gpu_wedges(scratch: Path, words: str, then: str) -> None:
    async with world(scratch, "mi300x:2", events=True) as it:
        it.node.wedge(A, words)
        state = await until(it.state, lambda state: state.statuses[A].resets == 1)
        ill = then.removeprefix("!") if then.startswith("!") else None
        assert told(state) == then
        assert listed(state) == whole(A, ill=ill) | whole(B)
        await it.round()
        await it.round()
        assert told(it.state.value) == then
        it.node.reload(A)
        await it.tells(f"!DriverUnbound~ {then}~" if then else "!DriverUnbound~")
        await it.passes(HOLD)
        await it.tells("")
        assert told(it.state.value, B) == ""


@pytest.mark.parametrize("where", ["gpu", "bridge"])
async def test_a_failed_recovery_of_the_bus_lasts_until_two_good_rounds(scratch: Path, where: str) -> None:
    async with world(scratch, "mi300x:2", events=True) as it:
        it.node.bus_error(A, "failed", at_bridge=where == "bridge")
        await it.tells("!BusError")
        assert told(it.state.value, B) == ""
        for _ in range(3):
            await it.round()
        assert told(it.state.value) == "!BusError"
        it.node.sysfs.lift(A, "bus")  # the GPU answers, though nobody said so
        await it.round()
        assert told(it.state.value) == "!BusError"
        await it.round()
        assert told(it.state.value) == "!BusError~"
        await it.passes(HOLD - 1)
        await it.survey_rounds(1)
        assert listed(it.state.value) == whole(A, ill="BusError") | whole(B)
        await it.passes(1)
        await it.lists(whole(A, B))


async def test_a_bus_error_above_a_gpu_that_has_not_answered_yet_is_told(scratch: Path) -> None:
    kernel = Kernel()
    node = SimulatedNode.create(scratch / "node", "mi300x:2", on_uevent=kernel)
    async with monitoring(node) as it:
        earlier = as_saved(it.monitor.remembered)
    silent = f"{A}/mem_info_vram_total"
    async with monitoring(node, earlier=earlier, kernel=kernel, held=silent, patience=DEADLINE) as it:
        node.bus_error(A, "failed", at_bridge=True)
        state = await until(it.state, lambda state: "BusError" in told(state))
        assert listed(state) == whole(A, ill="BusError") | whole(B)


async def test_a_recovery_of_the_bus_without_an_end_is_an_error_after_a_minute(scratch: Path) -> None:
    async with world(scratch, "mi300x:2", events=True) as it:
        it.node.bus_error(A, "begin")
        it.node.wedge(B, "none")  # behind it on the same socket
        await until(it.state, lambda state: state.statuses[B].resets == 1)
        await it.passes(59)
        await it.survey_rounds(3)
        assert conditions_told(it) == {""}
        await it.passes(1)
        await it.tells("!BusError")
        it.node.bus_error(A, "recovered")
        await it.tells("!BusError~")


async def test_a_recovery_of_the_bus_that_succeeds_is_never_an_error(scratch: Path) -> None:
    async with world(scratch, "mi300x:2", events=True) as it:
        it.node.bus_error(A, "begin")
        it.node.bus_error(A, "recovered")
        it.node.wedge(B, "none")
        await until(it.state, lambda state: state.statuses[B].resets == 1)
        await it.passes(1000)
        await it.round()
        assert conditions_told(it) == {""}


async def test_flapping_every_second_for_a_minute_is_one_unhealthy_and_one_healthy(scratch: Path) -> None:
    async with world(scratch, "apu", events=True) as it:
        (address,) = it.node.addresses
        for _ in range(30):
            it.node.unbind(address)
            await it.tells("!DriverUnbound", address)
            await it.passes(1)
            it.node.bind(address)
            await it.tells("!DriverUnbound~", address)
            await it.passes(1)
        await it.passes(HOLD - 2)
        await it.survey_rounds(2)
        assert told(it.state.value, address) == "!DriverUnbound~"
        await it.passes(1)
        await it.lists(whole(address))
        assert heard_by_kubelet(it.state.history, address) == [None, "DriverUnbound", None]
        assert (it.state.value.statuses[address].flaps, it.state.value.revision) == (29, 2)


# -- Counts and temperatures --


async def test_errors_count_from_first_sight_over_a_restart_until_acknowledged(scratch: Path) -> None:
    node = SimulatedNode.create(scratch / "node", "mi300x:2")
    monitored = partial(monitoring, node, faults=True, interval=INTERVAL, hold=HOLD)
    node.ras_errors(A, ue=5)
    async with monitored() as it:
        await it.tells("UncorrectableErrors")
        assert listed(it.state.value) == whole(A, B)
        node.ras_errors(A, ue=1)
        await it.round()
        await it.lists(whole(A, ill="UncorrectableErrors"), whole(B))
        verdict = verdict_of(it.state.value, A)
        assert verdict == Verdict("UncorrectableErrors", "umc 1 since first seen", since=NOW + INTERVAL)
        saved = as_saved(it.monitor.remembered)
    async with monitored(earlier=saved, clock=(5000.0, NOW + 100)) as it:
        assert listed(it.state.value) == whole(A, ill="UncorrectableErrors") | whole(B)
        for _ in range(3):
            await it.passes(HOLD)
        assert (told(it.state.value), verdict_of(it.state.value, A)) == ("!UncorrectableErrors", verdict)
        it.monitor.acknowledge(A, Acknowledged("UncorrectableErrors", "memory was tested", None))
        known = [it.monitor.is_acknowledged(gpu, "UncorrectableErrors") for gpu in (A, B, "none")]
        assert known == [True, False, False]
        assert listed(it.state.value) == whole(A, B)
        await it.round()
        assert listed(it.state.value) == whole(A, B)
        node.ras_errors(A, ue=1)
        await it.round()
        await it.lists(whole(A, ill="UncorrectableErrors"), whole(B))


async def test_a_style_keeps_its_name_over_a_restart(scratch: Path) -> None:
    """Also when all that is left on the node is of that style."""
    node = SimulatedNode.create(scratch / "node", "mi300x:2")
    node.remove(B)
    monitored = partial(monitoring, node, interval=INTERVAL)
    new = "amd.com/cpx_nps1"
    async with monitored() as it:
        await changes_to_cpx(it, A)
        await it.lists(whole(A, ill="Retired"), parts(A, "cpx", new))
        saved = as_saved(it.monitor.remembered)
    async with monitored(earlier=saved) as it:
        await it.lists(whole(A, ill="Retired"), parts(A, "cpx", new))
        node.add(B)
        await it.lists(whole(A, ill="Retired"), parts(A, "cpx", new), whole(B))
        await changes_to_cpx(it, B)
        await it.lists(whole(A, B, ill="Retired"), parts(A, "cpx", new), parts(B, "cpx", new))


async def changes_to_cpx(it: World, address: str) -> None:
    it.node.repartition(address, "CPX")
    await until(it.state, lambda state: "Retired" in str(verdict_of(state, address)))
    await it.survey_rounds(1)
    await it.passes(SETTLE_SECONDS)


@pytest.mark.parametrize(
    "body",
    ["Query currently inaccessible\n", "", "\0\0\0\0", "ue: 0\nce", "ue: -7\nce: 0\n", "ue: 99 pages\n"],
)
@pytest.mark.parametrize(("more", "then"), [(0, ""), (1, "!UncorrectableErrors")])
async def test_a_count_that_cannot_be_understood_changes_no_verdict(
    scratch: Path, body: str, more: int, then: str
) -> None:
    async with world(scratch, "mi210:1") as it:
        (address,) = it.node.addresses
        it.node.ras_errors(address, ue=more)
        await it.round()
        assert told(it.state.value, address) == then
        write(it.node, address, "ras/umc_err_count", body)
        await it.round()
        assert it.state.value.readings[address].ras_unknown == ("umc",)
        assert told(it.state.value, address) == then


async def test_a_count_that_falls_is_a_new_baseline(scratch: Path) -> None:
    async with world(scratch, "mi210:1") as it:
        (address,) = it.node.addresses
        it.node.ras_errors(address, ue=9)
        await it.round()
        assert told(it.state.value, address) == "!UncorrectableErrors"
        write(it.node, address, "ras/umc_err_count", "ue: 4\nce: 0\n")
        await it.round()
        assert told(it.state.value, address) == "!UncorrectableErrors~"
        write(it.node, address, "ras/umc_err_count", "ue: 5\nce: 0\n")
        await it.round()
        assert told(it.state.value, address) == "!UncorrectableErrors"


def limits(**bodies: str | None) -> Callable[[SimulatedNode, str], None]:
    def change(node: SimulatedNode, address: str) -> None:
        for name, body in bodies.items():
            write(node, address, f"hwmon/hwmon0/{name}", body)

    return change


OLD_CARD = limits(temp1_crit="85000\n", temp1_emergency=None)


@pytest.mark.parametrize(
    ("card", "sensor", "readings", "then"),
    [
        (limits(), "junction", [109, 110, 109], ["", "Hot", "Hot"]),
        (limits(), "junction", [110, 104], ["", ""]),
        (limits(), "junction", [110, 110, 104], ["", "!Overheated Hot", "!Overheated~ Hot~"]),
        (OLD_CARD, "edge", [86, 86, 84], ["", "Hot", "Hot~"]),
        (limits(temp2_emergency="0\n"), "junction", [104, 104], ["", ""]),
        (limits(temp2_emergency="255000\n"), "junction", [140, 140], ["", "Hot"]),
        (limits(temp2_crit="0\n", temp2_emergency="0\n"), "junction", [140, 140], ["", ""]),
    ],
)
async def test_temperatures_count_by_the_cards_own_limits(
    scratch: Path,
    card: Callable[[SimulatedNode, str], None],
    sensor: str,
    readings: list[float],
    then: list[str],
) -> None:
    async with world(scratch, "mi210:1") as it:
        (address,) = it.node.addresses
        card(it.node, address)
        was = []
        for celsius in readings:
            it.node.heat(address, sensor, celsius)
            await it.round()
            was.append(told(it.state.value, address))
        assert was == then


# -- Answers --


async def test_a_gpu_that_hangs_is_ill_alone_and_heals_when_it_answers(scratch: Path) -> None:
    async with world(scratch, "mi300x:2", deadline=DEADLINE) as it:
        it.hangs = {A}
        it.node.hang(A)
        state = await it.tells("!Unresponsive")
        assert conditions_of(state)[0].source == "lane"
        assert listed(state) == whole(A, ill="Unresponsive") | whole(B)
        await it.round()
        it.node.hang(A, on=False)
        await it.tells("!Unresponsive~")
        it.hangs = set()
        await it.passes(HOLD)
        await it.lists(whole(A, B))
        assert conditions_told(it, B) == {""}


async def test_when_all_gpus_hang_it_is_more_likely_ours(scratch: Path) -> None:
    async with world(scratch, "mi300x:2", deadline=DEADLINE) as it:
        it.hangs = {A, B}
        it.node.hang(A)
        await it.lists(whole(A, ill="Unresponsive"), whole(B))
        it.node.hang(B)
        state = await until(it.state, lambda state: state.guard_active)
        assert (told(state, A), told(state, B)) == ("Unresponsive", "Unresponsive")
        assert listed(state) == whole(A, B)
        await it.passes(1000)
        await it.survey_rounds(2)
        assert listed(it.state.value) == whole(A, B)
        it.node.hang(A, on=False)
        it.node.hang(B, on=False)
        await it.tells("Unresponsive~", A)
        await it.tells("Unresponsive~", B)
        it.hangs = set()
        await it.passes(HOLD)
        await until(it.state, lambda state: not state.guard_active)
        assert listed(it.state.value) == whole(A, B)


async def test_when_nothing_answers_it_is_the_plugin_that_starves(scratch: Path) -> None:
    async with world(scratch, "mi300x:2", deadline=DEADLINE, patience=DEADLINE) as it:
        it.node.starve()
        await it.tells("PluginStarved", A)
        await it.tells("PluginStarved", B)
        it.node.starve(on=False)
        await it.tells("PluginStarved~", A)
        await it.passes(HOLD)
        await it.tells("", A)
        assert conditions_told(it) | conditions_told(it, B) == {"", "PluginStarved", "PluginStarved~"}
        assert {frozenset(listed(state).items()) for state in it.state.history} == {
            frozenset(whole(A, B).items())
        }


async def test_a_daemon_that_stood_still_for_40_seconds_blames_nobody(scratch: Path) -> None:
    """As after SIGSTOP: a read begun before it is late by the clock, and answered right after."""
    async with world(scratch, "mi300x:2", deadline=DEADLINE) as it:
        await it.sysfs.hold(f"{A}/config")
        it.seconds += 40
        await it.tells("PluginStarved")
        it.sysfs.release()
        await it.tells("PluginStarved~")
        assert conditions_told(it) == {"", "PluginStarved", "PluginStarved~"}


async def test_a_reset_of_5_seconds_is_nothing_and_one_of_11_minutes_is_ill(scratch: Path) -> None:
    async with world(scratch, "mi300x:2") as it:
        it.node.busy(A)
        await it.passes(5)
        it.node.busy(A, on=False)
        await it.round()
        await it.round()
        assert conditions_told(it) == {""}
        it.node.busy(A)
        for _ in range(21):
            await it.round()
        assert told(it.state.value) == "Busy"
        await it.round()
        assert told(it.state.value) == "!Unresponsive Busy"
        assert listed(it.state.value) == whole(A, ill="Unresponsive") | whole(B)
        it.node.busy(A, on=False)
        await it.round()
        assert told(it.state.value) == "!Unresponsive~ Busy~"


async def test_reads_that_all_fail_for_three_rounds_are_no_answer(scratch: Path) -> None:
    async with world(scratch, "mi300x:2") as it:
        it.node.fail_reads(A)
        await it.round()
        await it.round()
        assert conditions_told(it) == {""}
        await it.round()
        assert verdict_of(it.state.value, A) == Verdict(
            "Unresponsive", "every read of the driver fails (EIO)", since=NOW + 3 * INTERVAL
        )


@pytest.mark.parametrize("since", ["before", "later"])
async def test_a_gpu_that_sleeps_is_never_woken(scratch: Path, since: str) -> None:
    def sleep(node: SimulatedNode) -> None:
        node.suspend(*node.addresses)

    async with world(scratch, "radeon", before=sleep if since == "before" else worlds.nothing) as it:
        (address,) = it.node.addresses
        if since == "later":
            sleep(it.node)
            it.sysfs.read_paths.clear()
        for _ in range(3):
            await it.round()
            await it.survey_rounds(1)
        assert it.node.sysfs.read(status_file(address)) == Text("suspended\n")
        assert it.state.value.readings[address].asleep
        assert listed(it.state.value) == whole(address)
        assert conditions_told(it, address) == {""}
        assert of_the_driver(it, address) <= ANSWERED_ASLEEP


ANSWERED_ASLEEP = {"mem_info_vram_total"}
"""What a scan asks amdgpu for, and it tells without the GPU."""


def status_file(address: str) -> str:
    return f"bus/pci/devices/{address}/power/runtime_status"


def of_the_driver(it: World, address: str) -> set[str]:
    """Which of the files that amdgpu makes for a GPU were opened."""
    made = it.node._kernel.attribute_names(it.node._gpu(address))
    opened = {path.partition(f"/{address}/")[2] for path in it.sysfs.read_paths}
    return {path for path in opened if path.partition("/")[0] in made}


# -- Nodes and links --


def nodes_in(dev: Path, node: SimulatedNode, *, without: str = "") -> None:
    """The render nodes of the shape as files below `dev`."""
    (dev / "dri").mkdir(parents=True)
    for minor in Path(node.root, "class/drm").glob("renderD*"):
        if minor.name != without:
            (dev / "dri" / minor.name).touch()


@pytest.mark.parametrize("dev", ["unset", "without dri", "whole"])
async def test_nodes_in_dev_that_cannot_be_seen_or_are_there_are_no_fault(scratch: Path, dev: str) -> None:
    (scratch / "dev").mkdir()

    def fill(node: SimulatedNode) -> None:
        if dev == "whole":
            nodes_in(scratch / "dev", node)

    dev_root = None if dev == "unset" else str(scratch / "dev")
    async with world(scratch, "mi300x-cpx:1", dev_root=dev_root, before=fill) as it:
        await it.round()
        await it.round()
        assert conditions_told(it) == {""}


async def test_a_node_that_is_missing_in_dev_is_told(scratch: Path) -> None:
    dev = scratch / "dev"
    fill = partial(nodes_in, dev, without="renderD129")
    async with world(scratch, "mi300x-cpx:2", dev_root=str(dev), before=fill) as it:
        await it.tells("!RenderNodeMissing")
        verdict = Verdict("RenderNodeMissing", "missing: renderD129 (/dev)", since=NOW)
        assert verdict_of(it.state.value, f"{A}-cpx0") == verdict
        assert told(it.state.value, B) == ""
        (dev / "dri/renderD129").touch()
        await it.tells("!RenderNodeMissing~")


async def test_a_render_node_that_is_gone_from_sysfs_is_missed_until_it_is_back(scratch: Path) -> None:
    async with world(scratch, "mi300x:2") as it:
        it.node.lose_render_node(A)
        await it.tells("!RenderNodeMissing")
        for _ in range(3):
            await it.round()
            await it.survey_rounds(1)
        assert told(it.state.value) == "!RenderNodeMissing"
        it.node.lose_render_node(A, on=False)
        await it.tells("!RenderNodeMissing~")
        await it.passes(HOLD)
        await it.lists(whole(A, B))


def link(node: SimulatedNode, path: str, **bodies: str) -> None:
    """What the end of a link says, at `path` below the root."""
    for name, body in bodies.items():
        Path(node.root, path, f"{name}_link_{'width' if body.isdigit() else 'speed'}").write_text(f"{body}\n")


def idle_x8(node: SimulatedNode, address: str) -> None:
    node.degrade_link(address, lanes=8)


def busy_x8(node: SimulatedNode, address: str) -> None:
    node.degrade_link(address, lanes=8, busy_percent=90)


def busy_in_a_gen4_slot(node: SimulatedNode, address: str) -> None:
    """The card could do more than the port above it."""
    node.degrade_link(address, gigatransfers=16, busy_percent=90)
    path = node.path_of(address)
    Path(path, "../max_link_speed").resolve().write_text("16.0 GT/s PCIe\n")


def busy_behind_its_own_switch(node: SimulatedNode, address: str) -> None:
    """What RDNA cards say of the link to their own switch."""
    node.degrade_link(address, busy_percent=90)
    path = Path(node.path_of(address))
    for end in (path, path.parent):
        (end / "current_link_speed").write_text("2.5 GT/s PCIe\n")


@pytest.mark.parametrize(
    ("shape", "change", "then"),
    [
        ("mi210:1", idle_x8, ""),
        ("mi210:1", busy_x8, "LinkDegraded"),
        ("mi300x:1", busy_in_a_gen4_slot, ""),
        ("radeon", busy_behind_its_own_switch, ""),
        ("radeon", busy_x8, "LinkDegraded"),
    ],
)
async def test_a_link_is_judged_at_the_slot_and_while_it_is_used(
    scratch: Path, shape: str, change: Callable[[SimulatedNode, str], None], then: str
) -> None:
    async with world(scratch, shape) as it:
        (address,) = it.node.addresses
        change(it.node, address)
        await it.round()
        assert told(it.state.value, address) == ""
        await it.round()
        assert told(it.state.value, address) == then
        assert listed(it.state.value) == whole(address)
        it.node.degrade_link(address)
        await it.round()
        assert told(it.state.value, address) == (then and f"{then}~")


# -- Modes of the policy, and of partitions --

GRAVE = [rehearsal for rehearsal in rehearsals.CONDITIONS if CONDITIONS[rehearsal.word].effect == "unhealthy"]


@pytest.mark.parametrize("rehearsal", GRAVE, ids=lambda rehearsal: rehearsal.word)
async def test_in_observe_mode_the_kubelet_hears_only_what_is_not_there(
    scratch: Path, rehearsal: rehearsals.Rehearsal
) -> None:
    async with world(scratch, "mi300x:2", mode="observe", events=True, deadline=DEADLINE) as it:
        it.hangs = {A} if rehearsal.word == "Unresponsive" else set()
        rehearsal.do(it.node, A)
        await it.round()
        await it.round()
        state = await until(it.state, lambda state: rehearsal.word in told(state))
        if rehearsal.word in {"DriverUnbound", "DeviceLost"}:
            assert listed(state) == whole(A, ill=rehearsal.word) | whole(B)
            assert state.statuses[A].would_be is None
        else:
            would_be = state.statuses[A].would_be
            assert would_be is not None
            assert would_be.condition == rehearsal.word
            assert {name for each in it.state.history for _, name in listed(each).values()} == {None}


@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_no_slice_of_a_gpu_that_a_pod_holds_is_given_out(scratch: Path, mode: str) -> None:
    pod = (Holder("ml", "train", "main"),)
    new = "amd.com/cpx_nps1"
    async with world(scratch, "mi300x:2", mode=mode, holders={Held(GPU, A): pod}) as it:
        it.node.repartition(A, "CPX")
        await it.lists(whole(A, ill="Retired"), whole(B))
        await it.survey_rounds(1)
        await it.passes(SETTLE_SECONDS)
        await it.lists(whole(A, ill="Retired"), whole(B), parts(A, "cpx", new, "HeldElsewhere"))
        await it.passes(1000)
        await it.survey_rounds(1)
        assert listed(it.state.value) == (
            whole(A, ill="Retired") | whole(B) | parts(A, "cpx", new, "HeldElsewhere")
        )
        it.holders.set({})
        await it.lists(whole(B), parts(A, "cpx", new))


async def test_gpus_that_change_their_mode_one_by_one_keep_one_name_for_each_size(scratch: Path) -> None:
    """While a pod holds one of them as a whole."""
    new = "amd.com/cpx_nps1"
    holders = {Held(GPU, B): (Holder("ml", "train", "main"),)}
    async with world(scratch, "mi300x:3", holders=holders) as it:
        for gpu in (A, B, C):
            await changes_to_cpx(it, gpu)
            ill = "HeldElsewhere" if gpu == B else None
            await it.lists({**listed(it.state.value), **parts(gpu, "cpx", new, ill)})
        await it.passes(600)
        await it.lists(
            whole(B, ill="Retired"),
            parts(A, "cpx", new),
            parts(B, "cpx", new, "HeldElsewhere"),
            parts(C, "cpx", new),
        )
        names = {
            ("cpx" in device_id, resource)
            for state in it.state.history
            for device_id, (resource, _) in listed(state).items()
        }
        assert names == {(False, GPU), (True, new)}
        given = {device.id for state in it.state.history for device in state.devices if device.healthy}
        assert not given & parts(B, "cpx", new).keys()


async def test_a_gpu_whose_mode_was_not_told_when_it_was_listed_retires_as_well(scratch: Path) -> None:
    async with world(scratch, "mi300x:2", before=partial(SimulatedNode.busy, address=A)) as it:
        await it.lists(whole(A, B))
        it.node.repartition(A, "DPX")
        it.node.busy(A, on=False)
        await it.lists(whole(A, ill="Retired"), whole(B))
        await it.survey_rounds(1)
        await it.passes(SETTLE_SECONDS)
        await it.lists(whole(A, ill="Retired"), whole(B), parts(A, "dpx", "amd.com/dpx_nps1"))


# -- Going and coming --


@pytest.mark.parametrize("told_by", ["events", "looks"])
async def test_a_gpu_goes_comes_back_and_another_comes(scratch: Path, told_by: str) -> None:
    start = partial(SimulatedNode.remove, address=B)
    async with world(scratch, "mi300x:3", before=start, events=told_by == "events") as it:
        await it.lists(whole(A, C))
        it.node.remove(A)
        await it.lists(whole(A, ill="DeviceLost"), whole(C))
        it.node.add(B)
        await it.lists(whole(A, ill="DeviceLost"), whole(B, C))
        await it.round()
        before = len(it.state.history)
        await it.round()
        assert not any(A in state.readings for state in it.state.history[before:])
        it.node.add(A)
        await it.tells("!DeviceLost~ !DriverUnbound~")
        await it.passes(HOLD)
        await it.lists(whole(A, B, C))


@pytest.mark.parametrize("told_by", ["events", "looks"])
async def test_the_driver_is_unloaded_and_loaded(scratch: Path, told_by: str) -> None:
    async with world(scratch, "mixed:2", events=told_by == "events") as it:
        before = listed(it.state.value)
        it.node.unload()
        await it.lists({device: (resource, "DriverUnbound") for device, (resource, _) in before.items()})
        await until(it.state, lambda state: state.inventory.driver.kfd == "absent")
        it.node.load()
        await until(it.state, lambda state: state.inventory.driver.kfd == "readable")
        await it.tells("!DriverUnbound~", A)
        await it.tells("!DriverUnbound~", B)
        await it.passes(HOLD)
        await it.lists(before)
        nodes = [2, *range(3, 11)]
        await until(it.state, lambda state: [each.device.kfd_node for each in state.devices] == nodes)
        assert {frozenset(listed(state)) for state in it.state.history} == {frozenset(before)}


@pytest.mark.parametrize("shape", ["mi300x:2", "radeon:1"])
async def test_a_sysfs_that_goes_away_is_our_trouble_and_changes_no_verdict(
    scratch: Path, shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As when it is unmounted under the daemon; that the driver left is told all the same when it is back."""
    async with world(scratch, shape) as it:
        before = listed(it.state.value)
        inventory = it.state.value.inventory
        away = f"{it.node.root}.away"
        os.rename(it.node.root, away)
        await until(it.state, lambda state: state.guard_active)
        await it.round()
        await it.survey_rounds(2)
        assert (listed(it.state.value), it.state.value.inventory) == (before, inventory)
        assert caplog.text.count("no PCI bus in sysfs") == 1
        os.rename(away, it.node.root)
        await until(it.state, lambda state: not state.guard_active)
        it.node.unload()
        await it.lists({device: (resource, "DriverUnbound") for device, (resource, _) in before.items()})


async def test_between_rounds_no_file_is_open_that_would_keep_the_module_from_leaving(scratch: Path) -> None:
    async with world(scratch, "mi300x:2", faults=False) as it:
        await it.round()
        while it.lanes.stuck:
            await it.lanes.stuck_after(DEADLINE)
        links = (os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd"))
        assert [target for target in links if target.startswith(it.node.root)] == []


@pytest.mark.parametrize(("lost", "missed"), [(True, 1), (False, 0)], ids=["deaf", "hears"])
async def test_a_change_that_no_event_told_of_is_counted(scratch: Path, lost: bool, missed: int) -> None:  # noqa: FBT001
    async with world(scratch, "mi300x:2", events=True) as it:
        await it.survey_rounds(1)
        it.kernel.lost = lost
        it.node.unbind(A)
        await it.tells("!DriverUnbound", A)
        for _ in range(2):
            await it.survey_rounds(3)
            await it.passes(AFTER_SECONDS)
        await it.survey_rounds(3)
        counted = await until(it.state, lambda state: state.missed_events >= missed)
        assert (counted.missed_events, verdict_of(counted, B)) == (missed, None)
        assert f"amdgpu_plugin_missed_events_total {missed}.0" in metrics_of(it)


def metrics_of(it: World) -> str:
    return exposed(it.monitor.instruments, "classic").decode()


# -- The log --


async def test_each_transition_is_one_line_that_says_all(
    scratch: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "amdgpu_plugin")
    async with world(scratch, "mi300x-dpx:1", events=True) as it:
        caplog.clear()
        await it.passes(1)
        it.node.wedge(A)
        await it.tells("!Wedged")
        it.node.heat(A, "junction", 101)
        await it.round()
        await it.round()
        it.node.heat(A, "junction", None)
        it.node.reload(A)
        await it.tells("!DriverUnbound~ !Wedged~ Hot")
        await it.round()
        await it.passes(HOLD)
        await it.tells("")
    assert transitions_in(caplog) == [
        raised("WARNING", **WEDGED),
        *unhealthy("Wedged", "WEDGED=rebind,bus-reset"),
        raised("INFO", **HOT),
        raised("WARNING", **UNBOUND),
        *unhealthy("DriverUnbound", "bound to no driver"),
        *(("INFO", "condition cleared", {"gpu": A, **each}) for each in (UNBOUND, WEDGED, HOT)),
        *(("INFO", "device healthy", {"device": device}) for device in DEVICES),
    ]


Line = tuple[str, str, dict[str, object]]
"""Level, message and fields."""
DEVICES = f"{A}-dpx0", f"{A}-dpx1"
WEDGED: dict[str, object] = {
    "condition": "Wedged",
    "detail": "WEDGED=rebind,bus-reset",
    "source": "uevent",
    "since": NOW + 1,
    "effect": "unhealthy",
}
HOT: dict[str, object] = {
    "condition": "Hot",
    "detail": "junction at or above the critical limit",
    "source": "readings",
    "since": NOW + 61,
    "effect": "inform",
}
UNBOUND: dict[str, object] = {
    "condition": "DriverUnbound",
    "detail": "bound to no driver",
    "source": "uevent",
    "since": NOW + 61,
    "effect": "unhealthy",
}


def raised(level: str, **fields: object) -> Line:
    return level, "condition raised", {"gpu": A, **fields}


def unhealthy(condition: str, detail: str) -> Iterator[Line]:
    for device in DEVICES:
        yield "WARNING", "device unhealthy", {"device": device, "condition": condition, "detail": detail}


def transitions_in(caplog: pytest.LogCaptureFixture) -> list[Line]:
    """What was said of conditions and devices."""
    return [
        (record.levelname, record.getMessage(), vars(record)["fields"])
        for record in caplog.records
        if record.getMessage().startswith(("condition ", "device "))
    ]

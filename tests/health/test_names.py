"""Under which names devices are served when their memory mode, or the naming, is another than before."""

from functools import partial
from pathlib import Path

import pytest

from amdgpu_plugin.discovery.naming import Naming
from amdgpu_plugin.node import Held, Holder, Verdict
from amdgpu_plugin.simulation.node import SimulatedNode
from tests.health.worlds import (
    GPU,
    INTERVAL,
    NOW,
    A,
    B,
    as_saved,
    listed,
    monitoring,
    parts,
    verdict_of,
    whole,
    world,
)
from tests.kubelet.worlds import until

NPS1, NPS4 = "amd.com/cpx_nps1", "amd.com/cpx_nps4"


@pytest.mark.parametrize("told_by", ["events", "looks"])
async def test_slices_go_to_the_name_of_their_new_memory_mode_when_nobody_holds_them(
    scratch: Path, told_by: str
) -> None:
    """Memory modes are no part of IDs; no ID is ever healthy under a name of another size."""
    held = f"{A}-cpx3"
    holders = {Held(NPS1, held): (Holder("ml", "train", "main"),)}
    events = told_by == "events"
    async with world(scratch, "mi300x-cpx:2", naming="mixed", events=events, holders=holders) as it:
        await it.lists(parts(A, "cpx", NPS1), parts(B, "cpx", NPS1))
        it.node.repartition_memory(A, "NPS4")
        await until(it.state, lambda state: "cpx_nps4" in str(verdict_of(state, held)))
        verdict = verdict_of(it.state.value, held)
        assert verdict == Verdict("Retired", f"served as {NPS4} when nobody holds it any more", NOW)
        before = len(it.state.history)
        await it.passes(4.9)
        assert listed(it.state.value) == parts(A, "cpx", NPS1, "Retired") | parts(B, "cpx", NPS1)
        await it.passes(0.1)
        kept = whole(held, resource=NPS1, ill="Retired")
        await it.lists(parts(A, "cpx", NPS4) | kept, parts(B, "cpx", NPS1))
        it.holders.set({})
        await it.lists(parts(A, "cpx", NPS4), parts(B, "cpx", NPS1))
        for state in it.state.history[before:]:
            given = {device.device.resource for device in state.devices if device.healthy and A in device.id}
            assert given <= {NPS4}


async def test_slices_wait_under_their_old_name_while_it_is_not_known_who_holds_them(scratch: Path) -> None:
    async with world(scratch, "mi300x-cpx:1", naming="mixed", holders=None) as it:
        it.node.repartition_memory(A, "NPS4")
        await it.lists(parts(A, "cpx", NPS1, "Retired"))
        await it.passes(3600)
        await it.survey_rounds(1)
        assert listed(it.state.value) == parts(A, "cpx", NPS1, "Retired")
        it.node.repartition_memory(A, "NPS1")
        await it.lists(parts(A, "cpx", NPS1))


async def test_a_memory_mode_that_changed_while_no_daemon_ran_is_noticed(scratch: Path) -> None:
    node = SimulatedNode.create(scratch / "node", "mi300x-cpx:1")
    monitored = partial(monitoring, node, interval=INTERVAL, naming="mixed", holders={})
    async with monitored() as it:
        saved = as_saved(it.monitor.remembered)
    node.repartition_memory(A, "NPS4")
    async with monitored(earlier=saved) as it:
        assert listed(it.state.value) == parts(A, "cpx", NPS1, "Retired")
        await it.passes(5)
        await it.lists(parts(A, "cpx", NPS4))
        saved = as_saved(it.monitor.remembered)
    async with monitored(earlier=saved) as it:
        assert listed(it.state.value) == parts(A, "cpx", NPS4)


async def test_a_memory_mode_that_is_not_told_for_a_while_moves_nothing(scratch: Path) -> None:
    node = SimulatedNode.create(scratch / "node", "mi300x-cpx:1")
    file = Path(node.path_of(A), "current_memory_partition")
    monitored = partial(monitoring, node, interval=INTERVAL, naming="mixed", holders={})
    async with monitored() as it:
        saved = as_saved(it.monitor.remembered)
    file.write_text("")
    for _ in range(2):
        async with monitored(earlier=saved) as it:
            await it.passes(5)
            assert listed(it.state.value) == parts(A, "cpx", NPS1)
            saved = as_saved(it.monitor.remembered)
    file.write_text("NPS4\n")
    async with monitored(earlier=saved) as it:
        await it.lists(parts(A, "cpx", NPS1, "Retired"))


async def test_an_ill_gpu_goes_to_its_new_name_and_stays_ill(scratch: Path) -> None:
    async with world(scratch, "mi300x-cpx:1", naming="mixed", holders={}, interval=INTERVAL) as it:
        it.node.repartition_memory(A, "NPS4")
        await it.lists(parts(A, "cpx", NPS1, "Retired"))
        it.node.heat(A, "mem", 120)
        await it.round()
        await it.lists(parts(A, "cpx", NPS4))
        await it.round()
        await it.lists(parts(A, "cpx", NPS4, "Overheated"))
        it.node.repartition_memory(A, "NPS1")
        await it.lists(parts(A, "cpx", NPS4, "Retired"))
        before = len(it.state.history)
        await it.passes(5)
        await it.lists(parts(A, "cpx", NPS1, "Overheated"))
        assert not any(device.healthy for state in it.state.history[before:] for device in state.devices)


@pytest.mark.parametrize(("first", "then"), [("single", "mixed"), ("mixed", "single")])
async def test_devices_go_to_their_new_names_when_the_naming_was_changed(
    scratch: Path, first: Naming, then: Naming, caplog: pytest.LogCaptureFixture
) -> None:
    names = {"single": GPU, "mixed": "amd.com/spx_nps1"}
    old, new = names[first], names[then]
    node = SimulatedNode.create(scratch / "node", "mi300x:2")
    holders = {Held(old, A): (Holder("ml", "train", "main"),)}
    monitored = partial(monitoring, node, interval=INTERVAL, holders=holders)
    async with monitored(naming=first) as it:
        saved = as_saved(it.monitor.remembered)
    for _ in range(2):  # what the first of them kept must not turn the second back
        async with monitored(naming=then, earlier=saved) as it:
            await it.passes(5)
            await it.lists(whole(A, resource=old, ill="Retired"), whole(B, resource=new))
            saved = as_saved(it.monitor.remembered)
    assert caplog.text.count("resource naming was changed") == 1
    async with monitored(naming=then, earlier=saved, holders={}) as it:
        await it.passes(5)
        await it.lists(whole(A, B, resource=new))

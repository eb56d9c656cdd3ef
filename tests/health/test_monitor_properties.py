"""Whatever befalls a node: once it is quiet, the monitor tells what a new one would, and what is latched."""

import asyncio
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from amdgpu_plugin.commands.inputs import scratch_parent
from amdgpu_plugin.health.conditions import TABLE
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.node import NodeState
from amdgpu_plugin.simulation.node import SimulatedNode, SimulationError
from tests.health.worlds import INTERVAL, A, B, Kernel, World, as_saved, conditions_of, monitoring

LATCHED = {"Wedged", "UncorrectableErrors"}
GRAVE = {kind.name for kind in TABLE if kind.effect != "inform"}
HOLD = 60.0
LONG = 4000.0
"""Seconds after which no count of an hour, no busy GPU and no retired ID is news any more."""

Verb = Callable[[SimulatedNode], None]


@dataclass(frozen=True)
class Step:
    """A verb, whether its events are lost, and what time passes after it: none, a look, a round."""

    name: str
    verb: Verb = field(repr=False)
    lost: bool = False
    then: str = "nothing"


def verbs_of(gpu: str) -> dict[str, Verb]:
    plain: dict[str, Callable[..., None]] = {
        "unbind": SimulatedNode.unbind,
        "bind": SimulatedNode.bind,
        "reload": SimulatedNode.reload,
        "remove": SimulatedNode.remove,
        "add": SimulatedNode.add,
        "core_dump": SimulatedNode.core_dump,
        "lose_render_node": SimulatedNode.lose_render_node,
        "suspend": SimulatedNode.suspend,
        "busy": SimulatedNode.busy,
        "fail_reads": SimulatedNode.fail_reads,
        "fall_silent": SimulatedNode.fall_silent,
        "throttle": SimulatedNode.throttle,
        "wedge": SimulatedNode.wedge,
        "wedge none": partial(SimulatedNode.wedge, methods="none"),
        "bus failed": partial(SimulatedNode.bus_error, phase="failed"),
        "bus failed above": partial(SimulatedNode.bus_error, phase="failed", at_bridge=True),
        "bus begin": partial(SimulatedNode.bus_error, phase="begin"),
        "bus recovered": partial(SimulatedNode.bus_error, phase="recovered"),
        "errors": partial(SimulatedNode.ras_errors, ue=1, ce=20),
        "pages": partial(SimulatedNode.bad_pages, retired=100, pending=1),
        "heat": partial(SimulatedNode.heat, sensor="junction", celsius=120),
        "cool": partial(SimulatedNode.heat, sensor="junction", celsius=None),
        "x8": partial(SimulatedNode.degrade_link, lanes=8, busy_percent=90),
        "memory": partial(SimulatedNode.use_memory, vram_bytes=2**34),
        **{mode: partial(SimulatedNode.repartition, mode=mode) for mode in ("SPX", "DPX", "CPX")},
    }
    return {f"{name} {gpu}": partial(_on, verb, gpu) for name, verb in plain.items()}


def _on(verb: Callable[..., None], gpu: str, node: SimulatedNode) -> None:
    verb(node, gpu)


VERBS = verbs_of(A) | verbs_of(B) | {"unload": SimulatedNode.unload, "load": SimulatedNode.load}
steps = st.builds(
    lambda name, lost, then: Step(name, VERBS[name], lost, then),
    st.sampled_from(sorted(VERBS)),
    st.sampled_from([False, False, True]),
    st.sampled_from(["nothing", "look", "round"]),
)
LANES = Lanes()
"""Threads outlive their loop: all examples share them."""


def steps_of(names: str, then: str = "nothing") -> list[Step]:
    return [Step(name, VERBS[name], then=then) for name in names.split(", ")]


@example(steps_of(f"wedge {A}"))
@example(steps_of(f"wedge {A}, reload {A}, errors {B}"))
@example(steps_of(f"busy {A}, DPX {A}", then="round"))
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=1, max_size=8))
def test_once_all_is_quiet_the_past_shows_only_in_what_is_latched(history: list[Step]) -> None:
    with tempfile.TemporaryDirectory(dir=scratch_parent()) as scratch:
        asyncio.run(compare(history, Path(scratch)))


async def compare(history: list[Step], scratch: Path) -> None:
    kernel = Kernel()
    node = SimulatedNode.create(scratch / "node", "mi300x:2", on_uevent=kernel)
    monitored = partial(
        monitoring, node, kernel=kernel, faults=True, interval=INTERVAL, hold=HOLD, holders={}, lanes=LANES
    )
    async with monitored() as it:
        for step in history:
            await take(step, it)
        mend(node)
        await settle(it)
        for _ in range(2):
            await it.passes(LONG)  # retired IDs leave only when nothing else is the matter with their GPU
        long, remembered = it.state.value, as_saved(it.monitor.remembered)
        bound = {gpu for gpu in node.addresses if node._gpu(gpu).driver is not None}
        clock = (it.seconds, it.unix_seconds)
    async with monitored(clock=clock) as it:
        await settle(it)
        fresh = it.state.value
    async with monitored(clock=clock, earlier=remembered) as it:
        await settle(it)
        again = it.state.value
    for gpu in bound:
        vitals, names = node._gpu(gpu).vitals, {each.name for each in conditions_of(long, gpu)}
        assert ("UncorrectableErrors" in names) == bool(vitals.ras)
        # A driver that was bound anew unheard and unseen is taken for the one before.
        assert vitals.wedged == ("Wedged" in names) or any(step.lost for step in history)
    assert (again.guard_active, fresh.guard_active, long.guard_active) == (False, False, False)
    assert [each.device for each in again.devices] == [each.device for each in long.devices]
    assert verdicts_of(again, node.addresses) == verdicts_of(long, node.addresses)
    assert conditions_told(again, bound) == conditions_told(long, bound)
    assert conditions_told(fresh, bound, without=LATCHED) == conditions_told(long, bound, without=LATCHED)
    was, told = verdicts_of(long, bound), verdicts_of(fresh, bound)
    assert told.keys() <= was.keys()
    for device, verdict in was.items():
        if device in told:
            assert verdict in {told[device], *LATCHED}
        else:
            assert verdict in GRAVE


async def take(step: Step, it: World) -> None:
    it.kernel.lost = step.lost
    with suppress(SimulationError):
        step.verb(it.node)
    it.kernel.lost = False
    if step.then == "look":
        await it.survey_rounds(1)
    elif step.then == "round":
        await it.round()


def mend(node: SimulatedNode) -> None:
    """What cannot be read stays as it was told last: a new monitor would know nothing of it."""
    for gpu in node.addresses:
        node.sysfs.lift(gpu)
        node.suspend(gpu, on=False)
        for ends in (node.lose_render_node, node.fall_silent):
            with suppress(SimulationError):
                ends(gpu, on=False)


async def settle(it: World) -> None:
    """Long enough for what lasts to be told, and for what is over to be forgotten."""
    await it.round()
    await it.survey_rounds(1)
    await it.passes(LONG)
    await it.survey_rounds(1)
    await it.passes(LONG)
    await it.passes(HOLD)


def conditions_told(
    state: NodeState, bound: set[str], without: Collection[str] = ()
) -> dict[str, list[tuple[object, ...]]]:
    return {
        gpu: [
            (each.name, each.detail, each.effect, each.held)
            for each in conditions_of(state, gpu)
            if each.name not in without
        ]
        for gpu in bound
    }


def verdicts_of(state: NodeState, gpus: Collection[str]) -> dict[str, str | None]:
    return {
        each.id: each.verdict.condition if each.verdict else None
        for each in state.devices
        if each.gpu.pci_address in gpus
    }

import asyncio
import threading
from pathlib import Path

import pytest

from amdgpu_plugin.simulation.injector import WORDS, Injector
from amdgpu_plugin.simulation.node import SimulatedNode, SimulationError
from tests.simulation.trees import difference, outside_kfd, snapshot

GUARD_SECONDS = 20


@pytest.fixture
def node(scratch: Path) -> SimulatedNode:
    return SimulatedNode.create(scratch / "node", "mi300x:1")


async def undone(injector: Injector) -> None:
    """When nothing waits to be undone any more."""
    async with asyncio.timeout(GUARD_SECONDS):
        while injector.pending:  # noqa: ASYNC110 - an undoing is nobody's to wait for
            await asyncio.sleep(0.001)


async def test_every_word_is_taken_as_it_is_listed_and_undone_in_time(node: SimulatedNode) -> None:
    injector = Injector(node)
    (gpu,) = node.addresses
    before = outside_kfd(snapshot(node.root))
    for word in WORDS:
        if word not in {"bind", "add", "repartition=MODE"}:
            assert await injector.inject(gpu, word, seconds=0) == f"{word} at {gpu}, for 0 s"
            await undone(injector)
    # the kernel counts on for as long as the device is there
    counted = {f"{node.path_of(gpu)}/aer_dev_fatal".removeprefix(f"{node.root}/")}
    assert difference(before, outside_kfd(snapshot(node.root))) == counted
    node.clear()
    assert outside_kfd(snapshot(node.root)) == before


async def test_words_may_be_written_in_any_case_and_are_told_as_listed(node: SimulatedNode) -> None:
    injector = Injector(node)
    (gpu,) = node.addresses
    said = [await injector.inject(f"{gpu}-cpx3", what) for what in ("OVERHEATED", "Repartition=cpx", "Clear")]
    assert said == [f"Overheated at {gpu}", f"repartition=CPX at {gpu}", f"clear at {gpu}"]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            "Overheatd",
            r"^cannot inject 'Overheatd'; did you mean Overheated\? there are unbind, bind, remove",
        ),
        (
            "explode",
            r"^cannot inject 'explode'; there are unbind, bind, remove, add, repartition=MODE, clear, De",
        ),
        ("repartition", r"did you mean repartition=MODE\?"),
        ("repartition=", r"did you mean repartition=MODE\?"),
        ("unbind=now", r"^cannot inject 'unbind=now'; did you mean unbind\?"),
        ("retired", r"^Retired is not injected: repartition=MODE retires"),
        ("HeldElsewhere", r"^HeldElsewhere is not injected: .* while a pod holds"),
    ],
)
async def test_unknown_word_is_refused_with_what_there_is(node: SimulatedNode, what: str, said: str) -> None:
    with pytest.raises(SimulationError, match=said):
        await Injector(node).inject(node.addresses[0], what)


async def test_condition_a_gpu_cannot_have_is_refused(scratch: Path) -> None:
    apu = SimulatedNode.create(scratch / "apu", "apu")
    injector = Injector(apu)
    for what, said in (
        ("Overheated", "has a limit 'emergency'"),
        ("Throttled", "too old"),
        ("LeftoverMemory", "it has 536870912"),
        ("UncorrectableErrors", "its driver counts none"),
    ):
        with pytest.raises(SimulationError, match=said):
            await injector.inject(apu.addresses[0], what)


async def test_what_cannot_be_undone_any_more_is_said(
    node: SimulatedNode, caplog: pytest.LogCaptureFixture
) -> None:
    injector = Injector(node)
    (gpu,) = node.addresses
    await injector.inject(gpu, "unbind", seconds=0.05)
    await injector.inject(gpu, "clear")
    await undone(injector)
    record = caplog.records[-1]
    assert (record.message, vars(record)["fields"]) == (
        "not undone",
        {"what": "unbind", "error": f"{gpu} is bound to amdgpu already"},
    )


async def test_verbs_of_one_node_never_overlap(node: SimulatedNode, monkeypatch: pytest.MonkeyPatch) -> None:
    running, overlaps = threading.Lock(), []

    def verb(*_: object, on: bool = True) -> None:
        overlaps.append((on, not running.acquire(blocking=False)))
        threading.Event().wait(0.01)
        running.release()

    monkeypatch.setattr(node, "hang", verb)
    monkeypatch.setattr(node, "busy", verb)
    injector = Injector(node)
    (gpu,) = node.addresses
    await asyncio.gather(*(injector.inject(gpu, what, seconds=0) for what in ("Unresponsive", "Busy")))
    await undone(injector)
    assert sorted(overlaps) == [(False, False), (False, False), (True, False), (True, False)]

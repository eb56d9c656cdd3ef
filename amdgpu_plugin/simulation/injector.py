"""What `inject` does to a simulated node, by its words."""

import asyncio
import difflib
import logging

from amdgpu_plugin.simulation.node import SimulatedNode, SimulationError
from amdgpu_plugin.simulation.rehearsals import CONDITIONS, NOT_REHEARSED, VERBS, Rehearsal

log = logging.getLogger(__name__)

WORDS = (
    *(verb.word for verb in VERBS),
    "repartition=MODE",
    "clear",
    *(condition.word for condition in CONDITIONS),
)
_REHEARSALS = {rehearsal.word.lower(): rehearsal for rehearsal in (*VERBS, *CONDITIONS)}


class Injector:
    """Faults on one simulated node; what is asked `for` some seconds is undone after them."""

    def __init__(self, node: SimulatedNode) -> None:
        """Nothing happens yet."""
        self._node = node
        self._undoing: set[asyncio.Task[None]] = set()
        # a node's verbs are for one thread at a time
        self._turn = asyncio.Lock()

    @property
    def pending(self) -> int:
        """How many faults wait to be undone."""
        return len(self._undoing)

    async def inject(self, device: str, what: str, *, seconds: float | None = None) -> str:
        """Does it, and says what was done. SimulationError for an unknown device, word or mode.

        `device` is a device ID or a PCI address; `what` one of WORDS, in whatever case.
        """
        address = self._address(device)
        rehearsal = self._rehearsal(address, what)
        async with self._turn:
            # A verb on a node of 64 partitions rewrites thousands of files.
            await asyncio.to_thread(rehearsal.do, self._node, address)
        lasts = {} if seconds is None else {"seconds": seconds}
        log.warning("injected", extra={"fields": {"gpu": address, "what": rehearsal.word} | lasts})
        if seconds is None:
            return f"{rehearsal.word} at {address}"
        task = asyncio.create_task(self._undo(rehearsal, address, seconds))
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)
        return f"{rehearsal.word} at {address}, for {seconds:g} s"

    def _address(self, device: str) -> str:
        found = [address for address in self._node.addresses if device.startswith(address)]
        if not found or device[len(found[0]) :][:1] not in {"", "-", ":"}:
            raise SimulationError(f"no GPU {device!r} here; there are {', '.join(self._node.addresses)}")
        return found[0]

    def _rehearsal(self, address: str, what: str) -> Rehearsal:
        word, _, mode = what.partition("=")
        if word.lower() == "repartition" and mode:
            return _repartition(mode.upper(), self._node.mode_of(address))
        if what.lower() == "clear":
            return Rehearsal("clear", SimulatedNode.clear, _nothing)
        found = _REHEARSALS.get(what.lower())
        if found is None:
            raise SimulationError(_unknown(what))
        return found

    async def _undo(self, rehearsal: Rehearsal, address: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        try:
            async with self._turn:
                await asyncio.to_thread(rehearsal.undo, self._node, address)
        except SimulationError as error:
            log.warning("not undone", extra={"fields": {"what": rehearsal.word, "error": str(error)}})


def _repartition(mode: str, before: str | None) -> Rehearsal:
    return Rehearsal(
        f"repartition={mode}",
        lambda node, gpu: node.repartition(gpu, mode),
        lambda node, gpu: node.repartition(gpu, before or mode),
    )


def _unknown(what: str) -> str:
    refused = {word.lower(): (word, why) for word, why in NOT_REHEARSED.items()}
    if what.lower() in refused:
        word, why = refused[what.lower()]
        return f"{word} is not injected: {why}"
    words = {word.lower(): word for word in WORDS}
    close = difflib.get_close_matches(what.lower(), words, 1)
    hint = f"did you mean {words[close[0]]}? " if close else ""
    return f"cannot inject {what!r}; {hint}there are {', '.join(WORDS)}"


def _nothing(_node: SimulatedNode, _address: str) -> None:
    """What is cleared is not brought back."""

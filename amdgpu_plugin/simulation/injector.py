"""What `inject` does to a simulated node, by its words."""

import asyncio
import logging
from collections.abc import Callable

from amdgpu_plugin.simulation.node import SimulatedNode, SimulationError

log = logging.getLogger(__name__)

WORDS = ("unbind", "bind", "remove", "add", "repartition=MODE", "clear")


class Injector:
    """Faults on one simulated node; what is asked `for` some seconds is undone after them."""

    def __init__(self, node: SimulatedNode) -> None:
        """Nothing happens yet."""
        self._node = node
        self._undoing: set[asyncio.Task[None]] = set()

    async def inject(self, device: str, what: str, *, seconds: float | None = None) -> str:
        """Does it, and says what was done. SimulationError for an unknown device, word or mode.

        `device` is a device ID or a PCI address.
        """
        address = self._address(device)
        do, undo = self._verbs(address, what)
        # A verb on a node of 64 partitions rewrites thousands of files.
        await asyncio.to_thread(do)
        lasts = {} if seconds is None else {"seconds": seconds}
        log.warning("injected", extra={"fields": {"gpu": address, "what": what} | lasts})
        if seconds is None:
            return f"{what} at {address}"
        task = asyncio.create_task(_later(seconds, undo))
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)
        return f"{what} at {address}, for {seconds:g} s"

    def _address(self, device: str) -> str:
        found = [address for address in self._node.addresses if device.startswith(address)]
        if not found or device[len(found[0]) :][:1] not in {"", "-", ":"}:
            raise SimulationError(f"no GPU {device!r} here; there are {', '.join(self._node.addresses)}")
        return found[0]

    def _verbs(self, address: str, what: str) -> tuple[Callable[[], None], Callable[[], None]]:
        """What to do and how to undo it."""
        node = self._node
        word, _, mode = what.partition("=")
        mode = mode.upper()
        match word, mode:
            case "unbind", "":
                return lambda: node.unbind(address), lambda: node.bind(address)
            case "bind", "":
                return lambda: node.bind(address), lambda: node.unbind(address)
            case "remove", "":
                return lambda: node.remove(address), lambda: node.add(address)
            case "add", "":
                return lambda: node.add(address), lambda: node.remove(address)
            case "repartition", _ if mode:
                before = node.mode_of(address)
                return lambda: node.repartition(address, mode), lambda: node.repartition(
                    address, before or mode
                )
            case "clear", "":
                return lambda: node.clear(address), _nothing
        raise SimulationError(f"cannot inject {what!r}; there are {', '.join(WORDS)}")


def _nothing() -> None:
    """What is cleared is not brought back."""


async def _later(seconds: float, undo: Callable[[], None]) -> None:
    await asyncio.sleep(seconds)
    try:
        await asyncio.to_thread(undo)
    except SimulationError as error:
        log.warning("not undone", extra={"fields": {"error": str(error)}})

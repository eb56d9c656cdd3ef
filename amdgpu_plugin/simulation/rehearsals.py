"""What can be rehearsed on a simulated node by a word: what is done then, and what undoes it."""

from collections.abc import Callable
from dataclasses import dataclass

from amdgpu_plugin.simulation.node import SimulatedNode, SimulationError
from amdgpu_plugin.simulation.parts import GIB
from amdgpu_plugin.simulation.pci import BAD_PAGE_THRESHOLD

Verb = Callable[[SimulatedNode, str], None]
"""Takes the GPU's PCI address as well. SimulationError where it makes no sense."""

_CORRECTABLE_ERRORS = 100
_LANES_LEFT = 8
_LEFTOVER_BYTES = 8 * GIB


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """`do` leaves what the kernel would leave; `undo` ends that, and nothing else."""

    word: str
    do: Verb
    undo: Verb


def _over(limit: str) -> Verb:
    """One degree above that limit, of the first sensor that has it."""

    def heat(node: SimulatedNode, address: str) -> None:
        for sensor, limits in node.limits.items():
            if limit in limits:
                node.heat(address, sensor, limits[limit] + 1)
                return
        raise SimulationError(f"no sensor of {address} has a limit {limit!r}")

    return heat


def _cool(node: SimulatedNode, address: str) -> None:
    for sensor in node.limits:
        node.heat(address, sensor, None)


def _leave_memory(node: SimulatedNode, address: str) -> None:
    node.use_memory(address, _LEFTOVER_BYTES)


def _starve(node: SimulatedNode, _address: str) -> None:
    node.starve()


def _feed(node: SimulatedNode, _address: str) -> None:
    node.starve(on=False)


VERBS = (
    Rehearsal("unbind", SimulatedNode.unbind, SimulatedNode.bind),
    Rehearsal("bind", SimulatedNode.bind, SimulatedNode.unbind),
    Rehearsal("remove", SimulatedNode.remove, SimulatedNode.add),
    Rehearsal("add", SimulatedNode.add, SimulatedNode.remove),
)

CONDITIONS = (
    Rehearsal(
        "DeviceLost",
        lambda node, gpu: node.fall_silent(gpu),
        lambda node, gpu: node.fall_silent(gpu, on=False),
    ),
    Rehearsal("DriverUnbound", SimulatedNode.unbind, SimulatedNode.bind),
    Rehearsal("Wedged", lambda node, gpu: node.wedge(gpu), SimulatedNode.reload),
    Rehearsal(
        "BusError",
        lambda node, gpu: node.bus_error(gpu, "failed"),
        lambda node, gpu: node.bus_error(gpu, "recovered"),
    ),
    Rehearsal("UncorrectableErrors", lambda node, gpu: node.ras_errors(gpu, ue=1), SimulatedNode.reload),
    Rehearsal(
        "BadPageThreshold",
        lambda node, gpu: node.bad_pages(gpu, retired=BAD_PAGE_THRESHOLD),
        SimulatedNode.bad_pages,
    ),
    Rehearsal("Overheated", _over("emergency"), _cool),
    Rehearsal("Unresponsive", lambda node, gpu: node.hang(gpu), lambda node, gpu: node.hang(gpu, on=False)),
    Rehearsal(
        "RenderNodeMissing",
        lambda node, gpu: node.lose_render_node(gpu),
        lambda node, gpu: node.lose_render_node(gpu, on=False),
    ),
    Rehearsal(
        "CorrectableErrors",
        lambda node, gpu: node.ras_errors(gpu, ce=_CORRECTABLE_ERRORS),
        SimulatedNode.reload,
    ),
    Rehearsal(
        "LinkDegraded",
        lambda node, gpu: node.degrade_link(gpu, lanes=_LANES_LEFT, busy_percent=100),
        SimulatedNode.degrade_link,
    ),
    Rehearsal(
        "Throttled", lambda node, gpu: node.throttle(gpu), lambda node, gpu: node.throttle(gpu, on=False)
    ),
    Rehearsal("Hot", _over("crit"), _cool),
    Rehearsal("Busy", lambda node, gpu: node.busy(gpu), lambda node, gpu: node.busy(gpu, on=False)),
    Rehearsal("PendingPages", lambda node, gpu: node.bad_pages(gpu, pending=1), SimulatedNode.bad_pages),
    Rehearsal("LeftoverMemory", _leave_memory, lambda node, gpu: node.use_memory(gpu, None)),
    Rehearsal("PluginStarved", _starve, _feed),
)
"""By the names of health conditions: what makes the daemon see them."""

NOT_REHEARSED = {
    "Retired": "repartition=MODE retires the IDs that the GPU had",
    "HeldElsewhere": "repartition=MODE, while a pod holds the GPU, makes it so",
}

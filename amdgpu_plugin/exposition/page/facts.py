"""A view, with what the page asks of it again and again looked up once. Pure."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amdgpu_plugin.discovery.inventory import Gpu
from amdgpu_plugin.exposition.markup import Level
from amdgpu_plugin.exposition.picture.drawing import Scene, Stand
from amdgpu_plugin.exposition.snapshot import Snapshot
from amdgpu_plugin.exposition.view import RETIRED, Board, View, holdings, view
from amdgpu_plugin.node import Holder, ListedDevice


@dataclass(frozen=True, slots=True)
class Facts:
    """`by_gpu` are listed devices by PCI address, `held` who holds a device by its ID."""

    view: View
    by_gpu: dict[str, list[ListedDevice]]
    held: dict[str, list[Holder]]

    @property
    def holders_known(self) -> bool:
        """Whether the kubelet tells who holds what."""
        return self.view.snapshot.state.holders is not None

    @property
    def products(self) -> Mapping[str, int]:
        """The GPUs' products, each with how many there are."""
        return Counter(product_of(board.gpu) for board in self.view.boards)

    def listed(self, address: str) -> Sequence[ListedDevice]:
        """A GPU's devices, those of an earlier partition mode included."""
        return self.by_gpu.get(address, ())


def facts_of(snapshot: Snapshot) -> Facts:
    """Of one snapshot."""
    by_gpu: defaultdict[str, list[ListedDevice]] = defaultdict(list)
    for listed in snapshot.state.devices:
        by_gpu[listed.gpu.pci_address].append(listed)
    held: defaultdict[str, list[Holder]] = defaultdict(list)
    for listed, _, holder in holdings(snapshot):
        held[listed.id].append(holder)
    return Facts(view(snapshot), dict(by_gpu), dict(held))


def product_of(gpu: Gpu) -> str:
    """What a GPU is sold as, or its PCI id."""
    return gpu.product or gpu.pci_id or "product not known"


def stand_of(listed: ListedDevice, board: Board) -> Stand:
    """How a device stands, by what the kubelet is told and what is to look at."""
    if listed.verdict is not None:
        return Stand("none" if listed.verdict.condition == RETIRED else "bad", listed.verdict.condition)
    if board.status.conditions:
        return Stand("warn", board.status.conditions[0].name)
    return Stand("good", "healthy")


def board_stand(facts: Facts, board: Board) -> Stand:
    """How a GPU stands as a whole: as its worst device does."""
    stands = [stand_of(listed, board) for listed in facts.listed(board.gpu.pci_address)]
    current = [stand for stand in stands if stand.word != RETIRED]
    if not current:
        return Stand("none", "not offered" if board.gpu.left_out else "no device")
    order: tuple[Level, ...] = ("bad", "warn", "good", "none")
    return min(current, key=lambda stand: order.index(stand.level))


def scene(facts: Facts) -> Scene:
    """What the topology picture shows, GPUs that are gone included."""
    state = facts.view.snapshot.state
    gpus: list[Gpu] = [board.gpu for board in facts.view.boards]
    stands = {board.gpu.pci_address: board_stand(facts, board) for board in facts.view.boards}
    for board in facts.view.boards:
        for listed in facts.listed(board.gpu.pci_address):
            if listed.device.partition is not None:
                stands[listed.id] = stand_of(listed, board)
    present = frozenset(gpu.pci_address for gpu in state.inventory.gpus)
    return Scene(tuple(gpus), state.inventory.links, stands, present)

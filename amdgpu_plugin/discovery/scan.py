"""One look at a node: asks every lane at once and puts the answers together.

A lane that does not answer costs its GPU and nothing else; it is asked again at the next scan, where its
late answer counts.
"""

import asyncio
from dataclasses import replace
from functools import partial

from amdgpu_plugin.discovery import drm, kfd, pci
from amdgpu_plugin.discovery.build import Scan, build
from amdgpu_plugin.discovery.inventory import Inventory, KfdAccess, Skipped
from amdgpu_plugin.discovery.naming import Naming, name_resources
from amdgpu_plugin.lanes import Hung, Lane, Lanes
from amdgpu_plugin.product_names import ProductNames
from amdgpu_plugin.sysfs import Absent, Sysfs

_NODE_LANE, _BUS_LANE, _KFD_LANE = "node", "bus", "kfd"


async def discover(
    sysfs: Sysfs, lanes: Lanes, *, names: ProductNames, naming: Naming = "single", deadline: float = 20.0
) -> Inventory:
    """The node's inventory by one scan of `deadline` seconds at most."""
    return name_resources(await Scanner(sysfs, lanes, names).scan(deadline=deadline), naming)


class Scanner:
    """Scans one sysfs again and again, over the same lanes."""

    def __init__(self, sysfs: Sysfs, lanes: Lanes, names: ProductNames) -> None:
        """Nothing is read before `scan`."""
        self._sysfs = sysfs
        self._lanes = lanes
        self._names = names
        # KFD nodes whose reading hangs, and the lane each of them holds.
        self._stuck_nodes: dict[int, str] = {}

    async def scan(self, *, deadline: float) -> Inventory:
        """The inventory with its resources unnamed. Whatever answers late is Skipped with the reason."""
        first = await self._lanes[_NODE_LANE].ask(self._read_node_wide, deadline=deadline)
        if isinstance(first, Hung):
            scan = Scan(
                None,
                (),
                drm.DrmMinors((), ()),
                kfd.KfdTopology("absent", ()),
                (Skipped(drm.CLASS, str(first)),),
            )
            return build(scan, self._names)
        minors, paths = first
        gpus, topology, (version, others) = await asyncio.gather(
            asyncio.gather(*(self._read_gpu(address, path, deadline) for address, path in paths.items())),
            self._read_kfd(deadline),
            self._read_others(frozenset(paths), deadline),
        )
        found = tuple(gpu for gpu in gpus if isinstance(gpu, pci.PciGpu))
        unused = (_under_its_card(gpu, minors) for gpu in gpus if isinstance(gpu, Skipped))
        skipped = (*unused, *others, *_no_gpu(found))
        return build(Scan(version, found, minors, topology, skipped), self._names)

    def _read_node_wide(self) -> tuple[drm.DrmMinors, dict[str, str]]:
        """The minors, and the path of every device that may be a GPU, by its address. Only links are read."""
        minors = drm.read_minors(self._sysfs)
        paths = {
            address: pci.device_path(self._sysfs, address) for address in pci.bound_addresses(self._sysfs)
        }
        for minor in minors.minors:
            name = minor.device.rpartition("/")[2]
            if pci.is_address(name):
                paths.setdefault(name, minor.device)
        return minors, paths

    async def _read_gpu(self, address: str, path: str, deadline: float) -> pci.PciGpu | Skipped:
        job = partial(pci.read_gpu, self._sysfs, path, address)
        answer = await self._lanes[f"gpu {address}"].ask(job, deadline=deadline)
        return Skipped(path, str(answer)) if isinstance(answer, Hung) else answer

    async def _read_others(
        self, known: frozenset[str], deadline: float
    ) -> tuple[str | None, tuple[Skipped, ...]]:
        """The driver's version, and GPUs that are not its own."""

        def job() -> tuple[str | None, tuple[Skipped, ...]]:
            return pci.driver_version(self._sysfs), pci.read_other_gpus(self._sysfs, known)

        answer = await self._lanes[_BUS_LANE].ask(job, deadline=deadline)
        return (None, (Skipped(pci.DEVICES, str(answer)),)) if isinstance(answer, Hung) else answer

    async def _read_kfd(self, deadline: float) -> kfd.KfdTopology:
        # A node that hangs gets a fraction of the time, so that the others are read in the rest of it.
        patience = deadline / 8
        numbers = await self._free_kfd_lane().ask(partial(kfd.list_nodes, self._sysfs), deadline=patience)
        if isinstance(numbers, Hung):
            return kfd.KfdTopology("readable", (), skipped=(Skipped(kfd.NODES, str(numbers)),))
        if isinstance(numbers, Absent):
            return kfd.KfdTopology("absent", ())
        answers = {
            number: await self._read_kfd_node(number, frozenset(numbers), patience) for number in numbers
        }
        return _topology(answers)

    async def _read_kfd_node(
        self, number: int, existing: frozenset[int], patience: float
    ) -> kfd.NodeAnswer | Hung:
        if number in self._stuck_nodes and self._lanes[self._stuck_nodes[number]].stuck:
            return Hung(patience)
        lane = self._free_kfd_lane()
        answer = await lane.ask(partial(kfd.read_node, self._sysfs, number, existing), deadline=patience)
        if isinstance(answer, Hung):
            self._stuck_nodes[number] = lane.name
        return answer

    def _free_kfd_lane(self) -> Lane:
        names = (_KFD_LANE, *(f"{_KFD_LANE} {count}" for count in range(2, len(self._stuck_nodes) + 3)))
        return next(lane for name in names if not (lane := self._lanes[name]).stuck)


def _topology(answers: dict[int, kfd.NodeAnswer | Hung]) -> kfd.KfdTopology:
    denied = tuple(number for number, answer in answers.items() if isinstance(answer, kfd.Denied))
    hung = tuple(number for number, answer in answers.items() if isinstance(answer, Hung))
    access: KfdAccess = "denied" if denied else "readable"
    broken = [answer for answer in answers.values() if isinstance(answer, Skipped)]
    skipped = list(broken)
    skipped += [
        Skipped(kfd.node_path(n), str(answer)) for n, answer in answers.items() if isinstance(answer, Hung)
    ]
    skipped += [
        Skipped(kfd.node_path(number), "denied: no device-cgroup access to its render node")
        for number in denied
    ]
    return kfd.KfdTopology(
        access=access,
        nodes=tuple(answer for answer in answers.values() if isinstance(answer, kfd.KfdNode)),
        complete=not (denied or hung or broken),
        hung=hung,
        skipped=tuple(skipped),
    )


def _under_its_card(skipped: Skipped, minors: drm.DrmMinors) -> Skipped:
    """A device that has a card goes by the card's name, which people know."""
    card = minors.of(skipped.path, "card")
    return skipped if card is None else replace(skipped, path=f"{drm.CLASS}/{card.name}")


def _no_gpu(gpus: tuple[pci.PciGpu, ...]) -> tuple[Skipped, ...]:
    if gpus:
        return ()
    return (Skipped(f"{pci.DRIVERS}/amdgpu", "no GPU is bound to amdgpu"),)

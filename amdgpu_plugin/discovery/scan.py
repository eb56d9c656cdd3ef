"""One look at a node: asks the lanes and puts their answers together.

A lane that does not answer costs its GPU and nothing else; it is asked again at the next scan, where its
late answer counts.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from amdgpu_plugin.discovery import drm, pci
from amdgpu_plugin.discovery.build import Scan, build
from amdgpu_plugin.discovery.inventory import Inventory, Skipped
from amdgpu_plugin.discovery.kfd import KfdTopology
from amdgpu_plugin.discovery.kfd_reader import KfdReader
from amdgpu_plugin.discovery.naming import UNSHARED, Naming, Sharing, name_resources
from amdgpu_plugin.discovery.offering import USUAL, Offering, offered
from amdgpu_plugin.lanes import Hung, Lanes, Turns
from amdgpu_plugin.product_names import ProductNames
from amdgpu_plugin.sysfs import Sysfs

NODE_LANE = "node"
_BUS_LANE = "bus"
_TURN_SECONDS, _TURN_SHARE = 0.05, 1 / 10
"""The longest that a read waits for its turn, in seconds and of the deadline."""
_NO_GPU = Skipped(f"{pci.DRIVERS}/amdgpu", "no GPU is bound to amdgpu")


def gpu_lane(address: str) -> str:
    """The name of the lane for everything in a GPU's folder."""
    return f"gpu {address}"


async def discover(
    sysfs: Sysfs,
    lanes: Lanes,
    *,
    names: ProductNames,
    naming: Naming = "single",
    sharing: Sharing = UNSHARED,
    offering: Offering = USUAL,
    deadline: float = 20.0,
) -> Inventory:
    """The node's inventory by one scan of `deadline` seconds at most."""
    inventory = await Scanner(sysfs, lanes, names, offering).scan(deadline=deadline)
    return name_resources(inventory, naming, sharing=sharing)


class Scanner:
    """Scans one sysfs again and again, over the same lanes.

    It remembers which GPUs are APUs, since one that sleeps does not tell, and that there were discrete ones.
    """

    def __init__(self, sysfs: Sysfs, lanes: Lanes, names: ProductNames, offering: Offering = USUAL) -> None:
        """Nothing is read before `scan`."""
        self._sysfs = sysfs
        self._lanes = lanes
        self._names = names
        self.offering = offering
        self._integrated: dict[str, bool] = {}
        self._discrete_seen = False
        self._kfd = KfdReader(sysfs, lanes)

    async def scan(self, *, deadline: float) -> Inventory:
        """The inventory with its resources unnamed. Whatever does not answer is Skipped with the reason.

        `deadline` is for each answer; links are read first, and all else after them at the same time.
        """
        first = await self._lanes[NODE_LANE].ask(self._read_node_wide, deadline=deadline)
        if isinstance(first, Hung):
            nothing = KfdTopology("absent", ())
            silent = (Skipped(drm.CLASS, str(first)),)
            return build(Scan(None, (), drm.DrmMinors((), ()), nothing, {}, silent), self._names)
        found = build(await self._read_all(*first, deadline), self._names)
        inventory = offered(found, self.offering, beside_discrete=self._discrete_seen)
        # Remembered only where it is known: an APU that sleeps or is still being bound does not tell.
        self._discrete_seen = self._discrete_seen or any(gpu.integrated is False for gpu in found.gpus)
        return inventory

    async def _read_all(
        self, minors: drm.DrmMinors, paths: dict[str, str], hive_folders: dict[str, str], deadline: float
    ) -> Scan:
        turns = Turns(min(_TURN_SECONDS, deadline * _TURN_SHARE))
        answers, (version, elsewhere), (by_address, silent_hives), topology = await asyncio.gather(
            asyncio.gather(*(self._read_gpu(*each, turns, deadline) for each in paths.items())),
            self._read_others(frozenset(paths), turns, deadline),
            self._read_hives(hive_folders, turns, deadline),
            self._kfd.read(deadline=deadline),
        )
        unused = _unused(paths, answers)
        none = not any(isinstance(answer, pci.PciGpu | Hung) for answer in answers)
        skipped = (
            *(_under_its_card(each, minors) for each in unused),
            *elsewhere,
            *silent_hives,
            *((_NO_GPU,) if none else ()),
        )
        gpus = tuple(answer for answer in answers if isinstance(answer, pci.PciGpu))
        self._integrated = {gpu.address: gpu.integrated for gpu in gpus if gpu.integrated is not None}
        return Scan(version, gpus, minors, topology, by_address, skipped, _foreign(paths, answers))

    def _read_node_wide(self) -> tuple[drm.DrmMinors, dict[str, str], dict[str, str]]:
        """The minors; by address, the path of every device that may be a GPU; and that of its hive's folder.

        Only links are read.
        """
        minors = drm.read_minors(self._sysfs)
        devices = {minor.device.rpartition("/")[2]: minor.device for minor in minors.minors}
        paths = {name: path for name, path in devices.items() if pci.is_address(name)}
        for address in pci.bound_addresses(self._sysfs):
            if address not in paths:
                paths[address] = pci.device_path(self._sysfs, address)
        found = {address: pci.hive_folder(self._sysfs, path) for address, path in paths.items()}
        return minors, paths, {address: folder for address, folder in found.items() if folder}

    async def _read_gpu(
        self, address: str, path: str, turns: Turns, deadline: float
    ) -> pci.PciGpu | Skipped | Hung:
        known = self._integrated.get(address)
        job = turns.of(partial(pci.read_gpu, self._sysfs, path, address, integrated=known))
        return await self._lanes[gpu_lane(address)].ask(job, deadline=deadline)

    async def _read_hives(
        self, folders: Mapping[str, str], turns: Turns, deadline: float
    ) -> tuple[dict[str, str], list[Skipped]]:
        """Hives' ids by their GPUs' addresses. A hive's folder is shared: it has a lane of its own."""
        shared = sorted(set(folders.values()))
        answers = await asyncio.gather(
            *(
                self._lanes[f"hive {folder}"].ask(
                    turns.of(partial(pci.read_hive, self._sysfs, folder)), deadline=deadline
                )
                for folder in shared
            )
        )
        hives: dict[str, str] = {}
        skipped: list[Skipped] = []
        for folder, answer in zip(shared, answers, strict=True):
            hive, said = (None, (Skipped(folder, str(answer)),)) if isinstance(answer, Hung) else answer
            skipped += said
            if hive is not None:
                hives |= {address: hive for address, its in folders.items() if its == folder}
        return hives, skipped

    async def _read_others(
        self, known: frozenset[str], turns: Turns, deadline: float
    ) -> tuple[str | None, tuple[Skipped, ...]]:
        """The driver's version, and AMD's GPUs that are not its own."""

        def job() -> tuple[str | None, tuple[Skipped, ...]]:
            return pci.driver_version(self._sysfs), pci.read_other_gpus(self._sysfs, known)

        answer = await self._lanes[_BUS_LANE].ask(turns.of(job), deadline=deadline)
        return (None, (Skipped(pci.DEVICES, str(answer)),)) if isinstance(answer, Hung) else answer


def _unused(paths: dict[str, str], answers: Sequence[pci.PciGpu | Skipped | Hung]) -> Iterator[Skipped]:
    """Why devices are not used, in their order."""
    for path, answer in zip(paths.values(), answers, strict=True):
        if isinstance(answer, Skipped):
            yield answer
        elif isinstance(answer, Hung):
            yield Skipped(path, str(answer))


def _foreign(paths: dict[str, str], answers: Sequence[pci.PciGpu | Skipped | Hung]) -> frozenset[str]:
    pairs = zip(paths.values(), answers, strict=True)
    return frozenset(path for path, answer in pairs if isinstance(answer, Skipped) and pci.is_foreign(answer))


def _under_its_card(skipped: Skipped, minors: drm.DrmMinors) -> Skipped:
    """A device that has a card goes by the card's name, which people know."""
    card = minors.of(skipped.path, "card")
    return skipped if card is None else replace(skipped, path=f"{drm.CLASS}/{card.name}")

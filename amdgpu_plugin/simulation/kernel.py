"""The kernel's part in a simulated node: what it does to /sys, and in which order."""

from dataclasses import replace
from typing import Literal

from amdgpu_plugin.simulation import drm, pci, topology
from amdgpu_plugin.simulation.attributes import attribute_entries, attribute_names
from amdgpu_plugin.simulation.boards import BMC_PATH, BRIDGE
from amdgpu_plugin.simulation.coredumps import CoreDumps
from amdgpu_plugin.simulation.gpu import Driver, Gpu
from amdgpu_plugin.simulation.hive import Hives
from amdgpu_plugin.simulation.kfd import Kfd
from amdgpu_plugin.simulation.metrics import Elapsed, Moment, gpu_metrics
from amdgpu_plugin.simulation.minors import MinorFolders
from amdgpu_plugin.simulation.parts import Board, Product
from amdgpu_plugin.simulation.tree import Content, Entries, Tree
from amdgpu_plugin.simulation.uevents import Uevents, drm_pairs, pci_pairs
from amdgpu_plugin.simulation.vitals import Vitals

Recovery = Literal["begin", "failed", "recovered"]
"""Of a PCIe device, after an error."""

_RECOVERY_PAIRS = {
    "begin": (("ERROR_EVENT", "BEGIN_RECOVERY"), ("DEVICE_ONLINE", "0")),
    "failed": (("ERROR_EVENT", "FAILED_RECOVERY"), ("DEVICE_ONLINE", "0")),
    "recovered": (("ERROR_EVENT", "SUCCESSFUL_RECOVERY"), ("DEVICE_ONLINE", "1")),
}


class Kernel:
    """Bus, amdgpu, DRM and KFD of one machine. Trusts its caller: what makes no sense is not asked of it."""

    def __init__(
        self,
        tree: Tree,
        board: Board,
        modes: tuple[str | None, ...],
        minors: drm.MinorTable,
        uevents: Uevents,
    ) -> None:
        """Does nothing yet; `modes` are the GPUs' first, in the order of the board's slots."""
        self._tree = tree
        self._board = board
        self._minors = minors
        self._uevents = uevents
        self._kfd = Kfd(tree, board)
        self._folders = MinorFolders(tree, uevents, board.product.connectors)
        self._dumps = CoreDumps(tree, uevents)
        self.gpus = tuple(
            Gpu(index, slot.address, pci.path_of(board, slot), mode, mode)
            for index, (slot, mode) in enumerate(zip(board.slots, modes, strict=True))
        )
        self._hives = Hives(tree, board, self.gpus)
        self.loaded = False

    @property
    def product(self) -> Product:
        """What all GPUs of this machine are."""
        return self._board.product

    @property
    def modes(self) -> tuple[str, ...]:
        """The compute partition modes of this machine's GPUs; empty when they have none."""
        return tuple(self._board.product.modes)

    @property
    def memory_modes(self) -> tuple[str, ...]:
        """The memory partition modes of this machine's GPUs; empty when they have none."""
        return self._board.product.memory_modes

    def boot(self) -> None:
        """The bus, the drivers and every GPU, bound. Only what happens later is told as uevents."""
        self._tree.plant(pci.bus_entries(self._board))
        self._tree.plant(pci.module_entries())
        self._kfd.appear()
        self.loaded = True
        if self._board.bmc:
            card = self._minors.take_card()
            self._tree.plant(drm.minor_entries(BMC_PATH, f"card{card}", card))
            self._tree.plant(drm.connector_entries(BMC_PATH, f"card{card}", "VGA-1"))
        for gpu in self.gpus:
            self.plug_in(gpu)
            gpu.first_driver = self._load_driver(gpu)
            self._folders.show(gpu, gpu.first_driver)
            # The driver comes up in SPX. Another mode, set afterwards, removes that node and adds others.
            self._kfd.add(gpu.index, gpu.mode and "SPX", gpu.first_driver.render_minors)
        for gpu in self.gpus:
            if gpu.mode not in {None, "SPX"} and gpu.first_driver:
                self._kfd.drop(gpu.index)
                self._kfd.add(gpu.index, gpu.mode, gpu.first_driver.render_minors)
        self._kfd.publish()
        self._uevents.listening = True

    def load(self) -> None:
        """The module is loaded: KFD first, then every GPU on the bus is bound, then the module tells."""
        self.loaded = True
        self._kfd.appear()
        self._uevents.emit("add", topology.CLASS, "class", ())
        self._uevents.emit("add", topology.KFD, "kfd", topology.DEVICE_PAIRS)
        self._tree.plant(pci.module_entries())
        for gpu in self.gpus:
            if gpu.on_bus:
                self.bind(gpu)
        self._uevents.emit("add", pci.AMDGPU, "drivers", ())
        self._uevents.emit("add", pci.MODULE, "module", ())

    def unload(self) -> None:
        """The module goes, in the order of amdgpu_exit(): KFD first, then the GPUs, the last one first."""
        self._kfd.vanish()
        self._uevents.emit("remove", topology.KFD, "kfd", topology.DEVICE_PAIRS)
        self._uevents.emit("remove", topology.CLASS, "class", ())
        for gpu in reversed(self.gpus):
            if gpu.driver is not None:
                self.unbind(gpu, gpu.driver)
        for path, subsystem in ((pci.AMDGPU, "drivers"), (pci.MODULE, "module")):
            self._tree.uproot(path)
            self._uevents.emit("remove", path, subsystem, ())
        self.loaded = False

    def plug_in(self, gpu: Gpu) -> None:
        """A GPU comes to the bus; no driver yet."""
        gpu.on_bus = True
        gpu.vitals = gpu.vitals.plugged_in()
        self._tree.plant(pci.slot_entries(self._board, gpu.index, gpu.vitals))
        self._pci_uevent("add", gpu)

    def bind(self, gpu: Gpu) -> None:
        """The driver takes a GPU that has none."""
        driver = self._load_driver(gpu)
        self._join_kfd(gpu, driver)
        self._folders.show(gpu, driver)
        self._pci_uevent("bind", gpu)

    def unbind(self, gpu: Gpu, driver: Driver) -> None:
        """The driver lets go. Its links are gone first (driver_sysfs_remove() in drivers/base/dd.c)."""
        self._tree.uproot(f"bus/pci/drivers/amdgpu/{gpu.address}")
        self._tree.uproot(f"{gpu.path}/driver")
        gpu.driver = None
        self._folders.hide(gpu, driver)
        self._leave_kfd(gpu)
        self._tree.uproot(f"class/hwmon/hwmon{driver.hwmon}")
        for name in self.attribute_names(gpu):
            self._tree.uproot(f"{gpu.path}/{name}")
        self._hives.leave(gpu)
        self._minors.give_back(driver.own, driver.xcps)
        self._tree.plant(pci.unbound_uevent(gpu.path, self._board.product.pci))
        self._pci_uevent("unbind", gpu)

    def unplug(self, gpu: Gpu) -> None:
        """A GPU without a driver leaves the bus."""
        gpu.on_bus = False
        self._tree.uproot(f"bus/pci/devices/{gpu.address}")
        self._tree.uproot(gpu.path)
        self._pci_uevent("remove", gpu)

    def switch_mode(self, gpu: Gpu, driver: Driver, mode: str) -> None:
        """A bound GPU is partitioned anew: KFD's nodes, the mode's file and gpu_metrics change, no uevent."""
        self._leave_kfd(gpu)
        self._change(gpu, mode, gpu.vitals)
        self._join_kfd(gpu, driver)

    def change(self, gpu: Gpu, vitals: Vitals) -> None:
        """Of the GPU's files, those that say something else now."""
        self._change(gpu, gpu.mode, vitals)

    def attribute_names(self, gpu: Gpu) -> tuple[str, ...]:
        """What amdgpu makes in the GPU's folder: files and folders."""
        return attribute_names(self._board, gpu.index)

    def metrics(self, gpu: Gpu, elapsed: Elapsed) -> bytes:
        """gpu_metrics as it is so long after what the file in the tree says."""
        in_hive = self._board.hive_of(gpu.index) is not None
        return gpu_metrics(Moment(self._board.product, gpu.vitals, gpu.mode, in_hive, elapsed))

    def wedge(self, gpu: Gpu, driver: Driver, methods: str) -> None:
        """The driver says that the GPU was reset, or needs to be (drm_dev_wedged_event())."""
        name, card = f"card{driver.own.card}", driver.own.card
        self._uevents.emit(
            "change", f"{gpu.path}/drm/{name}", "drm", [("WEDGED", methods), *drm_pairs(name, card)]
        )

    def recover(self, gpu: Gpu, phase: Recovery, *, at_bridge: bool) -> None:
        """The PCI core tells how it goes with an error (pci_uevent_ers())."""
        if at_bridge:
            port = pci.slot_link_ends(self._board, self._board.slots[gpu.index])[1]
            pairs = pci_pairs(BRIDGE, port.rpartition("/")[2], None)
        else:
            port, pairs = gpu.path, self._pci_pairs(gpu)
        self._uevents.emit("change", port, "pci", [*_RECOVERY_PAIRS[phase], *pairs])

    def take_render_node(self, gpu: Gpu, driver: Driver) -> None:
        """What no kernel does: the GPU's own render minor is gone while the driver is bound."""
        gpu.vitals = replace(gpu.vitals, render_node=False)
        self._folders.hide_render(gpu, driver)

    def give_render_node(self, gpu: Gpu, driver: Driver) -> None:
        """It is there again."""
        gpu.vitals = replace(gpu.vitals, render_node=True)
        self._folders.show_render(gpu, driver)

    def dump(self, gpu: Gpu) -> None:
        """The driver leaves a device coredump."""
        gpu.vitals = replace(gpu.vitals, dumps=(*gpu.vitals.dumps, self._dumps.add(gpu)))

    def drop_dumps(self, gpu: Gpu) -> None:
        """All of the GPU's time out."""
        for number in gpu.vitals.dumps:
            self._dumps.remove(gpu, number)
        gpu.vitals = replace(gpu.vitals, dumps=())

    def _change(self, gpu: Gpu, mode: str | None, vitals: Vitals) -> None:
        before = self._entries(gpu)
        gpu.mode, gpu.vitals = mode, vitals
        after = self._entries(gpu)
        self._tree.plant({path: content for path, content in after.items() if before[path] != content})

    def _entries(self, gpu: Gpu) -> Entries:
        entries: dict[str, Content] = {}
        if gpu.on_bus:
            entries |= pci.slot_entries(self._board, gpu.index, gpu.vitals)
        if gpu.driver is not None:
            entries |= attribute_entries(self._board, gpu.index, gpu.mode, gpu.driver.hwmon, gpu.vitals)
        return entries

    def _load_driver(self, gpu: Gpu) -> Driver:
        """What a probe does before anything can be opened."""
        own = self._minors.take()
        assert own is not None, "no shape has more GPUs than there are minors"
        xcps = self._minors.take_xcps() if gpu.mode is not None else ()
        used = {other.driver.hwmon for other in self.gpus if other.driver is not None}
        hwmon = next(number for number in range(len(self.gpus)) if number not in used)
        self.change(gpu, gpu.vitals.loaded_anew())
        driver = gpu.driver = Driver(own, xcps, hwmon)
        self._tree.plant(pci.driver_entries(gpu.path, self._board.product.pci, "amdgpu"))
        self._tree.plant(attribute_entries(self._board, gpu.index, gpu.mode, hwmon, gpu.vitals))
        self._hives.join(gpu)
        self._folders.add_xcps(driver)
        return driver

    def _join_kfd(self, gpu: Gpu, driver: Driver) -> None:
        self._kfd.add(gpu.index, gpu.mode, driver.render_minors)
        self._kfd.publish()

    def _leave_kfd(self, gpu: Gpu) -> None:
        self._kfd.drop(gpu.index)
        self._kfd.publish()

    def _pci_uevent(self, action: str, gpu: Gpu) -> None:
        pairs = self._pci_pairs(gpu)
        if action == "unbind":
            # the kernel takes it out again: zap_modalias_env()
            pairs = [pair for pair in pairs if pair[0] != "MODALIAS"]
        self._uevents.emit(action, gpu.path, "pci", pairs)

    def _pci_pairs(self, gpu: Gpu) -> list[tuple[str, str]]:
        driver = None if gpu.driver is None else "amdgpu"
        return pci_pairs(self._board.product.pci, gpu.address, driver)

"""The kernel's part in a simulated node: what it does to /sys, and in which order."""

from dataclasses import dataclass

from amdgpu_plugin.simulation import drm, pci, topology
from amdgpu_plugin.simulation.boards import BMC_PATH
from amdgpu_plugin.simulation.kfd import Kfd
from amdgpu_plugin.simulation.parts import Board
from amdgpu_plugin.simulation.tree import Content, Link, Tree
from amdgpu_plugin.simulation.uevents import Uevents, drm_pairs, pci_pairs


@dataclass(frozen=True, slots=True)
class Driver:
    """What a bound driver holds."""

    own: drm.Minors
    xcps: tuple[drm.Xcp, ...]
    hwmon: int

    @property
    def render_minors(self) -> tuple[int, ...]:
        """By partition: number 0 is the GPU's own."""
        return self.own.render, *(xcp.minors.render for xcp in self.xcps)


@dataclass(slots=True)
class Gpu:
    """`driver` is None while none is bound. `path` is relative to the sysfs root."""

    index: int
    address: str
    path: str
    mode: str | None
    first_mode: str | None
    on_bus: bool = False
    driver: Driver | None = None
    first_driver: Driver | None = None


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
        self.gpus = tuple(
            Gpu(index, slot.address, pci.path_of(board, slot), mode, mode)
            for index, (slot, mode) in enumerate(zip(board.slots, modes, strict=True))
        )

    @property
    def modes(self) -> tuple[str, ...]:
        """The compute partition modes of this machine's GPUs; empty when they have none."""
        return tuple(self._board.product.modes)

    def boot(self) -> None:
        """The bus, the drivers and every GPU, bound. Only what happens later is told as uevents."""
        self._tree.plant(pci.bus_entries(self._board))
        self._tree.plant(topology.kfd_entries())
        if self._board.bmc:
            card = self._minors.take_card()
            self._tree.plant(drm.minor_entries(BMC_PATH, f"card{card}", card))
            self._tree.plant(drm.connector_entries(BMC_PATH, f"card{card}", "VGA-1"))
        for gpu in self.gpus:
            self.plug_in(gpu)
            gpu.first_driver = self._load_driver(gpu)
            self._show_minors(gpu, gpu.first_driver)
            # The driver comes up in SPX. Another mode, set afterwards, removes that node and adds others.
            self._kfd.add(gpu.index, gpu.mode and "SPX", gpu.first_driver.render_minors)
        for gpu in self.gpus:
            if gpu.mode not in {None, "SPX"} and gpu.first_driver:
                self._kfd.drop(gpu.index)
                self._kfd.add(gpu.index, gpu.mode, gpu.first_driver.render_minors)
        self._kfd.publish()
        self._uevents.listening = True

    def plug_in(self, gpu: Gpu) -> None:
        """A GPU comes to the bus; no driver yet."""
        gpu.on_bus = True
        self._tree.plant(pci.slot_entries(self._board, gpu.index))
        self._pci_uevent("add", gpu)

    def bind(self, gpu: Gpu) -> None:
        """The driver takes a GPU that has none."""
        driver = self._load_driver(gpu)
        self._join_kfd(gpu, driver)
        self._show_minors(gpu, driver)
        self._pci_uevent("bind", gpu)

    def unbind(self, gpu: Gpu, driver: Driver) -> None:
        """The driver lets go. Its links are gone first (driver_sysfs_remove() in drivers/base/dd.c)."""
        self._tree.uproot(f"bus/pci/drivers/amdgpu/{gpu.address}")
        self._tree.uproot(f"{gpu.path}/driver")
        gpu.driver = None
        self._hide_minors(gpu, driver)
        self._leave_kfd(gpu)
        self._tree.uproot(f"class/hwmon/hwmon{driver.hwmon}")
        for name in pci.attribute_names(self._board, gpu.index):
            self._tree.uproot(f"{gpu.path}/{name}")
        self._leave_hive(gpu)
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
        """A bound GPU is partitioned anew: only KFD's nodes and the mode's file change, without a uevent."""
        self._leave_kfd(gpu)
        gpu.mode = mode
        self._tree.plant({f"{gpu.path}/current_compute_partition": f"{mode}\n".encode()})
        self._join_kfd(gpu, driver)

    def _load_driver(self, gpu: Gpu) -> Driver:
        """What a probe does before anything can be opened."""
        own = self._minors.take()
        assert own is not None, "no shape has more GPUs than there are minors"
        xcps = self._minors.take_xcps() if gpu.mode is not None else ()
        used = {other.driver.hwmon for other in self.gpus if other.driver is not None}
        hwmon = next(number for number in range(len(self.gpus)) if number not in used)
        driver = gpu.driver = Driver(own, xcps, hwmon)
        self._tree.plant(pci.driver_entries(gpu.path, self._board.product.pci, "amdgpu"))
        self._tree.plant(pci.attribute_entries(self._board, gpu.index, gpu.mode, hwmon))
        self._join_hive(gpu)
        for xcp in xcps:
            self._tree.plant(drm.xcp_entries(xcp))
            self._uevents.emit("add", xcp.path, "platform", drm.xcp_pairs(xcp))
        return driver

    def _show_minors(self, gpu: Gpu, driver: Driver) -> None:
        for path, minors in ((gpu.path, driver.own), *((xcp.path, xcp.minors) for xcp in driver.xcps)):
            for name, minor in minors.names:
                self._tree.plant(drm.minor_entries(path, name, minor))
                self._uevents.emit("add", f"{path}/drm/{name}", "drm", drm_pairs(name, minor))
        self._tree.plant(drm.gpu_extras(gpu.path, driver.own.card, self._board.product.connectors))

    def _hide_minors(self, gpu: Gpu, driver: Driver) -> None:
        for xcp in driver.xcps:
            self._hide(xcp.path, xcp.minors)
            self._tree.uproot(f"bus/platform/devices/{xcp.name}")
            self._tree.uproot(xcp.path)
            self._uevents.emit("remove", xcp.path, "platform", drm.xcp_pairs(xcp))
        for path in drm.gpu_extras(gpu.path, driver.own.card, self._board.product.connectors):
            self._tree.uproot(path)
        self._hide(gpu.path, driver.own)
        self._tree.uproot(f"{gpu.path}/drm")

    def _hide(self, path: str, minors: drm.Minors) -> None:
        for name, minor in reversed(minors.names):
            self._tree.uproot(f"class/drm/{name}")
            self._tree.uproot(f"{path}/drm/{name}")
            self._uevents.emit("remove", f"{path}/drm/{name}", "drm", drm_pairs(name, minor))

    def _join_kfd(self, gpu: Gpu, driver: Driver) -> None:
        self._kfd.add(gpu.index, gpu.mode, driver.render_minors)
        self._kfd.publish()

    def _leave_kfd(self, gpu: Gpu) -> None:
        self._kfd.drop(gpu.index)
        self._kfd.publish()

    def _hive(self, gpu: Gpu) -> list[Gpu]:
        members = self._board.hives.get(self._board.hive_of(gpu.index) or 0, ())
        return [self.gpus[member] for member in members]

    def _join_hive(self, gpu: Gpu) -> None:
        """The hive's folder is in that of its first GPU; the others have a link to it (amdgpu_xgmi.c)."""
        members = self._hive(gpu)
        if not members:
            return
        folder = f"{members[0].path}/xgmi_hive_info"
        entries: dict[str, Content] = {}
        if members[0].on_bus:
            entries[f"{folder}/xgmi_hive_id"] = f"{self._board.hive_of(gpu.index)}\n".encode()
            for number, member in enumerate(members, 1):
                if member.driver is not None:
                    entries[f"{folder}/node{number}"] = Link(member.path)
        if gpu is not members[0]:
            entries[f"{gpu.path}/xgmi_hive_info"] = Link(folder)
        self._tree.plant(entries)

    def _leave_hive(self, gpu: Gpu) -> None:
        members = self._hive(gpu)
        if not members:
            return
        folder = f"{members[0].path}/xgmi_hive_info"
        self._tree.uproot(f"{folder}/node{members.index(gpu) + 1}")
        if gpu is not members[0]:
            self._tree.uproot(f"{gpu.path}/xgmi_hive_info")
        if not any(member.driver for member in members):
            self._tree.uproot(folder)

    def _pci_uevent(self, action: str, gpu: Gpu) -> None:
        pairs = pci_pairs(self._board.product.pci, gpu.address, "amdgpu" if action == "bind" else None)
        if action == "unbind":
            # the kernel takes it out again: zap_modalias_env()
            pairs = [pair for pair in pairs if pair[0] != "MODALIAS"]
        self._uevents.emit(action, gpu.path, "pci", pairs)

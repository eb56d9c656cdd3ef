"""A simulated node: a sysfs tree that changes as the kernel would change it."""

import os
from collections.abc import Callable

from amdgpu_plugin.simulation import drm
from amdgpu_plugin.simulation.kernel import Driver, Gpu, Kernel
from amdgpu_plugin.simulation.shapes import Shape, board_of, modes_of, parse_shape
from amdgpu_plugin.simulation.tree import Tree
from amdgpu_plugin.simulation.uevents import Uevents

OnUevent = Callable[[bytes], None]


class SimulationError(Exception):
    """A verb that makes no sense on this node now; the message says why and what would."""


class SimulatedNode:
    """AMD GPUs in a directory laid out like /sys.

    Each verb leaves behind what the kernel would, in the kernel's order, and hands the kernel's uevents to
    `on_uevent`, each right after its change and in the thread of the caller. Verbs are for one thread at a
    time; readers may be anywhere. Between two steps a reader sees what could be seen on a real node.
    """

    def __init__(self, root: str, shape: Shape, kernel: Kernel) -> None:
        """Use create(); the kernel given here has booted in the tree at `root`."""
        self.root = root
        self.shape = shape
        self._kernel = kernel
        self._gpus = {gpu.address: gpu for gpu in kernel.gpus}

    @classmethod
    def create(
        cls,
        directory: str | os.PathLike[str],
        shape: Shape | str,
        *,
        on_uevent: OnUevent | None = None,
        extended_minors: bool = True,
    ) -> "SimulatedNode":
        """Build a node in an empty or absent `directory`; its sysfs is then `node.root`.

        `extended_minors`: what the kernel does when 64 cards are not enough: since 6.12 it goes on at 192
        (True), before that amdgpu does without the partition (False). Fastest on a tmpfs such as /dev/shm.
        Raises ShapeError, and FileExistsError when there is a node already.
        """
        parsed = parse_shape(shape) if isinstance(shape, str) else shape
        tree = Tree(os.fspath(directory))
        minors = drm.MinorTable(extended=extended_minors)
        kernel = Kernel(tree, board_of(parsed), modes_of(parsed), minors, Uevents(on_uevent))
        kernel.boot()
        return cls(tree.root, parsed, kernel)

    @property
    def addresses(self) -> tuple[str, ...]:
        """PCI addresses of all GPUs the shape has, gone or not, in the order the kernel finds them."""
        return tuple(self._gpus)

    def path_of(self, address: str) -> str:
        """The directory of the GPU's PCI device, whether it is there now or not."""
        return os.path.join(self.root, self._gpu(address).path)

    def mode_of(self, address: str) -> str | None:
        """The GPU's compute partition mode; None where it cannot be partitioned. SimulationError."""
        return self._gpu(address).mode

    def unbind(self, address: str) -> None:
        """As `echo ADDRESS > /sys/bus/pci/drivers/amdgpu/unbind`."""
        self._kernel.unbind(*self._bound(address))

    def bind(self, address: str) -> None:
        """As `echo ADDRESS > /sys/bus/pci/drivers/amdgpu/bind`."""
        gpu = self._on_bus(address)
        if gpu.driver is not None:
            raise SimulationError(f"{address} is bound to amdgpu already")
        self._kernel.bind(gpu)

    def remove(self, address: str) -> None:
        """As `echo 1 > /sys/bus/pci/devices/ADDRESS/remove`, or a GPU that fell off its bus."""
        gpu = self._on_bus(address)
        if gpu.driver is not None:
            self._kernel.unbind(gpu, gpu.driver)
        self._kernel.unplug(gpu)

    def add(self, address: str) -> None:
        """As `echo 1 > /sys/bus/pci/rescan`: the GPU is found again, and the driver takes it."""
        gpu = self._gpu(address)
        if gpu.on_bus:
            raise SimulationError(f"{address} is on the bus already")
        self._kernel.plug_in(gpu)
        self._kernel.bind(gpu)

    def repartition(self, address: str, mode: str) -> None:
        """As `echo MODE > current_compute_partition`. Only KFD's nodes change, and there is no uevent."""
        gpu, driver = self._bound(address)
        modes = self._kernel.modes
        if mode not in modes:
            known = f"it has {', '.join(modes)}" if modes else "it cannot be partitioned"
            raise SimulationError(f"{address} has no compute partition mode {mode!r}: {known}")
        if mode != gpu.mode:
            self._kernel.switch_mode(gpu, driver, mode)

    def clear(self, address: str | None = None) -> None:
        """Every GPU, or the one, back on the bus, bound, in its first mode, with its first minors.

        What is so already is not touched. KFD's node numbers follow the order of binding, as they do in the
        kernel, and its generation goes on. SimulationError for an address that is not here.
        """
        gpus = tuple(self._gpus.values()) if address is None else (self._gpu(address),)
        for gpu in gpus:
            if gpu.driver is not None and gpu.driver != gpu.first_driver:
                self._kernel.unbind(gpu, gpu.driver)
        for gpu in gpus:
            if gpu.driver is not None:
                if gpu.first_mode is not None:
                    self.repartition(gpu.address, gpu.first_mode)
                continue
            gpu.mode = gpu.first_mode
            if not gpu.on_bus:
                self._kernel.plug_in(gpu)
            self._kernel.bind(gpu)

    def _gpu(self, address: str) -> Gpu:
        gpu = self._gpus.get(address)
        if gpu is None:
            raise SimulationError(f"no GPU {address!r} in {self.shape}; there are {', '.join(self._gpus)}")
        return gpu

    def _on_bus(self, address: str) -> Gpu:
        gpu = self._gpu(address)
        if not gpu.on_bus:
            raise SimulationError(f"{address} is not on the bus: add it first")
        return gpu

    def _bound(self, address: str) -> tuple[Gpu, Driver]:
        gpu = self._on_bus(address)
        if gpu.driver is None:
            raise SimulationError(f"{address} has no driver: bind it first")
        return gpu, gpu.driver

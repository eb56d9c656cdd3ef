"""A simulated node: a sysfs tree that changes as the kernel would change it."""

import os
from collections.abc import Callable
from dataclasses import replace

from amdgpu_plugin.simulation import drm
from amdgpu_plugin.simulation.faults import FaultyGpus, SimulationError
from amdgpu_plugin.simulation.gpu import Gpu
from amdgpu_plugin.simulation.kernel import Kernel
from amdgpu_plugin.simulation.shapes import Shape, board_of, modes_of, parse_shape
from amdgpu_plugin.simulation.tree import Tree
from amdgpu_plugin.simulation.uevents import Uevents
from amdgpu_plugin.simulation.vitals import Vitals

__all__ = ["SimulatedNode", "SimulationError"]

OnUevent = Callable[[bytes], None]

_NOT_LOADED = "amdgpu is not loaded: load it first"


class SimulatedNode(FaultyGpus):
    """AMD GPUs in a directory laid out like /sys.

    Each verb leaves behind what the kernel would, in the kernel's order, and hands the kernel's uevents to
    `on_uevent`, each right after its change and in the thread of the caller. Verbs are for one thread at a
    time; readers may be anywhere. Between two steps a reader sees what could be seen on a real node.
    Readers read by way of `sysfs`; the tree at `root` is plain files for those who do not care for faults.
    """

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
        if not self._kernel.loaded:
            raise SimulationError(_NOT_LOADED)
        self._kernel.bind(gpu)

    def reload(self, address: str) -> None:
        """Unbound and bound again: the driver counts from 0, and what it was wedged by is over."""
        self.unbind(address)
        self.bind(address)

    def remove(self, address: str) -> None:
        """As `echo 1 > /sys/bus/pci/devices/ADDRESS/remove`, or a GPU that fell off its bus."""
        gpu = self._on_bus(address)
        if gpu.driver is not None:
            self._kernel.unbind(gpu, gpu.driver)
        self._kernel.unplug(gpu)

    def add(self, address: str) -> None:
        """As `echo 1 > /sys/bus/pci/rescan`: the GPU is found again, and a loaded driver takes it."""
        gpu = self._gpu(address)
        if gpu.on_bus:
            raise SimulationError(f"{address} is on the bus already")
        self._kernel.plug_in(gpu)
        if self._kernel.loaded:
            self._kernel.bind(gpu)

    def unload(self) -> None:
        """As `modprobe -r amdgpu`: no GPU is bound, KFD and the module's folders are gone."""
        if not self._kernel.loaded:
            raise SimulationError(_NOT_LOADED)
        self._kernel.unload()

    def load(self) -> None:
        """As `modprobe amdgpu`: KFD appears, and every GPU on the bus is bound."""
        if self._kernel.loaded:
            raise SimulationError("amdgpu is loaded already")
        self._kernel.load()

    def repartition(self, address: str, mode: str) -> None:
        """As `echo MODE > current_compute_partition`. Only KFD's nodes change, and there is no uevent."""
        gpu, driver = self._bound(address)
        modes = self._kernel.modes
        if mode not in modes:
            known = f"it has {', '.join(modes)}" if modes else "it cannot be partitioned"
            raise SimulationError(f"{address} has no compute partition mode {mode!r}: {known}")
        if mode != gpu.mode:
            self._kernel.switch_mode(gpu, driver, mode)

    def repartition_memory(self, address: str, mode: str) -> None:
        """As `echo MODE > current_memory_partition` and the reload of the driver by which it takes effect."""
        gpu, _ = self._bound(address)
        modes = self._kernel.memory_modes if gpu.mode is not None else ()
        if mode not in modes:
            known = f"it has {', '.join(modes)}" if modes else "its memory cannot be partitioned"
            raise SimulationError(f"{address} has no memory partition mode {mode!r}: {known}")
        self.unbind(address)
        self._kernel.change(gpu, replace(gpu.vitals, memory_mode=mode))
        self.bind(address)

    def clear(self, address: str | None = None) -> None:
        """Every GPU, or the one, healthy, on the bus, bound, in its first mode, with its first minors.

        What is so already is not touched. A GPU whose driver has counted RAS errors, was wedged or failed on
        the bus is bound anew, since nothing else ends that. Worn out memory and AER's counts, which never end
        on a real node, are as on a new board. If amdgpu is not loaded, it is, and a starved node answers
        again, for a single GPU as well. KFD's node numbers follow the order of binding, as they do in the
        kernel, and its generation goes on. SimulationError for an address that is not here.
        """
        gpus = tuple(self._gpus.values()) if address is None else (self._gpu(address),)
        self.starve(on=False)
        if not self._kernel.loaded:
            self._kernel.load()
        for gpu in gpus:
            self._heal(gpu)
        for gpu in gpus:
            if gpu.driver is not None:
                if gpu.first_mode is not None:
                    self.repartition(gpu.address, gpu.first_mode)
                continue
            gpu.mode = gpu.first_mode
            if not gpu.on_bus:
                self._kernel.plug_in(gpu)
            self._kernel.bind(gpu)

    def close(self) -> None:
        """Whoever hangs in a read is released, so that a process can end."""
        self.sysfs.close()

    def _heal(self, gpu: Gpu) -> None:
        """Of a GPU that has to be bound anew, the driver is left unbound."""
        self.sysfs.lift(gpu.address)
        self._kernel.drop_dumps(gpu)
        if gpu.driver is not None and (gpu.driver != gpu.first_driver or gpu.vitals.needs_reload):
            self._kernel.unbind(gpu, gpu.driver)
        if gpu.driver is not None and not gpu.vitals.render_node:
            self._kernel.give_render_node(gpu, gpu.driver)
        self._kernel.change(gpu, Vitals())

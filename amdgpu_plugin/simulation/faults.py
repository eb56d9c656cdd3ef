"""What can befall a simulated node's GPUs, and how each of it ends."""

import errno
import re
from dataclasses import replace

from amdgpu_plugin.simulation import metrics
from amdgpu_plugin.simulation.faulty_sysfs import Fault, FaultySysfs, Hang, Refusal, Statement
from amdgpu_plugin.simulation.gpu import Driver, Gpu
from amdgpu_plugin.simulation.kernel import Kernel, Recovery
from amdgpu_plugin.simulation.readers import Advancing, Disconnected, Sleeping
from amdgpu_plugin.simulation.shapes import Shape
from amdgpu_plugin.simulation.vitals import ErrorCounts, PageCounts

INACCESSIBLE = b"Query currently inaccessible\n"
"""What a RAS count says during a reset, with success (amdgpu_ras.c)."""

_SENSORS = r"hwmon/hwmon\d+/((temp|freq|fan|in)\d+_input|power1_(average|input|cap))"
_MEASURED = rf"{_SENSORS}|\w+_busy_percent|gpu_metrics"
_COUNTS = r"ras/\w+_err_count"
# In a reset, amdgpu_pm.c refuses what it would have to ask the GPU for; the driver's builds outside the
# kernel tree refuse the mode as well.
_GUARDED = rf"{_MEASURED}|unique_id|current_compute_partition"
_ANSWERED = rf"{_MEASURED}|{_COUNTS}|ras/gpu_vram_bad_pages|mem_info_\w+|pcie_replay_count"
# The PCI core wakes a GPU to read its configuration, since 6.18 its link registers as well.
_WAKING = rf"{_MEASURED}|{_COUNTS}|config|(current|max)_link_(speed|width)"


class SimulationError(Exception):
    """A verb that makes no sense on this node now; the message says why and what would."""


class FaultyGpus:
    """A node's GPUs by PCI address, and verbs for what can befall them.

    Each verb leaves what the kernel would leave, in files and uevents, and is undone by the same verb with
    `on=False` or without its values. Some faults are in `sysfs` alone, the reader's way to the tree: what is
    refused, hangs or wakes up cannot be in plain files. With every read of a GPU's gpu_metrics by way of
    `sysfs`, a second has passed. SimulationError for an address that is
    not here, and where the GPU has no such thing.
    """

    def __init__(self, root: str, shape: Shape, kernel: Kernel) -> None:
        """`kernel` has booted in the tree at `root`."""
        self.root = root
        self.shape = shape
        self.sysfs = FaultySysfs(root, {"gpu_metrics": Advancing(kernel.gpus, kernel.metrics)})
        self._kernel = kernel
        self._gpus = {gpu.address: gpu for gpu in kernel.gpus}

    def wedge(self, address: str, methods: str = "rebind,bus-reset") -> None:
        """The driver asks to be recovered in one of these ways; `none`: it has recovered by itself."""
        gpu, driver = self._bound(address)
        if "none" not in methods.split(","):
            gpu.vitals = replace(gpu.vitals, wedged=True)
        self._kernel.wedge(gpu, driver, methods)

    def bus_error(self, address: str, phase: Recovery, *, at_bridge: bool = False) -> None:
        """PCIe error recovery begins, has failed or succeeded, at the GPU or the port above its slot.

        In an XGMI hive there is no beginning: amdgpu votes for a disconnect, and `failed` comes first. From
        then to `recovered` or a load of the driver, what the GPU would be asked for is answered with EIO.
        """
        gpu = self._on_bus(address)
        counted = gpu.vitals.fatal_errors + (phase != "recovered" and not gpu.vitals.recovering)
        failed, recovering = phase == "failed", phase == "begin"
        vitals = replace(gpu.vitals, fatal_errors=counted, bus_failed=failed, recovering=recovering)
        self._kernel.change(gpu, vitals)
        self._lay(gpu, "bus", Disconnected(gpu, _files(gpu, _MEASURED)))
        self._kernel.recover(gpu, phase, at_bridge=at_bridge)

    def ras_errors(self, address: str, block: str = "umc", *, ue: int = 0, ce: int = 0, de: int = 0) -> None:
        """So many more errors in a block. Only a load of the driver makes counts fall."""
        gpu, _ = self._bound(address)
        blocks = self._kernel.product.ras_blocks
        if block not in blocks:
            known = f"it has {', '.join(blocks)}" if blocks else "its driver counts none"
            raise SimulationError(f"{address} has no RAS block {block!r}: {known}")
        counts = gpu.vitals.ras.get(block, ErrorCounts()) + ErrorCounts(ue, ce, de)
        self._kernel.change(gpu, replace(gpu.vitals, ras={**gpu.vitals.ras, block: counts}))

    def ras_inaccessible(self, address: str, *, on: bool = True) -> None:
        """RAS counts say a sentence instead, as during a reset."""
        gpu = self._for(address, on=on)
        self._lay(gpu, "ras", Statement(_files(gpu, _COUNTS), INACCESSIBLE) if on else None)

    def bad_pages(self, address: str, *, retired: int = 0, pending: int = 0, unreservable: int = 0) -> None:
        """The board has so many bad pages by state; a load of the driver retires those that are pending.

        They are in the board's own memory: that they become fewer means another board.
        """
        gpu, _ = self._bound(address)
        if not self._kernel.product.ras_blocks:
            raise SimulationError(f"{address} keeps no list of bad pages")
        self._kernel.change(gpu, replace(gpu.vitals, bad_pages=PageCounts(retired, pending, unreservable)))

    def heat(self, address: str, sensor: str, celsius: float | None) -> None:
        """A sensor reads that much; None: as ever."""
        gpu = self._for(address, on=celsius is not None)
        if metrics.sensor_number(self._kernel.product, sensor) is None:
            raise SimulationError(f"{address} has no sensor {sensor!r}; it has {', '.join(self.limits)}")
        others = {name: value for name, value in gpu.vitals.celsius.items() if name != sensor}
        now = others if celsius is None else others | {sensor: celsius}
        self._kernel.change(gpu, replace(gpu.vitals, celsius=now))

    @property
    def limits(self) -> dict[str, dict[str, float]]:
        """Of each temperature sensor by label, in °C: `crit` and `emergency`, where it has them."""
        files = self._kernel.product.sensors
        labels = {
            name.removesuffix("_label"): label for name, label in files.items() if name.startswith("temp")
        }
        return {
            label: {
                limit: int(files[f"{sensor}_{limit}"]) / 1000
                for limit in ("crit", "emergency")
                if f"{sensor}_{limit}" in files
            }
            for sensor, label in labels.items()
            if f"{sensor}_label" in files
        }

    def busy(self, address: str, *, on: bool = True) -> None:
        """In a reset that does not end: what the GPU would be asked for is refused, RAS counts say so."""
        gpu = self._for(address, on=on)
        self._lay(gpu, "busy", Refusal(_files(gpu, _GUARDED), errno.EPERM) if on else None)
        self.ras_inaccessible(address, on=on)

    def hang(self, address: str, *, on: bool = True) -> None:
        """Whoever reads what amdgpu makes waits for ever, as behind a lock that a reset never gives back."""
        gpu = self._for(address, on=on)
        names = "|".join(self._kernel.attribute_names(gpu))
        self._lay(gpu, "hang", Hang(_files(gpu, rf"({names})(/.*)?")) if on else None)

    def fail_reads(self, address: str, *, on: bool = True) -> None:
        """What amdgpu asks the GPU for is answered with EIO."""
        gpu = self._for(address, on=on)
        self._lay(gpu, "fail", Refusal(_files(gpu, _ANSWERED), errno.EIO) if on else None)

    def fall_silent(self, address: str, *, on: bool = True) -> None:
        """Its PCI configuration reads all ones, as when it fell off the bus and nobody was told."""
        gpu = self._on_bus(address)
        self._kernel.change(gpu, replace(gpu.vitals, silent=on))

    def lose_render_node(self, address: str, *, on: bool = True) -> None:
        """The GPU's own render minor is gone, though the driver is bound."""
        gpu, driver = self._bound(address)
        if on and gpu.vitals.render_node:
            self._kernel.take_render_node(gpu, driver)
        if not on and not gpu.vitals.render_node:
            self._kernel.give_render_node(gpu, driver)

    def degrade_link(
        self,
        address: str,
        *,
        lanes: int | None = None,
        gigatransfers: float | None = None,
        busy_percent: int = 0,
    ) -> None:
        """The slot's link has fewer lanes or is slower, while the GPU works so hard; None: as ever."""
        gpu = self._on_bus(address)
        vitals = replace(gpu.vitals, lanes=lanes, gigatransfers=gigatransfers, busy_percent=busy_percent)
        self._kernel.change(gpu, vitals)

    def throttle(self, address: str, *, on: bool = True) -> None:
        """Heat holds the clocks down for 90 % of the time while the GPU works; gpu_metrics counts it."""
        gpu = self._for(address, on=on)
        if self._kernel.product.metrics[1:] != metrics.COUNTS_THROTTLING:
            raise SimulationError(
                f"{address} does not count how long it is throttled: its gpu_metrics is too old"
            )
        self._kernel.change(gpu, replace(gpu.vitals, throttled=on))

    def use_memory(self, address: str, vram_bytes: int | None) -> None:
        """So much of the VRAM is in use; None: as ever."""
        gpu = self._for(address, on=vram_bytes is not None)
        most = self._kernel.product.vram_bytes
        if vram_bytes is not None and vram_bytes > most:
            raise SimulationError(f"{address} has no {vram_bytes} bytes of VRAM: it has {most}")
        self._kernel.change(gpu, replace(gpu.vitals, vram_used_bytes=vram_bytes))

    def suspend(self, address: str, *, on: bool = True) -> None:
        """It sleeps: runtime-suspended. Whoever asks it for something by way of `sysfs` wakes it."""
        gpu = self._for(address, on=on)
        self._kernel.change(gpu, replace(gpu.vitals, asleep=on))
        self._lay(gpu, "suspend", Sleeping(gpu, _files(gpu, _WAKING)) if on else None)

    def core_dump(self, address: str) -> None:
        """The driver leaves a device coredump, as for some resets; those of a GPU go with `clear`."""
        self._kernel.dump(self._bound(address)[0])

    def starve(self, *, on: bool = True) -> None:
        """No read of whatever file is answered, as when the whole machine is short of something."""
        if on:
            self.sysfs.stop()
        else:
            self.sysfs.go_on()

    def _lay(self, gpu: Gpu, name: str, fault: Fault | None) -> None:
        if fault is None:
            self.sysfs.lift(gpu.address, name)
        else:
            self.sysfs.lay(gpu.address, name, fault)

    def _gpu(self, address: str) -> Gpu:
        gpu = self._gpus.get(address)
        if gpu is None:
            raise SimulationError(f"no GPU {address!r} in {self.shape}; there are {', '.join(self._gpus)}")
        return gpu

    def _for(self, address: str, *, on: bool) -> Gpu:
        """Only a bound GPU can get such a fault; what it has can end at any time."""
        return self._bound(address)[0] if on else self._gpu(address)

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


def _files(gpu: Gpu, pattern: str) -> re.Pattern[str]:
    return re.compile(f"{re.escape(gpu.path)}/(?:{pattern})", re.ASCII)

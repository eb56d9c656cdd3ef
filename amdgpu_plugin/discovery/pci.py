"""PCI functions: what `/sys/bus/pci/devices/<address>` says about a GPU.

Attributes of the PCI core (vendor, class, numa_node) and of amdgpu (unique_id, mem_info_*, partitions,
product_name) live in the same folder; the kernel's drivers/gpu/drm/amd/amdgpu makes the latter.
"""

import posixpath
import re
from dataclasses import dataclass

from amdgpu_plugin.discovery.integrated import read_integrated
from amdgpu_plugin.discovery.inventory import Skipped
from amdgpu_plugin.sysfs import Absent, Garbled, Names, Path, Refused, Sysfs, Text

AMD_VENDOR = 0x1002
DRIVERS = "bus/pci/drivers"
DEVICES = "bus/pci/devices"
FOREIGN = "not an amdgpu device"
"""How the reason begins for a device that is none of AMD's, such as a server's BMC."""

_HIGHEST_NUMA_NODE = 1023  # CONFIG_NODES_SHIFT is 10 at most
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_DISPLAY_CLASS, _ACCELERATOR_CLASS = 0x03, 0x12


@dataclass(frozen=True, slots=True)
class PciGpu:
    """One PCI function bound to amdgpu. None = not known.

    `path` is its folder below the root. `compute_partition` is None where the GPU has no such file; a
    Refused or Garbled where the file would not say. `available_partitions` are the modes it may take.
    `integrated` is True for an APU.
    """

    address: str
    path: str
    device_id: int | None
    revision: int | None
    subsystem: tuple[int, int] | None
    numa_node: int | None
    unique_id: str | None
    vram_bytes: int | None
    product: str | None
    compute_partition: str | Refused | Garbled | None
    available_partitions: tuple[str, ...]
    memory_partition: str | None
    skipped: tuple[Skipped, ...]
    integrated: bool | None = None

    @property
    def pci_id(self) -> str | None:
        """`1002:74a1`."""
        return None if self.device_id is None else f"{AMD_VENDOR:04x}:{self.device_id:04x}"


def is_foreign(skipped: Skipped) -> bool:
    """True where a device said that it is none of AMD's."""
    return skipped.reason.startswith(FOREIGN) and "unknown" not in skipped.reason


def is_address(name: str) -> bool:
    """True for `0000:05:00.0`."""
    return _ADDRESS.fullmatch(name) is not None


def read_gpu(sysfs: Sysfs, path: str, address: str, *, integrated: bool | None = None) -> PciGpu | Skipped:
    """The function at `path`, or why it is none of ours. Blocks: for a lane.

    `integrated` is what an earlier look told of it; only where nothing did is it looked at.
    """
    driver = driver_of(sysfs, path)
    if driver != "amdgpu":
        return _not_ours(sysfs, path, driver)
    folder = _Folder(sysfs, path)
    return PciGpu(
        address=address,
        path=path,
        device_id=folder.number("device", 16),
        revision=folder.number("revision", 16),
        subsystem=folder.subsystem(),
        numa_node=_known(folder.number("numa_node", 10, lowest=-1, highest=_HIGHEST_NUMA_NODE)),
        unique_id=folder.unique_id(),
        vram_bytes=folder.number("mem_info_vram_total", 10),
        product=folder.word("product_name"),
        compute_partition=folder.compute_partition(),
        available_partitions=folder.words("available_compute_partition"),
        memory_partition=folder.memory_partition(),
        skipped=tuple(folder.skipped),
        integrated=read_integrated(sysfs, path) if integrated is None else integrated,
    )


def read_other_gpus(sysfs: Sysfs, known: frozenset[str]) -> tuple[Skipped, ...]:
    """AMD GPUs on the bus that are on another driver than amdgpu, or on none. Blocks: for a lane."""
    names = sysfs.list(DEVICES)
    if not isinstance(names, Names):
        return ()
    others = (address for address in names.value if address not in known and is_address(address))
    return tuple(
        skipped for address in others if (skipped := _amd_gpu_elsewhere(sysfs, f"{DEVICES}/{address}"))
    )


def driver_of(sysfs: Sysfs, path: str) -> str | None:
    """The driver a device is bound to: the `driver` link, else the `DRIVER=` line of its uevent."""
    link = sysfs.link(f"{path}/driver")
    if isinstance(link, Text):
        return link.value.rstrip("/").rpartition("/")[2]
    uevent = sysfs.read(f"{path}/uevent")
    return uevent_value(uevent.value, "DRIVER") if isinstance(uevent, Text) else None


def uevent_value(text: str, key: str) -> str | None:
    """The value of `KEY=value` in a sysfs `uevent` file."""
    found = re.search(rf"^{key}=(.*)$", text, re.MULTILINE)
    return found[1] if found else None


def bound_addresses(sysfs: Sysfs) -> tuple[str, ...]:
    """Addresses bound to amdgpu: the links in the driver's folder, the cleanest list the kernel keeps."""
    names = sysfs.list(f"{DRIVERS}/amdgpu")
    return tuple(filter(is_address, names.value)) if isinstance(names, Names) else ()


def device_path(sysfs: Sysfs, address: str) -> str:
    """Where the function's own folder is; the bus's link when that cannot be told."""
    path = sysfs.resolve(f"{DRIVERS}/amdgpu/{address}")
    return path.value if isinstance(path, Path) else f"{DEVICES}/{address}"


def hive_folder(sysfs: Sysfs, path: str) -> str | None:
    """The folder that tells a GPU's hive: one GPU of the hive has it, the others have links to it."""
    folder = f"{path}/xgmi_hive_info"
    match sysfs.link(folder):
        case Text(target):
            return posixpath.normpath(posixpath.join(path, target))
        case Garbled():
            return folder
    return None


def read_hive(sysfs: Sysfs, folder: str) -> tuple[str | None, tuple[Skipped, ...]]:
    """The hive's id, decimal as KFD has it, None for no hive; and what is wrong. Blocks: for a lane."""
    answers = _Folder(sysfs, folder)
    hive = answers.number("xgmi_hive_id", 10)
    return str(hive) if hive else None, tuple(answers.skipped)


def driver_version(sysfs: Sysfs) -> str | None:
    """`/sys/module/amdgpu/version`: DKMS builds have it, in-tree ones do not."""
    version = sysfs.read("module/amdgpu/version")
    return clean(version.value) or None if isinstance(version, Text) else None


def clean(text: str) -> str:
    """Without line ends and the NULs some tools pad files with."""
    return text.replace("\0", "").strip()


class _Folder:
    """One device's attributes; remembers what could not be understood."""

    def __init__(self, sysfs: Sysfs, path: str) -> None:
        self._sysfs = sysfs
        self._path = path
        self.skipped: list[Skipped] = []

    def text(self, name: str) -> str | Refused | Garbled | None:
        answer = self._sysfs.read(f"{self._path}/{name}")
        match answer:
            case Text():
                return clean(answer.value)
            case Absent():
                return None
        self.skip(name, str(answer))
        return answer

    def skip(self, name: str, reason: str) -> None:
        self.skipped.append(Skipped(f"{self._path}/{name}", reason))

    def word(self, name: str) -> str | None:
        text = self.text(name)
        return text or None if isinstance(text, str) else None

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(filter(None, (word.strip() for word in (self.word(name) or "").split(","))))

    def number(self, name: str, base: int, *, lowest: int = 0, highest: int = 2**64 - 1) -> int | None:
        text = self.word(name)
        if text is None:
            return None
        try:
            value = int(text, base)
        except ValueError:
            value = lowest - 1
        if not lowest <= value <= highest or not text.isascii() or "_" in text:
            self.skip(name, f"not a number: {text[:40]!r}")
            return None
        return value

    def subsystem(self) -> tuple[int, int] | None:
        vendor, device = self.number("subsystem_vendor", 16), self.number("subsystem_device", 16)
        return None if vendor is None or device is None else (vendor, device)

    def unique_id(self) -> str | None:
        # reading it would resume a runtime-suspended GPU; empty or zero on APUs
        if self.word("power/runtime_status") == "suspended":
            return None
        value = self.number("unique_id", 16)
        return f"{value:016x}" if value else None

    def compute_partition(self) -> str | Refused | Garbled | None:
        text = self.text("current_compute_partition")
        if not isinstance(text, str) or re.fullmatch("[A-Z]PX", text):
            return text
        garbled = Garbled(f"not a compute partition mode: {text[:40]!r}")
        self.skip("current_compute_partition", garbled.why)
        return garbled

    def memory_partition(self) -> str | None:
        text = self.word("current_memory_partition")
        if text is None or re.fullmatch("NPS[0-9]{1,2}", text):
            return text
        self.skip("current_memory_partition", f"not a memory partition mode: {text[:40]!r}")
        return None


def _known(numa_node: int | None) -> int | None:
    return None if numa_node == -1 else numa_node


def _vendor(sysfs: Sysfs, path: str) -> int | Absent | None:
    vendor = sysfs.read(f"{path}/vendor")
    if isinstance(vendor, Absent):
        return vendor
    try:
        return int(clean(vendor.value), 16) if isinstance(vendor, Text) else None
    except ValueError:
        return None


def _not_ours(sysfs: Sysfs, path: str, driver: str | None) -> Skipped:
    vendor = _vendor(sysfs, path)
    if vendor == AMD_VENDOR:
        return Skipped(path, _unusable(driver))
    if isinstance(vendor, Absent):
        return Skipped(path, "vanished")
    shown = "unknown" if vendor is None else f"0x{vendor:04x}"
    return Skipped(path, f"{FOREIGN} (vendor {shown})")


def _unusable(driver: str | None) -> str:
    return f"AMD GPU on driver {driver}, not amdgpu" if driver else "AMD GPU bound to no driver"


def _amd_gpu_elsewhere(sysfs: Sysfs, path: str) -> Skipped | None:
    if _vendor(sysfs, path) != AMD_VENDOR:
        return None
    class_code = sysfs.read(f"{path}/class")
    try:
        kind = int(clean(class_code.value), 16) >> 16 if isinstance(class_code, Text) else None
    except ValueError:
        kind = None
    if kind not in {_DISPLAY_CLASS, _ACCELERATOR_CLASS}:
        return None
    driver = driver_of(sysfs, path)
    # Bound since the driver's folder was listed: the next scan finds it there.
    return None if driver == "amdgpu" else Skipped(path, _unusable(driver))

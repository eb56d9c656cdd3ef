"""A look at the PCI bus: which AMD GPUs are on it and what drives them. Blocks: for a lane.

Only files of the PCI core are read: they wake no GPU and ask no driver.
"""

from amdgpu_plugin.discovery import pci
from amdgpu_plugin.doctor.looked import Bus, PciFunction
from amdgpu_plugin.sysfs import Names, Path, Sysfs, Text
from amdgpu_plugin.telemetry.pcie_link import parse_width, port_above

_MODULE = "module/amdgpu"
_GPU_CLASSES = ("0x03", "0x12")
"""Display controllers, processing accelerators."""


def look_at_bus(sysfs: Sysfs) -> Bus | None:
    """None where the bus cannot be listed."""
    names = sysfs.list(pci.DEVICES)
    if not isinstance(names, Names):
        return None
    gpus = (_function(sysfs, name) for name in names.value if pci.is_address(name))
    return Bus(isinstance(sysfs.list(_MODULE), Names), tuple(gpu for gpu in gpus if gpu is not None))


def _function(sysfs: Sysfs, address: str) -> PciFunction | None:
    path = f"{pci.DEVICES}/{address}"
    if _word(sysfs, f"{path}/vendor") != f"{pci.AMD_VENDOR:#06x}":
        return None
    if not (_word(sysfs, f"{path}/class") or "").startswith(_GPU_CLASSES):
        return None
    driver = pci.driver_of(sysfs, path)
    lanes, most = _lanes(sysfs, path) if driver == "amdgpu" else (None, None)
    return PciFunction(address, driver, _word(sysfs, f"{path}/modalias"), lanes, most)


def _lanes(sysfs: Sysfs, path: str) -> tuple[int | None, int | None]:
    """Lanes in use, and the most that both ends can do; a port that tells nothing leaves that unknown."""
    real = sysfs.resolve(path)
    port = port_above(real.value) if isinstance(real, Path) else None
    if port is None:
        return None, None
    now = parse_width(_word(sysfs, f"{path}/current_link_width"))
    ends = [parse_width(_word(sysfs, f"{end}/max_link_width")) for end in (path, port)]
    known = [most for most in ends if most is not None]
    return now, min(known) if len(known) == len(ends) else None


def _word(sysfs: Sysfs, path: str) -> str | None:
    answer = sysfs.read(path)
    return pci.clean(answer.value) if isinstance(answer, Text) else None

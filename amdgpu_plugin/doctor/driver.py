"""Findings about the driver, the GPUs on the bus, and what discovery left out. Pure."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from amdgpu_plugin.discovery.inventory import Gpu, Skipped
from amdgpu_plugin.doctor.finding import Finding, found, found_if
from amdgpu_plugin.doctor.looked import Bus, Looked, PciFunction

DRIVER = "amdgpu"
_USUAL_REASONS = (
    *("not an amdgpu device", "left out by ", "no GPU is bound to amdgpu", "no DRM: "),
    *("AMD GPU on driver ", "AMD GPU bound to no driver"),
)
"""Told by other findings, or no news: a server's BMC, what the operator left out."""


def about_driver(looked: Looked) -> Iterator[Finding]:
    """From the bus to what is served of it."""
    gpus = looked.node.inventory.gpus
    if looked.bus is not None:
        yield from _about_bus(looked, looked.bus, gpus)
    bound = len({gpu.pci_address for gpu in gpus} | set(_bound(looked.bus)))
    if looked.expected_gpus is not None and bound < looked.expected_gpus:
        yield found("gpus-missing", f"{bound} of {looked.expected_gpus} GPUs are bound to amdgpu")
    yield from _about_skipped(looked, gpus)


def _about_bus(looked: Looked, bus: Bus, gpus: tuple[Gpu, ...]) -> Iterator[Finding]:
    if not bus.gpus and not gpus:
        yield found("no-gpu", "bus/pci/devices: no AMD display or accelerator function")
    unbound = [gpu for gpu in bus.gpus if gpu.driver is None]
    elsewhere = (f"{gpu.address} is on {gpu.driver}" for gpu in bus.gpus if gpu.driver not in (None, DRIVER))
    yield from found_if("gpu-elsewhere", tuple(elsewhere))
    if not unbound:
        return
    if not bus.amdgpu_loaded:
        addresses = ", ".join(gpu.address for gpu in unbound)
        yield found("driver-absent", f"module/amdgpu is absent; no driver: {addresses}{_kernel(looked)}")
        if looked.machine is not None:
            yield from found_if("driver-blacklisted", looked.machine.blacklisted)
        return
    unknown = [gpu for gpu in unbound if _is_unknown(gpu, looked)]
    kernel = _kernel(looked)
    yield from found_if(
        "driver-too-old", tuple(f"{gpu.address} is {gpu.modalias}{kernel}" for gpu in unknown)
    )
    others = (f"{gpu.address} is bound to no driver{kernel}" for gpu in unbound if gpu not in unknown)
    yield from found_if("gpu-unbound", tuple(others))


def _kernel(looked: Looked) -> str:
    """`; Linux 6.12.9, amdgpu 6.12.12`, as far as it is known."""
    kernel = None if looked.machine is None else looked.machine.kernel
    version = looked.node.inventory.driver.version
    told = [f"Linux {kernel}"] * (kernel is not None) + [f"amdgpu {version}"] * (version is not None)
    return f"; {', '.join(told)}" if told else ""


def _is_unknown(gpu: PciFunction, looked: Looked) -> bool:
    """True where the kernel's table of aliases is there and no line of amdgpu's matches the GPU."""
    aliases = None if looked.machine is None else looked.machine.aliases
    if not aliases or gpu.modalias is None:
        return False
    return not any(fnmatchcase(gpu.modalias, alias) for alias in aliases)


def _bound(bus: Bus | None) -> Iterator[str]:
    for gpu in bus.gpus if bus is not None else ():
        if gpu.driver == DRIVER:
            yield gpu.address


def _about_skipped(looked: Looked, gpus: tuple[Gpu, ...]) -> Iterator[Finding]:
    """GPUs that are bound and not served, with every reason there is; else the reasons alone."""
    reasons = tuple(_lines(looked.node.inventory.skipped))
    served = {gpu.pci_address for gpu in gpus if gpu.devices or gpu.left_out is not None}
    silent = sorted(({gpu.pci_address for gpu in gpus} | set(_bound(looked.bus))) - served)
    if silent:
        yield found("gpu-skipped", *(f"nothing of {address} is served" for address in silent), *reasons)
    else:
        yield from found_if("skipped", reasons)


def _lines(skipped: Iterable[Skipped]) -> Iterator[str]:
    for each in skipped:
        is_denied_kfd = each.path.startswith("class/kfd/") and each.reason.startswith("denied")
        if not each.reason.startswith(_USUAL_REASONS) and not is_denied_kfd:
            yield f"{each.path}: {each.reason}"

"""PCI folders of a simulated machine: what the PCI core shows of GPUs and bridges."""

import struct
from collections.abc import Mapping

from amdgpu_plugin.simulation import uevents
from amdgpu_plugin.simulation.boards import BMC, BMC_PATH, BRIDGE, CARD_SWITCH
from amdgpu_plugin.simulation.parts import Board, PciId, Slot
from amdgpu_plugin.simulation.tree import Content, Entries, Link
from amdgpu_plugin.simulation.vitals import Vitals

AMDGPU = "bus/pci/drivers/amdgpu"
MODULE = "module/amdgpu"
BAD_PAGE_THRESHOLD = 100

_AER_KINDS = {
    "correctable": "RxErr BadTLP BadDLLP Rollover Timeout NonFatalErr CorrIntErr HeaderOF TOTAL_ERR_COR",
    "fatal": "Undefined DLP SDES TLP FCP CmpltTO CmpltAbrt UnxCmplt RxOF MalfTLP ECRC UnsupReq ACSViol"
    " UncorrIntErr BlockedTLP AtomicOpBlocked TLPBlockedErr PoisonTLPBlocked TOTAL_ERR_FATAL",
}
_AER_KINDS["nonfatal"] = _AER_KINDS["fatal"].replace("_FATAL", "_NONFATAL")
_AER_FATAL = ("DLP", "TOTAL_ERR_FATAL")
"""Where a fatal error is counted here: the link failed."""
_LANES = 16
_HEADER_BYTES = 64
_ASLEEP = {"power/runtime_status": "suspended", "power_state": "D3cold"}
_NO_ANSWER = {"current_link_speed": "Unknown", "current_link_width": "63"}
"""What the PCI core makes of a link register that reads all ones."""


def bridges_of(board: Board, slot: Slot) -> tuple[str, ...]:
    """Paths of the root port and the bridges below it, outermost first."""
    domain, bus, _ = slot.address.split(":")
    path = f"devices/pci{slot.root_port[:7]}/{slot.root_port}"
    paths = [path]
    for number in range(int(bus, 16) - board.bridges, int(bus, 16)):
        path = f"{path}/{domain}:{number:02x}:00.0"
        paths.append(path)
    return tuple(paths)


def path_of(board: Board, slot: Slot) -> str:
    """The GPU's folder, relative to the sysfs root."""
    return f"{bridges_of(board, slot)[-1]}/{slot.address}"


def slot_link_ends(board: Board, slot: Slot) -> tuple[str, str]:
    """Paths of the two ends of the slot's link: what is in the slot, and the port above it."""
    path = [*bridges_of(board, slot), path_of(board, slot)]
    near = len(path) - (3 if board.switch_on_card else 1)
    return path[near], path[near - 1]


def bus_entries(board: Board) -> Entries:
    """What is there before any GPU and without amdgpu: bridges, a server's management display."""
    entries: dict[str, Content] = {"class/drm/version": b"drm 1.1.0 20060810\n"}
    for slot in board.slots:
        paths = bridges_of(board, slot)
        switch = paths[-2:] if board.switch_on_card else ()
        for path in paths:
            bridge = CARD_SWITCH if path in switch else BRIDGE
            entries |= _core(path, bridge, board.numa_node(slot), board.cpus[slot.cpu].cpulist)
            entries |= _link(path, board.product.link_speed)
    if board.bmc:
        entries |= _core(BMC_PATH, BMC, 0, board.cpus[0].cpulist)
        entries |= driver_entries(BMC_PATH, BMC, "ast")
    return entries


def slot_entries(board: Board, index: int, vitals: Vitals) -> Entries:
    """A GPU on the bus, with no driver yet, and the link it hangs on; `index` is that of its slot."""
    slot = board.slots[index]
    path = path_of(board, slot)
    entries = {
        **_core(path, board.product.pci, board.numa_node(slot), board.cpus[slot.cpu].cpulist),
        **_link(path, board.product.link_speed),
        **_slot_link(board, slot, vitals),
        **_lines(path, _aer(vitals.fatal_errors)),
    }
    if vitals.asleep:
        entries |= _lines(path, _ASLEEP)
    if vitals.silent:
        entries |= {f"{path}/config": b"\xff" * _HEADER_BYTES, **_lines(path, _NO_ANSWER)}
    return entries


def driver_entries(path: str, pci: PciId, driver: str) -> Entries:
    """The links between a device and its driver, and the uevent file that names it."""
    address = path.rpartition("/")[2]
    return {
        f"{path}/uevent": uevents.text_of(uevents.pci_pairs(pci, address, driver)),
        f"{path}/driver": Link(f"bus/pci/drivers/{driver}"),
        f"bus/pci/drivers/{driver}/{address}": Link(path),
    }


def unbound_uevent(path: str, pci: PciId) -> Entries:
    """The uevent file of a device without a driver."""
    return {f"{path}/uevent": uevents.text_of(uevents.pci_pairs(pci, path.rpartition("/")[2], None))}


def module_entries() -> Entries:
    """amdgpu, loaded, with a limit of bad pages that its operator set."""
    return {
        f"{MODULE}/initstate": b"live\n",
        # only builds outside the kernel tree tell a version
        f"{MODULE}/version": b"6.12.12\n",
        f"{MODULE}/srcversion": b"6CCB5408246071AC9F63359\n",
        f"{MODULE}/parameters/bad_page_threshold": f"{BAD_PAGE_THRESHOLD}\n".encode(),
        f"{MODULE}/drivers/pci:amdgpu": Link(AMDGPU),
        f"{AMDGPU}/module": Link(MODULE),
    }


def _link(path: str, speed: str) -> Entries:
    return _lines(
        path,
        {
            f"{which}_link_{name}": value
            for which in ("max", "current")
            for name, value in (("speed", speed), ("width", f"{_LANES}"))
        },
    )


def _slot_link(board: Board, slot: Slot, vitals: Vitals) -> Entries:
    """Both ends tell the same."""
    speed = board.product.link_speed
    if vitals.gigatransfers is not None:
        speed = f"{vitals.gigatransfers:.1f} GT/s PCIe"
    now = {"current_link_speed": speed, "current_link_width": f"{vitals.lanes or _LANES}"}
    return {path: text for end in slot_link_ends(board, slot) for path, text in _lines(end, now).items()}


def _aer(fatal_errors: int) -> dict[str, str]:
    def counts(kind: str, name: str) -> str:
        return f"{name} {fatal_errors if kind == 'fatal' and name in _AER_FATAL else 0}"

    return {
        f"aer_dev_{kind}": "\n".join(counts(kind, name) for name in names.split())
        for kind, names in _AER_KINDS.items()
    }


def _lines(path: str, files: Mapping[str, str]) -> dict[str, bytes]:
    return {f"{path}/{name}": f"{text}\n".encode() for name, text in files.items()}


def _core(path: str, pci: PciId, numa_node: int, cpulist: str) -> dict[str, Content]:
    address = path.rpartition("/")[2]
    files = {
        "vendor": f"0x{pci.vendor:04x}",
        "device": f"0x{pci.device:04x}",
        "subsystem_vendor": f"0x{pci.subsystem_vendor:04x}",
        "subsystem_device": f"0x{pci.subsystem_device:04x}",
        "class": f"0x{pci.pci_class:06x}",
        "revision": f"0x{pci.revision:02x}",
        "numa_node": f"{numa_node}",
        "local_cpulist": cpulist,
        "modalias": uevents.modalias(pci),
        "enable": "1",
        "power_state": "D0",
        "power/control": "on",
        "power/runtime_status": "active",
    }
    return {
        **_lines(path, files),
        **unbound_uevent(path, pci),
        f"{path}/config": _config(pci),
        f"{path}/subsystem": Link("bus/pci"),
        f"bus/pci/devices/{address}": Link(path),
    }


def _config(pci: PciId) -> bytes:
    """The 64-byte header every process may read; more of it needs a capability."""
    header_type = 1 if pci.pci_class >> 8 == BRIDGE.pci_class >> 8 else 0
    command, status, cache_line, latency, self_test = 0x0006, 0x0010, 0x10, 0, 0
    head = struct.pack("<HHHH", pci.vendor, pci.device, command, status)
    kind = bytes((pci.revision,)) + pci.pci_class.to_bytes(3, "little")
    head += kind + bytes((cache_line, latency, header_type, self_test))
    return (head.ljust(44, b"\0") + struct.pack("<HH", pci.subsystem_vendor, pci.subsystem_device)).ljust(
        _HEADER_BYTES, b"\0"
    )

"""A simulated GPU's PCI folder: what the PCI core shows, and what amdgpu adds while it is bound."""

import struct

from amdgpu_plugin.simulation import uevents
from amdgpu_plugin.simulation.boards import BMC, BMC_PATH, BRIDGE
from amdgpu_plugin.simulation.parts import Board, PciId, Product, Slot
from amdgpu_plugin.simulation.tree import Content, Entries, Link

_AER_KINDS = {
    "correctable": "RxErr BadTLP BadDLLP Rollover Timeout NonFatalErr CorrIntErr HeaderOF TOTAL_ERR_COR",
    "fatal": "Undefined DLP SDES TLP FCP CmpltTO CmpltAbrt UnxCmplt RxOF MalfTLP ECRC UnsupReq ACSViol"
    " UncorrIntErr BlockedTLP AtomicOpBlocked TLPBlockedErr PoisonTLPBlocked TOTAL_ERR_FATAL",
}
_AER_KINDS["nonfatal"] = _AER_KINDS["fatal"].replace("_FATAL", "_NONFATAL")
_AER = {
    f"aer_dev_{kind}": "".join(f"{name} 0\n" for name in names.split()).encode()
    for kind, names in _AER_KINDS.items()
}


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


def bus_entries(board: Board) -> Entries:
    """What is there before any GPU: bridges, drivers, the module, a server's management display."""
    entries: dict[str, Content] = {
        "bus/pci/drivers/amdgpu/module": Link("module/amdgpu"),
        "module/amdgpu/drivers/pci:amdgpu": Link("bus/pci/drivers/amdgpu"),
        "module/amdgpu/initstate": b"live\n",
        # only builds outside the kernel tree tell a version
        "module/amdgpu/version": b"6.12.12\n",
        "module/amdgpu/srcversion": b"6CCB5408246071AC9F63359\n",
        "class/drm/version": b"drm 1.1.0 20060810\n",
    }
    for slot in board.slots:
        for path in bridges_of(board, slot):
            entries |= _core(path, BRIDGE, board.numa_node(slot), board.cpus[slot.cpu].cpulist)
    if board.bmc:
        entries |= _core(BMC_PATH, BMC, 0, board.cpus[0].cpulist)
        entries |= driver_entries(BMC_PATH, BMC, "ast")
    return entries


def slot_entries(board: Board, index: int) -> Entries:
    """A GPU on the bus, with no driver yet; `index` is that of its slot."""
    slot = board.slots[index]
    path = path_of(board, slot)
    speed = {"link_speed": board.product.link_speed, "link_width": "16"}
    return {
        **_core(path, board.product.pci, board.numa_node(slot), board.cpus[slot.cpu].cpulist),
        **{
            f"{path}/{which}_{name}": f"{value}\n".encode()
            for which in ("max", "current")
            for name, value in speed.items()
        },
        **{f"{path}/{name}": body for name, body in _AER.items()},
    }


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


def attribute_entries(board: Board, index: int, mode: str | None, hwmon: int) -> Entries:
    """The files amdgpu makes in the GPU's folder; `index` is that of its slot."""
    path = path_of(board, board.slots[index])
    files = {
        **_memory(board.product),
        **_identity(board.product, index, board.slots[index].unique_id),
        **_partitions(board.product, mode),
        **_xgmi(board, index),
        **_ras(board.product),
    }
    size, layout, content = board.product.metrics
    return {
        **{f"{path}/{name}": f"{text}\n".encode() for name, text in files.items()},
        # all ones is the driver's "not known"
        f"{path}/gpu_metrics": struct.pack("<HBB", size, layout, content).ljust(size, b"\xff"),
        **({f"{path}/unique_id": b""} if not board.slots[index].unique_id else {}),
        **({f"{path}/ras/gpu_vram_bad_pages": b""} if board.product.ras_blocks else {}),
        **_hwmon(path, board.product, hwmon),
    }


def attribute_names(board: Board, index: int) -> tuple[str, ...]:
    """First parts, below the GPU's folder, of everything attribute_entries() makes there."""
    path = f"{path_of(board, board.slots[index])}/"
    entries = attribute_entries(board, index, next(iter(board.product.modes), None), 0)
    return tuple(
        dict.fromkeys(name.removeprefix(path).partition("/")[0] for name in entries if name.startswith(path))
    )


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
        **{f"{path}/{name}": f"{text}\n".encode() for name, text in files.items()},
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
        64, b"\0"
    )


def _memory(product: Product) -> dict[str, str]:
    totals = {"vram": product.vram_bytes, "vis_vram": product.vram_bytes, "gtt": product.gtt_bytes}
    used = {"vram": product.vram_used_bytes, "vis_vram": product.vram_used_bytes, "gtt": 25 << 20}
    return {
        **{f"mem_info_{name}_total": f"{size}" for name, size in totals.items()},
        **{f"mem_info_{name}_used": f"{size}" for name, size in used.items()},
    }


def _identity(product: Product, index: int, unique_id: int) -> dict[str, str]:
    always = {"vbios_version": product.vbios, "gpu_busy_percent": "0", "pcie_replay_count": "0"}
    if unique_id:
        always["unique_id"] = f"{unique_id:016x}"
    if product.fru_name is None:
        return always
    return always | {
        "product_name": product.fru_name,
        "product_number": f"102-G{product.pci.device:05d}-00",
        "serial_number": f"69230600{index:04d}",
    }


def _partitions(product: Product, mode: str | None) -> dict[str, str]:
    if mode is None:
        return {}
    return {
        "current_compute_partition": mode,
        "available_compute_partition": ", ".join(product.modes),
        "current_memory_partition": product.memory_modes[0],
        "available_memory_partition": ", ".join(product.memory_modes),
    }


def _xgmi(board: Board, index: int) -> dict[str, str]:
    members = next((members for members in board.hives.values() if index in members), None)
    if members is None:
        return {}
    hops = [board.xgmi_hops(index, member) for member in members]
    links = [board.xgmi_links.get((min(index, member), max(index, member)), 0) for member in members]
    return {
        "xgmi_device_id": f"{board.slots[index].unique_id ^ 1}",
        "xgmi_physical_id": f"{members.index(index)}",
        "xgmi_num_hops": "".join(f"{count:02x} " for count in hops),
        "xgmi_num_links": "".join(f"{count:02x} " for count in links),
        "xgmi_error": "0",
    }


def _ras(product: Product) -> dict[str, str]:
    if not product.ras_blocks:
        return {}
    counts = {f"ras/{block}_err_count": "ue: 0\nce: 0" for block in product.ras_blocks}
    return {
        **counts,
        "ras/umc_err_count": "ue: 0\nce: 0\nde: 0",
        "ras/features": "feature mask: 0x5fff",
        "ras/version": "table version: 0x10000",
        "ras/schema": "schema: 0xf",
    }


def _hwmon(path: str, product: Product, number: int) -> Entries:
    hwmon = f"{path}/hwmon/hwmon{number}"
    return {
        f"{hwmon}/name": b"amdgpu\n",
        **{f"{hwmon}/{name}": f"{value}\n".encode() for name, value in product.sensors.items()},
        f"{hwmon}/uevent": b"",
        f"{hwmon}/device": Link(path),
        f"{hwmon}/subsystem": Link("class/hwmon"),
        f"class/hwmon/hwmon{number}": Link(hwmon),
    }

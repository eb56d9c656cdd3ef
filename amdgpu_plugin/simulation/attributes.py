"""The files amdgpu makes in a GPU's PCI folder while it is bound."""

from amdgpu_plugin.simulation.metrics import Moment, gpu_metrics, sensor_number
from amdgpu_plugin.simulation.parts import Board, Product
from amdgpu_plugin.simulation.pci import path_of
from amdgpu_plugin.simulation.tree import Content, Entries, Link
from amdgpu_plugin.simulation.vitals import ErrorCounts, PageCounts, Vitals

_APU_METRICS = 2
_PAGE_BYTES = 0x1000
_FIRST_BAD_PAGE = 0x1F000


def attribute_entries(board: Board, index: int, mode: str | None, hwmon: int, vitals: Vitals) -> Entries:
    """All of them; `index` is that of the GPU's slot."""
    path = path_of(board, board.slots[index])
    product = board.product
    files = {
        **_memory(product, vitals),
        **_activity(product, vitals),
        **_identity(product, index, board.slots[index].unique_id),
        **_partitions(product, mode, vitals.memory_mode),
        **_xgmi(board, index),
    }
    blobs = {
        **_ras(product, vitals),
        "gpu_metrics": gpu_metrics(Moment(product, vitals, mode, board.hive_of(index) is not None)),
    }
    if not board.slots[index].unique_id:
        blobs["unique_id"] = b""
    return {
        **{f"{path}/{name}": f"{text}\n".encode() for name, text in files.items()},
        **{f"{path}/{name}": blob for name, blob in blobs.items()},
        **_hwmon(path, product, vitals, hwmon),
    }


def attribute_names(board: Board, index: int) -> tuple[str, ...]:
    """First parts, below the GPU's folder, of everything attribute_entries() makes there."""
    path = f"{path_of(board, board.slots[index])}/"
    entries = attribute_entries(board, index, next(iter(board.product.modes), None), 0, Vitals())
    return tuple(
        dict.fromkeys(name.removeprefix(path).partition("/")[0] for name in entries if name.startswith(path))
    )


def _memory(product: Product, vitals: Vitals) -> dict[str, str]:
    used = product.vram_used_bytes if vitals.vram_used_bytes is None else vitals.vram_used_bytes
    sizes = {
        "vram": (product.vram_bytes, used),
        "vis_vram": (product.vram_bytes, used),
        "gtt": (product.gtt_bytes, 25 << 20),
    }
    return {
        f"mem_info_{kind}_{what}": f"{size}"
        for kind, both in sizes.items()
        for what, size in zip(("total", "used"), both, strict=True)
    }


def _activity(product: Product, vitals: Vitals) -> dict[str, str]:
    """An APU tells how busy its video engine is, and nothing of its memory controller (amdgpu_pm.c)."""
    other = "vcn" if product.metrics[1] == _APU_METRICS else "mem"
    return {"gpu_busy_percent": f"{vitals.gfx_percent}", f"{other}_busy_percent": "0"}


def _identity(product: Product, index: int, unique_id: int) -> dict[str, str]:
    always = {"vbios_version": product.vbios, "pcie_replay_count": "0"}
    if unique_id:
        always["unique_id"] = f"{unique_id:016x}"
    if product.fru_name is None:
        return always
    return always | {
        "product_name": product.fru_name,
        "product_number": f"102-G{product.pci.device:05d}-00",
        "serial_number": f"69230600{index:04d}",
    }


def _partitions(product: Product, mode: str | None, memory_mode: str | None) -> dict[str, str]:
    if mode is None:
        return {}
    return {
        "current_compute_partition": mode,
        "available_compute_partition": ", ".join(product.modes),
        "current_memory_partition": memory_mode or product.memory_modes[0],
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


def _ras(product: Product, vitals: Vitals) -> dict[str, bytes]:
    if not product.ras_blocks:
        return {}
    return {
        **{
            f"ras/{block}_err_count": _error_counts(block, vitals.ras.get(block, ErrorCounts()))
            for block in product.ras_blocks
        },
        "ras/features": b"feature mask: 0x5fff\n",
        "ras/version": b"table version: 0x10000\n",
        "ras/schema": b"schema: 0xf\n",
        "ras/gpu_vram_bad_pages": _bad_pages(vitals.bad_pages),
    }


def _error_counts(block: str, counts: ErrorCounts) -> bytes:
    """Only memory tells of deferred errors, where there are no ACA banks (amdgpu_ras.c)."""
    deferred = f"de: {counts.deferred}\n" if block == "umc" else ""
    return f"ue: {counts.uncorrectable}\nce: {counts.correctable}\n{deferred}".encode()


def _bad_pages(counts: PageCounts) -> bytes:
    states = "R" * counts.retired + "P" * counts.pending + "F" * counts.unreservable
    return "".join(
        f"0x{_FIRST_BAD_PAGE + number:08x} : 0x{_PAGE_BYTES:08x} : {state}\n"
        for number, state in enumerate(states)
    ).encode()


def _hwmon(path: str, product: Product, vitals: Vitals, number: int) -> Entries:
    hwmon = f"{path}/hwmon/hwmon{number}"
    sensors: dict[str, Content] = {
        f"{hwmon}/{name}": f"{value}\n".encode() for name, value in product.sensors.items()
    }
    for sensor, celsius in vitals.celsius.items():
        sensors[f"{hwmon}/temp{sensor_number(product, sensor)}_input"] = f"{celsius * 1000:.0f}\n".encode()
    return {
        f"{hwmon}/name": b"amdgpu\n",
        **sensors,
        f"{hwmon}/uevent": b"",
        f"{hwmon}/device": Link(path),
        f"{hwmon}/subsystem": Link("class/hwmon"),
        f"class/hwmon/hwmon{number}": Link(hwmon),
    }

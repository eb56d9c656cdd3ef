"""KFD's topology: what the driver writes below `/sys/class/kfd/kfd/topology` (amdkfd/kfd_topology.c).

CPU nodes come first, GPU nodes in the order in which they were added. The order of the keys is that of
node_show() and iolink_show().
"""

import os
from collections.abc import Iterable, Sequence

from amdgpu_plugin.simulation import uevents
from amdgpu_plugin.simulation.links import GpuNode, Links, LinkTo, links_of
from amdgpu_plugin.simulation.parts import Board
from amdgpu_plugin.simulation.tree import Content, Entries, Folder, Link, write

KFD = "devices/virtual/kfd/kfd"
NODES = f"{KFD}/topology/nodes"
CLASS = "class/kfd"
DEVICE_PAIRS = (("MAJOR", "237"), ("MINOR", "0"), ("DEVNAME", "kfd"))
"""What a uevent of /dev/kfd tells."""

_NODE_KEYS = (
    "cpu_cores_count",
    "simd_count",
    "mem_banks_count",
    "caches_count",
    "io_links_count",
    "p2p_links_count",
    "cpu_core_id_base",
    "simd_id_base",
    "max_waves_per_simd",
    "lds_size_in_kb",
    "gds_size_in_kb",
    "num_gws",
    "wave_front_size",
    "array_count",
    "simd_arrays_per_engine",
    "cu_per_simd_array",
    "simd_per_cu",
    "max_slots_scratch_cu",
    "gfx_target_version",
    "vendor_id",
    "device_id",
    "location_id",
    "domain",
    "drm_render_minor",
    "hive_id",
    "num_sdma_engines",
    "num_sdma_xgmi_engines",
    "num_sdma_queues_per_engine",
    "num_cp_queues",
)
_GPU_KEYS = (
    "max_engine_clk_fcompute",
    "local_mem_size",
    "fw_version",
    "capability",
    "debug_prop",
    "sdma_fw_version",
    "unique_id",
    "num_xcc",
)


def kfd_entries() -> Entries:
    """What is there without any GPU."""
    return {
        f"{KFD}/dev": b"237:0\n",
        f"{KFD}/uevent": uevents.text_of(DEVICE_PAIRS),
        f"{KFD}/subsystem": Link(CLASS),
        f"{KFD}/power/runtime_status": b"unsupported\n",
        f"{KFD}/proc": Folder(),
        f"{KFD}/topology/system_properties": (
            b"platform_oem 4777524452235890003\nplatform_id 85015745549651\nplatform_rev 2\n"
        ),
        NODES: Folder(),
        f"{CLASS}/kfd": Link(KFD),
        **generation_entries(1),
    }


def generation_entries(generation: int) -> dict[str, Content]:
    """The counter that moves with every node added or removed."""
    return {f"{KFD}/topology/generation_id": f"{generation}\n".encode()}


def grow(board: Board, gpus: Sequence[GpuNode], directory: str) -> list[str]:
    """Write all node folders into an empty directory; their names, in the order of their numbers."""
    first_gpu = len(board.cpus)
    for number in range(first_gpu + len(gpus)):
        links = links_of(board, gpus, number)
        if number < first_gpu:
            _write_node(
                f"{directory}/{number}",
                0,
                "",
                _cpu_properties(board, number, links),
                _cpu_bank(board, number),
            )
        else:
            gpu = gpus[number - first_gpu]
            name = board.product.kfd_name
            properties = _gpu_properties(board, gpu, links)
            _write_node(f"{directory}/{number}", gpu.gpu_id, name, properties, _gpu_bank(board, gpu))
        _write_links(f"{directory}/{number}/io_links", number, links.direct)
        _write_links(f"{directory}/{number}/p2p_links", number, links.summed)
    return [f"{number}" for number in range(first_gpu + len(gpus))]


def _write_node(path: str, gpu_id: int, name: str, properties: str, bank: str) -> None:
    for folder in ("", "/caches", "/io_links", "/p2p_links", "/mem_banks", "/mem_banks/0"):
        os.mkdir(path + folder)
    write(f"{path}/gpu_id", f"{gpu_id}\n".encode())
    write(f"{path}/name", f"{name}\n".encode())
    write(f"{path}/properties", properties.encode())
    write(f"{path}/mem_banks/0/properties", bank.encode())


def _write_links(folder: str, number: int, links: Iterable[LinkTo]) -> None:
    for index, link in enumerate(links):
        path = f"{folder}/{index}"
        os.mkdir(path)
        wire = link.wire
        write(
            f"{path}/properties",
            f"type {wire.kind}\nversion_major 0\nversion_minor 0\nnode_from {number}\nnode_to {link.to}\n"
            f"weight {wire.weight}\nmin_latency 0\nmax_latency 0\nmin_bandwidth {wire.min_bandwidth}\n"
            f"max_bandwidth {wire.max_bandwidth}\nrecommended_transfer_size 0\n"
            f"recommended_sdma_engine_id_mask {wire.sdma_mask}\nflags {link.flags}\n".encode(),
        )


def _lines(pairs: Iterable[tuple[str, int]]) -> str:
    return "".join(f"{key} {value}\n" for key, value in pairs)


def _cpu_properties(board: Board, number: int, links: Links) -> str:
    cpu = board.cpus[number]
    values = {
        "cpu_cores_count": cpu.cores,
        "mem_banks_count": 1,
        "io_links_count": len(links.direct),
        "p2p_links_count": len(links.summed),
        "cpu_core_id_base": cpu.core_id_base,
        "hive_id": next(iter(board.hives), 0) if board.cpus_in_hive else 0,
        "max_engine_clk_ccompute": board.cpu_clock_mhz,
    }
    return _lines((key, values.get(key, 0)) for key in (*_NODE_KEYS, "max_engine_clk_ccompute"))


def _gpu_properties(board: Board, gpu: GpuNode, links: Links) -> str:
    product, slot = board.product, board.slots[gpu.slot]
    xccs = product.xccs // gpu.siblings
    sdma_engines = product.sdma_per_xcc * xccs
    domain, bus, device = slot.address.split(":")
    location = int(bus, 16) << 8 | int(device[:2], 16) << 3 | int(device[3:])
    values = {
        **product.kfd,
        "simd_count": product.simds_per_xcc * xccs,
        "mem_banks_count": 1,
        "caches_count": product.caches_per_xcc * xccs + 2,
        "io_links_count": len(links.direct),
        "p2p_links_count": len(links.summed),
        "simd_id_base": gpu.simd_id_base,
        "array_count": product.arrays_per_xcc * xccs,
        "vendor_id": product.pci.vendor,
        "device_id": product.pci.device,
        "location_id": location | (gpu.partition if gpu.siblings > 1 else 0),
        "domain": int(domain, 16),
        "drm_render_minor": gpu.render_minor,
        "hive_id": board.hive_of(gpu.slot) or 0,
        "num_sdma_engines": min(2, sdma_engines),
        "num_sdma_xgmi_engines": max(0, sdma_engines - 2),
        "unique_id": slot.unique_id,
        "num_xcc": xccs,
        "max_engine_clk_ccompute": board.cpu_clock_mhz,
    }
    return _lines((key, values.get(key, 0)) for key in (*_NODE_KEYS, *_GPU_KEYS, "max_engine_clk_ccompute"))


def _cpu_bank(board: Board, number: int) -> str:
    return _bank(0, board.cpus[number].memory_bytes, 64, 2400)


def _gpu_bank(board: Board, gpu: GpuNode) -> str:
    size, width, clock_mhz = board.product.memory_bank
    return _bank(1, size // gpu.siblings, width, clock_mhz)


def _bank(heap: int, size: int, width: int, clock_mhz: int) -> str:
    return f"heap_type {heap}\nsize_in_bytes {size}\nflags 0\nwidth {width}\nmem_clk_max {clock_mhz}\n"

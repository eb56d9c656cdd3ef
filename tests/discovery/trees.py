"""Sysfs trees declared file by file in the kernel's layout, to be damaged by a test and then read.

A `Tree` maps a path below the root to what is there. `in_memory` and `on_disk` make a Sysfs of it. The node
is one of eight MI300X: minors as amdgpu takes them (one PCI minor and seven xcp minors per GPU, in every
mode), KFD nodes after two CPU nodes, weights and bandwidths of a public capture.
"""

import asyncio
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from amdgpu_plugin.capture_file import Capture, CaptureSysfs, Entry, Link
from amdgpu_plugin.discovery import discover
from amdgpu_plugin.discovery.inventory import ComputeDevice, Gpu, Inventory, LinkKind
from amdgpu_plugin.discovery.inventory import Link as GpuLink
from amdgpu_plugin.discovery.naming import Naming
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.product_names import ProductNames
from amdgpu_plugin.sysfs import Blob, DirectorySysfs, Refused, Sysfs
from tests.fixtures.trees import write_tree

Tree = dict[str, Entry]

ADDRESSES = (
    "0000:05:00.0",
    "0000:27:00.0",
    "0000:47:00.0",
    "0000:65:00.0",
    "0000:85:00.0",
    "0000:a7:00.0",
    "0000:c7:00.0",
    "0000:e5:00.0",
)
HIVE = 15188982192727901047
VRAM_BYTES = 206141652992
PARTITIONS = {"SPX": 1, "DPX": 2, "QPX": 4, "CPX": 8}
NODES = "devices/virtual/kfd/kfd/topology/nodes"
"""Where KFD's nodes really are; `class/kfd/kfd` leads there."""
KFD = "class/kfd/kfd/topology/nodes"
NO_NAMES = ProductNames(amdgpu_ids=None, pci_ids=None)


def pci_path(address: str) -> str:
    """A GPU's folder, behind a root port of its domain and bus."""
    domain, bus, _ = address.split(":")
    port = f"{domain}:{int(bus, 16) & 0xE0:02x}:01.1"
    return f"devices/pci{domain}:{port[5:7]}/{port}/{address}"


def put(tree: Tree, folder: str, files: Mapping[str, str | None]) -> None:
    """Text files in a folder; a file of None is left out."""
    tree.update({f"{folder}/{name}": Blob(text.encode()) for name, text in files.items() if text is not None})


def link(tree: Tree, at: str, to: str) -> None:
    """A symbolic link, written relative as the kernel writes it."""
    tree[at] = Link(posixpath.relpath(to, posixpath.dirname(at)))


def put_pci(
    tree: Tree,
    address: str,
    files: Mapping[str, str | None] | None = None,
    *,
    driver: str | None = "amdgpu",
    device: int = 0x74A1,
    pci_class: int = 0x120000,
    vendor: int = 0x1002,
) -> str:
    """A PCI function; returns its folder."""
    path = pci_path(address)
    bound = f"DRIVER={driver}\n" if driver else ""
    usual: dict[str, str | None] = {
        "vendor": f"0x{vendor:04x}\n",
        "device": f"0x{device:04x}\n",
        "subsystem_vendor": f"0x{vendor:04x}\n",
        "subsystem_device": f"0x{device:04x}\n",
        "revision": "0x00\n",
        "class": f"0x{pci_class:06x}\n",
        "numa_node": "0\n",
        "local_cpulist": "0-95\n",
        "uevent": f"{bound}PCI_CLASS={pci_class:X}\nPCI_SLOT_NAME={address}\n",
        "power/control": "on\n",
        "power/runtime_status": "active\n",
    }
    put(tree, path, usual | dict(files or {}))
    link(tree, f"{path}/subsystem", "bus/pci")
    link(tree, f"bus/pci/devices/{address}", path)
    if driver:
        link(tree, f"{path}/driver", f"bus/pci/drivers/{driver}")
        link(tree, f"bus/pci/drivers/{driver}/{address}", path)
    return path


def put_minors(tree: Tree, device: str, *, card: int | None, render: int | None) -> None:
    """A device's card and render node, with their links in class/drm."""
    for name, number in ((f"card{card}", card), (f"renderD{render}", render)):
        if number is not None:
            path = f"{device}/drm/{name}"
            put(tree, path, {"dev": f"226:{number}\n", "uevent": f"MAJOR=226\nMINOR={number}\n"})
            link(tree, f"{path}/device", device)
            link(tree, f"class/drm/{name}", path)
    put(tree, "class/drm", {"version": "drm 1.1.0 20060810\n"})


def put_xcp(tree: Tree, number: int, *, card: int, render: int, spelling: str = "_") -> str:
    """A compute partition's platform device; returns its folder."""
    name = f"amdgpu_xcp{spelling}{number}"
    path = f"devices/platform/{name}"
    put(tree, path, {"modalias": f"platform:{name}\n", "uevent": f"MODALIAS=platform:{name}\n"})
    put_minors(tree, path, card=card, render=render)
    return path


def put_kfd_cpus(tree: Tree, count: int = 2) -> None:
    """KFD with CPU nodes alone, as it is before any GPU is found."""
    link(tree, "class/kfd/kfd", "devices/virtual/kfd/kfd")
    put(tree, posixpath.dirname(NODES), {"generation_id": "9\n"})
    for number in range(count):
        properties = {"cpu_cores_count": 96, "simd_count": 0, "location_id": 0, "drm_render_minor": 0}
        put(tree, f"{NODES}/{number}", {"gpu_id": "0\n", "name": "\n", "properties": lines(properties)})


def put_kfd_gpu(
    tree: Tree,
    number: int,
    address: str,
    *,
    render: int,
    partition: int = 0,
    links: Iterable[tuple[int, int, int, int]] = (),
    vram_bytes: int = VRAM_BYTES,
    **changed: int | None,
) -> None:
    """A GPU's node. `links`: (node_to, type, weight, max_bandwidth). A property of None is left out."""
    links = tuple(links)
    node = f"{NODES}/{number}"
    properties: dict[str, int | None] = {
        "cpu_cores_count": 0,
        "simd_count": 1216,
        "mem_banks_count": 1,
        "io_links_count": len(links),
        "gfx_target_version": 90402,
        "vendor_id": 4098,
        "device_id": 29857,
        "location_id": location(address) | partition,
        "domain": int(address.split(":", maxsplit=1)[0], 16),
        "drm_render_minor": render,
        "hive_id": HIVE,
        "local_mem_size": 0,
        "unique_id": unique_id(address),
        "num_xcc": 8,
        "max_engine_clk_ccompute": 2750,
    }
    told = {key: value for key, value in (properties | changed).items() if value is not None}
    put(tree, node, {"gpu_id": f"{30000 + number}\n", "name": "ip discovery\n", "properties": lines(told)})
    bank = {"heap_type": 1, "size_in_bytes": vram_bytes, "flags": 0, "width": 8192, "mem_clk_max": 1300}
    put(tree, f"{node}/mem_banks/0", {"properties": lines(bank)})
    for index, (to, kind, weight, bandwidth) in enumerate(links):
        values = {"type": kind, "node_from": number, "node_to": to, "weight": weight}
        put(tree, f"{node}/io_links/{index}", {"properties": lines(values | {"max_bandwidth": bandwidth})})


def lines(properties: Mapping[str, int]) -> str:
    """As KFD prints them."""
    return "".join(f"{key} {value}\n" for key, value in properties.items())


def location(address: str) -> int:
    """bus << 8 | device and function."""
    _, bus, rest = address.split(":")
    device, function = rest.split(".")
    return int(bus, 16) << 8 | int(device, 16) << 3 | int(function)


def unique_id(address: str) -> int:
    """One number per GPU, made up."""
    return 0xA000000000000000 | location(address)


def mi300x_node(
    mode: str = "SPX", *, count: int = 8, kfd: bool = True, spelling: str = "_", bmc: bool = False
) -> Tree:
    """`count` MI300X in one mode. Render minors from 128 on, cards from 0 on, after the BMC's if any."""
    tree: Tree = {}
    if bmc:
        put_minors(
            tree,
            put_pci(tree, "0000:f2:00.0", driver="ast", device=0x2000, pci_class=0x030000, vendor=0x1A03),
            card=0,
            render=None,
        )
    for index, address in enumerate(ADDRESSES[:count]):
        path = put_pci(tree, address, amdgpu_files(mode, address))
        if index:
            link(tree, f"{path}/xgmi_hive_info", f"{pci_path(ADDRESSES[0])}/xgmi_hive_info")
        else:
            put(tree, f"{path}/xgmi_hive_info", {"xgmi_hive_id": f"{HIVE}\n"})
        first = 8 * index
        put_minors(tree, path, card=first + bmc, render=128 + first)
        for partition in range(1, 8):
            minors = {"card": first + partition + bmc, "render": 128 + first + partition}
            put_xcp(tree, 7 * index + partition - 1, spelling=spelling, **minors)
    if kfd:
        put_kfd_cpus(tree)
        _put_kfd_gpus(tree, PARTITIONS[mode], count)
    return tree


def amdgpu_files(mode: str, address: str) -> dict[str, str | None]:
    """The attributes amdgpu makes for an MI300X."""
    return {
        "numa_node": f"{ADDRESSES.index(address) // 4}\n",
        "unique_id": f"{unique_id(address):016x}\n",
        "mem_info_vram_total": f"{VRAM_BYTES}\n",
        "mem_info_vram_used": "297504768\n",
        "product_name": "AMD Instinct MI300X\n",
        "current_compute_partition": f"{mode}\n",
        "available_compute_partition": "SPX, DPX, QPX, CPX\n",
        "current_memory_partition": "NPS1\n",
    }


def _put_kfd_gpus(tree: Tree, partitions: int, count: int) -> None:
    where = [(index, partition) for index in range(count) for partition in range(partitions)]
    for number, (index, partition) in enumerate(where, start=2):
        links = [(index // 4, 2, 20, 64000)]
        for other, (other_index, _) in enumerate(where, start=2):
            if other != number:
                links.append((other, 11, *_xgmi(same=index == other_index, partitions=partitions)))
        put_kfd_gpu(
            tree,
            number,
            ADDRESSES[index],
            render=128 + 8 * index + partition,
            partition=partition,
            links=links,
            num_xcc=8 // partitions,
            simd_count=1216 // partitions,
            vram_bytes=VRAM_BYTES // partitions,
        )


def _xgmi(*, same: bool, partitions: int) -> tuple[int, int]:
    """Weight and bandwidth of a link between two nodes."""
    if same:
        return 13, 819200
    return (15, 64000) if partitions == 1 else (41, 0)


def mi300x(
    index: int, mode: str = "SPX", *, kfd: bool = True, bmc: bool = False, resource: str = "amd.com/gpu"
) -> Gpu:
    """What discovery should say of the GPU at `ADDRESSES[index]` of `mi300x_node`."""
    address = ADDRESSES[index]
    count = PARTITIONS[mode]
    devices = tuple(
        ComputeDevice(
            id=address if count == 1 else f"{address}-{mode.lower()}{partition}",
            resource=resource,
            partition=None if count == 1 else partition,
            render_node=f"renderD{128 + 8 * index + partition}",
            card_node=f"card{8 * index + partition + bmc}",
            kfd_node=2 + count * index + partition if kfd else None,
        )
        for partition in range(count)
    )
    return Gpu(
        pci_address=address,
        product="AMD Instinct MI300X",
        pci_id="1002:74a1",
        unique_id=f"{unique_id(address):016x}",
        numa_node=index // 4,
        vram_bytes=VRAM_BYTES,
        compute_partition=mode,
        memory_partition="NPS1",
        xgmi_hive=str(HIVE),
        devices=devices,
    )


def without_kfd_nodes(gpu: Gpu) -> Gpu:
    """The same GPU as it is known without KFD."""
    return replace(gpu, devices=tuple(replace(device, kfd_node=None) for device in gpu.devices))


def mi300x_links(mode: str = "SPX", *, count: int = 8, kfd: bool = True) -> tuple[GpuLink, ...]:
    """What discovery should say of the links of `mi300x_node`."""
    partitioned = PARTITIONS[mode] > 1
    links = []
    for index, a in enumerate(ADDRESSES[:count]):
        if partitioned:
            links.append(GpuLink(a, a, "internal", *((13, 819200) if kfd else (None, None))))
        between: tuple[LinkKind, int | None, int | None] = ("xgmi", 41 if partitioned else 15, 64000)
        if partitioned or not kfd:
            between = ("xgmi", 41 if kfd else None, None)
        links += [GpuLink(a, b, *between) for b in ADDRESSES[index + 1 : count]]
    return tuple(links)


def denied(tree: Tree, numbers: Iterable[int], errno: int) -> Tree:
    """The tree as a process sees it whose device cgroup has no access to those nodes' render nodes."""
    closed = tuple(f"{NODES}/{number}/" for number in numbers)
    return {path: Refused(errno) if path.startswith(closed) else entry for path, entry in tree.items()}


def below(tree: Tree, *folders: str) -> tuple[str, ...]:
    """The files (not links) in these folders, sorted."""
    inside = tuple(f"{folder}/" for folder in folders)
    return tuple(sorted(path for path in tree if path.startswith(inside) and isinstance(tree[path], Blob)))


def gone(tree: Tree, *folders: str) -> Tree:
    """The tree without these folders or entries."""
    inside = tuple(f"{folder}/" for folder in folders)
    return {
        path: entry for path, entry in tree.items() if path not in folders and not path.startswith(inside)
    }


def in_memory(tree: Tree) -> CaptureSysfs:
    """A Sysfs that answers all errnos, also to root."""
    return CaptureSysfs(Capture.of(tree))


def on_disk(tree: Tree, directory: Path) -> DirectorySysfs:
    """A real directory, for what only a file system does."""
    return DirectorySysfs(str(write_tree(Capture.of(tree), directory)))


def inventory_of(tree: Tree, naming: Naming = "single") -> Inventory:
    """One scan of the tree from memory."""
    return scanned(in_memory(tree), naming=naming)


def scanned(sysfs: Sysfs, *, deadline: float = 20.0, naming: Naming = "single") -> Inventory:
    """One scan with fresh lanes."""
    return asyncio.run(discover(sysfs, Lanes(), names=NO_NAMES, naming=naming, deadline=deadline))

"""`capture`: the node's relevant sysfs as one text file, for a bug report that is also a fixture.

Read is what the tables below name and nothing else: some files reset on reading (xgmi_error), cost a second
(pcie_bw), or wake a suspended GPU.
"""

import argparse
import asyncio
import contextlib
import errno
import gzip
import os
import re
import secrets
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from amdgpu_plugin import __version__
from amdgpu_plugin.capture_file import Capture, Entry, Folder, Link, format_capture
from amdgpu_plugin.commands.inputs import node_input
from amdgpu_plugin.commands.serials import mask_serials
from amdgpu_plugin.config import Config, ConfigError
from amdgpu_plugin.discovery import drm, kfd, pci
from amdgpu_plugin.lanes import Hung, Lanes
from amdgpu_plugin.sysfs import Blob, Names, Path, Refused, Sysfs, Text

_PCI_FILES = (
    "vendor device subsystem_vendor subsystem_device revision class numa_node local_cpulist uevent "
    "modalias max_link_speed max_link_width current_link_speed current_link_width power_state power/control "
    "power/runtime_status aer_dev_correctable aer_dev_fatal aer_dev_nonfatal reset_method sriov_numvfs "
    "sriov_totalvfs"
).split()
_PCI_LINKS = ("driver", "subsystem", "iommu_group", "physfn")
_AMDGPU_FILES = (
    "unique_id product_name product_number serial_number vbios_version current_compute_partition "
    "available_compute_partition current_memory_partition available_memory_partition mem_info_vram_total "
    "mem_info_vram_used mem_info_vis_vram_total mem_info_vis_vram_used mem_info_gtt_total mem_info_gtt_used "
    "mem_info_vram_vendor gpu_busy_percent mem_busy_percent vcn_busy_percent gpu_metrics pcie_replay_count "
    "xgmi_device_id xgmi_physical_id xgmi_num_hops xgmi_num_links xgmi_port_num xgmi_hive_info/xgmi_hive_id"
).split()
# Answered from the driver's memory, and read by discovery in any case: these wake nobody.
_AMDGPU_FILES_AT_REST = (
    "product_name mem_info_vram_total current_compute_partition available_compute_partition "
    "current_memory_partition xgmi_hive_info/xgmi_hive_id"
).split()
# Folders of which every plain file is read, but for these.
_AMDGPU_FOLDERS = ("ras", "compute_partition_config")
_NEVER = frozenset({"xgmi_error", "pcie_bw", "config", "rom"})
_HWMON = re.compile(
    r"name|(temp|fan|freq|in|power)\d+_(input|label|crit|crit_hyst|emergency|average|cap|cap_max|cap_min|max|min)"
)
_KFD_FILES = ("gpu_id", "name", "properties")
_KFD_FOLDERS = ("mem_banks", "io_links", "p2p_links")

_STDOUT = "-"

T = TypeVar("T")


def run(config: Config, args: argparse.Namespace) -> int:
    """0: it is written."""
    with node_input(config) as source:
        capture = asyncio.run(take(source.sysfs, Lanes(), deadline=config.health_read_deadline_seconds))
    if args.mask_serials:
        capture = mask_serials(capture, key=secrets.token_bytes(16))
    made = f"amdgpu-plugin {__version__}, {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    text = format_capture(capture, (made, f"of {config.simulate or config.sysfs_root}"))
    if args.file == _STDOUT:
        sys.stdout.buffer.write(text.encode())
        return 0
    _write(args.file, text)
    look = f"amdgpu-plugin discover --sysfs-root {args.file}"
    # not on stdout, which may be what FILE is
    print(f"{args.file}: {len(capture.entries)} entries; look: {look}", file=sys.stderr)
    return 0


async def take(sysfs: Sysfs, lanes: Lanes, *, deadline: float) -> Capture:
    """Everything relevant, each GPU over its own lane; a read that hangs is kept as ETIMEDOUT."""

    async def ask(lane: str, job: "Callable[[_Walk], T]") -> "tuple[T | None, dict[str, Entry]]":
        walk = _Walk(sysfs)
        answer = await lanes[lane].ask(partial(job, walk), deadline=deadline)
        if not isinstance(answer, Hung):
            return answer, walk.entries
        # The lane may go on some day; what it finds then is not part of this capture.
        return None, dict(walk.entries) | {walk.reading: Refused(errno.ETIMEDOUT)}

    devices, entries = await ask("node", _walk_node_wide)
    others, seen = await ask("bus", partial(_walk_other_gpus, frozenset(devices or ())))
    entries |= seen
    nodes, seen = await ask("kfd", _walk_kfd)
    entries |= seen
    answers = await asyncio.gather(
        *(ask(f"gpu {path}", partial(_walk_device, path)) for path in (*(devices or ()), *(others or ()))),
        *(ask(f"kfd {path}", partial(_walk_kfd_node, path)) for path in nodes or ()),
    )
    for _, seen in answers:
        entries |= seen
    return Capture.of(entries)


class _Walk:
    """What was seen so far; `reading` is the path being read, in case it never answers."""

    def __init__(self, sysfs: Sysfs) -> None:
        self.sysfs = sysfs
        self.entries: dict[str, Entry] = {}
        self.reading = ""

    def file(self, path: str) -> None:
        self.reading = path
        self.entries[path] = self.sysfs.read_bytes(path)

    def link(self, path: str) -> None:
        target = self.sysfs.link(path)
        if isinstance(target, Text):
            self.entries[path] = Link(target.value)

    def folder(self, path: str) -> tuple[str, ...]:
        """The names in it; where it may not be listed, none, and that is kept."""
        self.reading = path
        names = self.sysfs.list(path)
        if isinstance(names, Refused):
            self.entries[path] = Folder(names.errno)
        elif isinstance(names, Names):
            self.entries.setdefault(path, Folder())
        return names.value if isinstance(names, Names) else ()

    def real(self, path: str) -> str | None:
        resolved = self.sysfs.resolve(path)
        return resolved.value if isinstance(resolved, Path) else None


def _walk_node_wide(walk: _Walk) -> tuple[str, ...]:
    """Links and node-wide files; the folders of the devices that own a minor or are bound to amdgpu."""
    walk.link("class/kfd/kfd")
    walk.link("module/amdgpu/drivers/pci:amdgpu")
    for file in (
        "class/drm/version",
        "module/amdgpu/version",
        "module/amdgpu/srcversion",
        "module/amdgpu/parameters/bad_page_threshold",
    ):
        walk.file(file)
    links = [
        f"{drm.CLASS}/{name}" for name in walk.folder(drm.CLASS) if re.fullmatch(r"(card|renderD)\d+", name)
    ]
    bound = [f"{pci.DRIVERS}/amdgpu/{address}" for address in pci.bound_addresses(walk.sysfs)]
    for link in (*links, *bound):
        walk.link(link)
    found = {walk.real(path) for path in (*bound, *(f"{link}/device" for link in links))}
    devices = sorted(path for path in found if path)
    _walk_buses(walk, devices)
    return tuple(devices)


def _walk_other_gpus(known: frozenset[str], walk: _Walk) -> tuple[str, ...]:
    """The folders of AMD GPUs that amdgpu does not drive."""
    others = pci.read_other_gpus(walk.sysfs, frozenset(path.rpartition("/")[2] for path in known))
    paths = [path for other in others if (path := walk.real(other.path))]
    _walk_buses(walk, paths)
    return tuple(paths)


def _walk_buses(walk: _Walk, devices: list[str]) -> None:
    """The bus's links to the devices and to the bridges above them."""
    for address in {part for path in devices for part in path.split("/") if pci.is_address(part)}:
        walk.link(f"{pci.DEVICES}/{address}")


def _walk_device(path: str, walk: _Walk) -> None:
    """One device with its minors, and the PCI bridges above it."""
    for link in _PCI_LINKS:
        walk.link(f"{path}/{link}")
    _walk_minors(path, walk)
    if not pci.is_address(path.rpartition("/")[2]):
        walk.file(f"{path}/uevent")
        return
    for name in _PCI_FILES:
        walk.file(f"{path}/{name}")
    _walk_bridges(path, walk)
    status = walk.entries[f"{path}/power/runtime_status"]
    asleep = isinstance(status, Blob) and status.value.strip() == b"suspended"
    if pci.driver_of(walk.sysfs, path) != "amdgpu":
        return
    if asleep:
        for name in _AMDGPU_FILES_AT_REST:
            walk.file(f"{path}/{name}")
    else:
        _walk_amdgpu(path, walk)


def _walk_minors(path: str, walk: _Walk) -> None:
    for minor in walk.folder(f"{path}/drm"):
        if re.fullmatch(r"(card|renderD)\d+", minor):
            walk.link(f"{path}/drm/{minor}/device")
            walk.file(f"{path}/drm/{minor}/dev")
            walk.file(f"{path}/drm/{minor}/uevent")


def _walk_bridges(path: str, walk: _Walk) -> None:
    above = path.rpartition("/")[0]
    while pci.is_address(above.rpartition("/")[2]):
        for name in ("vendor", "device", "class", "current_link_speed", "current_link_width"):
            walk.file(f"{above}/{name}")
        above = above.rpartition("/")[0]


def _walk_amdgpu(path: str, walk: _Walk) -> None:
    for name in _AMDGPU_FILES:
        walk.file(f"{path}/{name}")
    for folder in _AMDGPU_FOLDERS:
        for name in walk.folder(f"{path}/{folder}"):
            if name not in _NEVER:
                walk.file(f"{path}/{folder}/{name}")
    for hwmon in walk.folder(f"{path}/hwmon"):
        for name in walk.folder(f"{path}/hwmon/{hwmon}"):
            if _HWMON.fullmatch(name):
                walk.file(f"{path}/hwmon/{hwmon}/{name}")


def _walk_kfd(walk: _Walk) -> tuple[str, ...]:
    """Node-wide files; the folders of the nodes."""
    topology = kfd.NODES.rpartition("/")[0]
    real = walk.real(topology)
    if real is None:
        return ()
    for name in ("generation_id", "system_properties"):
        walk.file(f"{real}/{name}")
    return tuple(f"{real}/nodes/{number}" for number in walk.folder(f"{real}/nodes"))


def _walk_kfd_node(path: str, walk: _Walk) -> None:
    for name in _KFD_FILES:
        walk.file(f"{path}/{name}")
    for family in _KFD_FOLDERS:
        for number in walk.folder(f"{path}/{family}"):
            walk.file(f"{path}/{family}/{number}/properties")


def _write(path: str, text: str) -> None:
    data = text.encode()
    if path.endswith(".gz"):
        data = gzip.compress(data, mtime=0)
    # Only a plain file is replaced: a pipe or /dev/stdout, itself a link, is written to as it is.
    plain = not os.path.lexists(path) or (os.path.isfile(path) and not os.path.islink(path))
    target = f"{path}.part" if plain else path
    try:
        with open(target, "wb") as file:
            file.write(data)
        if plain:
            os.replace(target, path)
    except OSError as error:
        if plain:
            with contextlib.suppress(OSError):
                os.unlink(target)
        hint = "give a path in a folder that can be written"
        raise ConfigError(f"cannot be written: {error.strerror}", where=path, hint=hint) from error

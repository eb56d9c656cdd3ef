"""One round over one GPU's files: each is read once, here and nowhere else.

Not read, whatever they might tell: pcie_bw, which takes a second; xgmi_error, which resets when read; pp_*,
tables for people. A GPU that sleeps is not woken: of it only what the PCI core has counted is read.
"""

from collections.abc import Callable

from amdgpu_plugin.sysfs import Absent, Path, Sysfs, Text
from amdgpu_plugin.telemetry import hwmon, runtime_status
from amdgpu_plugin.telemetry.aer import parse_aer
from amdgpu_plugin.telemetry.bad_pages import parse_bad_pages, parse_threshold
from amdgpu_plugin.telemetry.files import DeviceFiles
from amdgpu_plugin.telemetry.gpu_metrics import parse_gpu_metrics
from amdgpu_plugin.telemetry.memory import parse_memory
from amdgpu_plugin.telemetry.numbers import bare, parse_count, parse_ratio
from amdgpu_plugin.telemetry.pcie_link import Most, is_switch_of_card, parse_link, port_above
from amdgpu_plugin.telemetry.ras import block_of, parse_ras_counts
from amdgpu_plugin.telemetry.readings import AerCounters, BadPages, Memory, PcieLink, RasCounts, Readings
from amdgpu_plugin.telemetry.throttle import causes_in_force

DEVICES = "bus/pci/devices"
PARAMETERS = "module/amdgpu/parameters"


def read_gpu_readings(sysfs: Sysfs, address: str, clock: Callable[[], float]) -> Readings:
    """A round over the GPU at a PCI address; `clock` is UNIX time in seconds. Blocks: for the GPU's lane.

    Of a GPU that is not there, nothing is told.
    """
    where = sysfs.resolve(f"{DEVICES}/{address}")
    if not isinstance(where, Path):
        return Readings(clock())
    files = DeviceFiles(sysfs, where.value)
    limit = parse_threshold(files.at(PARAMETERS).text("bad_page_threshold"))
    if runtime_status.is_asleep(files.text(runtime_status.FILE)):
        aer = _read_aer(files)
        return Readings(clock(), asleep=True, bad_page_threshold=limit, aer=aer)
    return _read_awake(files, limit, clock)


def _read_awake(files: DeviceFiles, bad_page_threshold: int | None, clock: Callable[[], float]) -> Readings:
    ras, ras_unknown = _read_ras(files)
    sensors = _read_sensors(files)
    metrics = parse_gpu_metrics(files.guarded_bytes("gpu_metrics"))
    gfx, memory, vcn = (parse_ratio(files.guarded(f"{unit}_busy_percent")) for unit in ("gpu", "mem", "vcn"))
    vram, visible_vram, gtt = (_read_memory(files, kind) for kind in ("vram", "vis_vram", "gtt"))
    bad_pages, aer, link = _read_bad_pages(files), _read_aer(files), _read_link(files)
    replays = parse_count(files.text("pcie_replay_count"))
    return Readings(
        taken_at=clock(),
        tally=files.count.tally(),
        ras=ras,
        ras_unknown=ras_unknown,
        bad_pages=bad_pages,
        bad_page_threshold=bad_page_threshold,
        temperatures=sensors.temperatures,
        power_watts=sensors.power_watts,
        power_cap_watts=sensors.power_cap_watts,
        energy_joules=metrics.energy_joules,
        clocks_hertz=sensors.clocks_hertz,
        fan_rpm=sensors.fan_rpm,
        gfx_busy_ratio=gfx,
        memory_busy_ratio=memory,
        vcn_busy_ratio=vcn,
        vram=vram,
        visible_vram=visible_vram,
        gtt=gtt,
        pcie_link=link,
        pcie_replays=replays,
        aer=aer,
        metrics_format=metrics.format,
        unknown_metrics=metrics.unknown,
        throttling=metrics.throttling,
        throttled_by=causes_in_force(metrics.throttle_bits, sensors.temperatures),
        xgmi=metrics.xgmi,
        partition_busy_ratios=metrics.partition_busy_ratios,
    )


def _read_ras(files: DeviceFiles) -> tuple[dict[str, RasCounts], tuple[str, ...]]:
    """Counts by block, and the blocks that are there and told none."""
    counts: dict[str, RasCounts] = {}
    unknown: list[str] = []
    for name in files.names("ras"):
        block = block_of(name)
        if block is None:
            continue
        answer = files.driver(f"ras/{name}")
        told = parse_ras_counts(answer.value) if isinstance(answer, Text) else None
        if told is not None:
            counts[block] = told
        elif not isinstance(answer, Absent):
            unknown.append(block)
    return counts, tuple(sorted(unknown))


def _read_bad_pages(files: DeviceFiles) -> BadPages | None:
    table = files.text("ras/gpu_vram_bad_pages")
    return None if table is None else parse_bad_pages(table)


def _read_sensors(files: DeviceFiles) -> hwmon.Sensors:
    for number in files.names("hwmon"):
        folder = f"hwmon/{number}"
        if bare(files.text(f"{folder}/name") or "") == hwmon.DRIVER_NAME:
            return hwmon.parse_sensors(_read_channels(files, folder))
    return hwmon.Sensors()


def _read_channels(files: DeviceFiles, folder: str) -> dict[str, str]:
    """The texts by name. Labels and limits tell nothing of how the GPU answers: they are not counted."""
    texts = {
        name: files.guarded(f"{folder}/{name}") if hwmon.is_measured(name) else files.text(f"{folder}/{name}")
        for name in files.names(folder)
        if hwmon.is_wanted(name)
    }
    return {name: text for name, text in texts.items() if text is not None}


def _read_memory(files: DeviceFiles, kind: str) -> Memory | None:
    """The driver's own bookkeeping, told without asking the GPU: it would hide that nothing else answers."""
    total, used = (files.text(f"mem_info_{kind}_{what}") for what in ("total", "used"))
    return parse_memory(total, used)


def _read_aer(files: DeviceFiles) -> AerCounters | None:
    return parse_aer(*(files.text(f"aer_dev_{kind}") for kind in ("correctable", "nonfatal", "fatal")))


def _read_link(files: DeviceFiles) -> PcieLink | None:
    end = files.at(_slot_end(files))
    port = port_above(end.path)
    return parse_link(
        end.text("current_link_speed"),
        end.text("current_link_width"),
        _most(end),
        Most(None, None) if port is None else _most(files.at(port)),
    )


def _slot_end(files: DeviceFiles) -> str:
    """The folder of what is in the slot: the GPU, or the upstream port of a switch on its card."""
    inner = port_above(files.path)
    outer = port_above(inner) if inner is not None else None
    if inner is None or outer is None:
        return files.path
    bridges = (files.at(bridge) for bridge in (inner, outer))
    on_card = all(is_switch_of_card(each.text("vendor"), each.text("class")) for each in bridges)
    return outer if on_card else files.path


def _most(files: DeviceFiles) -> Most:
    return Most(files.text_if_there("max_link_speed"), files.text_if_there("max_link_width"))

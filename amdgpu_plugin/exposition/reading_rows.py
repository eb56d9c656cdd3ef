"""What is read of a board, once for the board: rows of the table of metrics.

Where a value is not known (absent, denied, busy, garbled) there is no sample: never 0.
"""

from collections.abc import Callable, Iterable, Iterator

from amdgpu_plugin.exposition.rows import Row, Sample, Values, row, shown
from amdgpu_plugin.exposition.view import View
from amdgpu_plugin.telemetry.readings import Memory, PcieLink, Readings

Taken = Iterable[tuple[Values, float | None]]
"""By the labels beside `gpu`."""


def _many(name: str, labels: str, told: str, source: str, take: Callable[[Readings], Taken]) -> Row:
    def samples(view: View) -> Iterator[Sample]:
        for board in view.boards:
            if board.readings is not None:
                for values, value in take(board.readings):
                    yield (board.gpu.pci_address, *values), value

    return row(name, f"gpu {labels}", told, source, samples)


def _one(name: str, told: str, source: str, take: Callable[[Readings], float | None]) -> Row:
    return _many(name, "", told, source, lambda readings: (((), take(readings)),))


def _memory(name: str, what: str, take: Callable[[Readings], Memory | None]) -> tuple[Row, Row]:
    def taken(readings: Readings) -> Memory:
        return take(readings) or Memory(None, None)

    size, used = f"Size of {what}.", f"{what[0].upper()}{what[1:]} in use."
    return (
        _one(f"{name}_size_bytes", size, f"mem_info_{name}_total", lambda each: taken(each).size_bytes),
        _one(f"{name}_used_bytes", used, f"mem_info_{name}_used", lambda each: taken(each).used_bytes),
    )


def _link(name: str, told: str, source: str, take: Callable[[PcieLink], float | None]) -> Row:
    def of_link(readings: Readings) -> float | None:
        return None if readings.pcie_link is None else take(readings.pcie_link)

    return _one(f"pcie_link_{name}", told, source, of_link)


def _ras(readings: Readings) -> Taken:
    for block, counts in readings.ras.items():
        yield (block, "correctable"), counts.correctable
        yield (block, "uncorrectable"), counts.uncorrectable
        yield (block, "deferred"), counts.deferred


def _bad_pages(readings: Readings) -> Taken:
    if (pages := readings.bad_pages) is not None:
        yield ("retired",), pages.retired
        yield ("pending",), pages.pending
        yield ("unreservable",), pages.unreservable


def _aer(readings: Readings) -> Taken:
    if (errors := readings.aer) is not None:
        yield ("correctable",), errors.correctable
        yield ("nonfatal",), errors.nonfatal
        yield ("fatal",), errors.fatal


def _throttled(readings: Readings) -> Taken:
    return () if readings.throttling is None else _by_name(readings.throttling.causes.items())


def _by_name(values: Iterable[tuple[str, float]]) -> Taken:
    return (((name,), value) for name, value in values)


def _ticks(readings: Readings) -> float | None:
    return None if readings.throttling is None else readings.throttling.ticks


def _metrics_known(readings: Readings) -> float | None:
    if readings.unknown_metrics is not None:
        return 0
    return None if readings.metrics_format is None else 1


def _device_busy(view: View) -> Iterator[Sample]:
    readings = {board.gpu.pci_address: board.readings for board in view.boards}
    for listed in view.devices:
        board, partition = readings.get(listed.gpu.pci_address), listed.device.partition
        if board is not None and partition is not None and partition < len(board.partition_busy_ratios):
            values = shown(listed.gpu.pci_address, listed.id)
            yield values, board.partition_busy_ratios[partition]


ROWS = (
    _one(
        "last_reading_timestamp_seconds",
        "When the last round of readings of the board ended, as UNIX time. Older than three "
        "intervals: everything else read of it is old as well.",
        "the daemon's clock",
        lambda readings: readings.taken_at,
    ),
    _one(
        "asleep",
        "1 while the board is runtime-suspended: it is not woken to be read, and has no other readings.",
        "power/runtime_status",
        lambda readings: readings.asleep,
    ),
    _one(
        "gfx_busy_ratio",
        "Busy share of the graphics and compute engine, 0 to 1.",
        "gpu_busy_percent",
        lambda readings: readings.gfx_busy_ratio,
    ),
    _one(
        "memory_busy_ratio",
        "Busy share of the memory controller, 0 to 1.",
        "mem_busy_percent",
        lambda readings: readings.memory_busy_ratio,
    ),
    _one(
        "vcn_busy_ratio",
        "Busy share of the video engines, 0 to 1.",
        "vcn_busy_percent",
        lambda readings: readings.vcn_busy_ratio,
    ),
    row(
        "device_gfx_busy_ratio",
        "gpu device",
        "Busy share of one partition's graphics and compute engine, 0 to 1.",
        "gpu_metrics, per partition",
        _device_busy,
    ),
    *_memory("vram", "video memory", lambda readings: readings.vram),
    *_memory("vis_vram", "video memory the CPU can reach", lambda readings: readings.visible_vram),
    *_memory("gtt", "system memory the board can reach", lambda readings: readings.gtt),
    _many(
        "temperature_celsius",
        "sensor",
        "Temperature by sensor (edge, junction, mem).",
        "hwmon temp*_input",
        lambda readings: (((each.sensor,), each.celsius) for each in readings.temperatures),
    ),
    _many(
        "temperature_critical_celsius",
        "sensor",
        "Temperature at which the board slows down, as it says itself.",
        "hwmon temp*_crit",
        lambda readings: (((each.sensor,), each.critical_celsius) for each in readings.temperatures),
    ),
    _many(
        "temperature_emergency_celsius",
        "sensor",
        "Temperature at which the board shuts down, as it says itself.",
        "hwmon temp*_emergency",
        lambda readings: (((each.sensor,), each.emergency_celsius) for each in readings.temperatures),
    ),
    _one(
        "power_watts",
        "Power drawn, averaged where the board averages.",
        "hwmon power1_average, else power1_input",
        lambda readings: readings.power_watts,
    ),
    _one(
        "power_cap_watts",
        "Power limit in force.",
        "hwmon power1_cap",
        lambda readings: readings.power_cap_watts,
    ),
    _one(
        "energy_joules_total",
        "Energy used since the driver was loaded.",
        "gpu_metrics energy_accumulator",
        lambda readings: readings.energy_joules,
    ),
    _many(
        "clock_hertz",
        "domain",
        "Clock by domain (sclk, mclk).",
        "hwmon freq*_input",
        lambda readings: _by_name(readings.clocks_hertz.items()),
    ),
    _one(
        "fan_speed_rpm",
        "Turns of the fan in a minute.",
        "hwmon fan1_input",
        lambda readings: readings.fan_rpm,
    ),
    _one(
        "pcie_replays_total",
        "PCIe packets sent again.",
        "pcie_replay_count",
        lambda readings: readings.pcie_replays,
    ),
    _many(
        "pcie_errors_total",
        "severity",
        "PCIe errors (AER) the board reported since boot: correctable, nonfatal, fatal.",
        "aer_dev_*",
        _aer,
    ),
    _link(
        "transfers_per_second",
        "Transfers a second of a lane now; links slow down when idle.",
        "current_link_speed",
        lambda link: link.transfers_per_second,
    ),
    _link("lanes", "PCIe lanes in use now.", "current_link_width", lambda link: link.lanes),
    _link(
        "max_transfers_per_second",
        "Transfers a second of a lane that both ends can do.",
        "max_link_speed",
        lambda link: link.max_transfers_per_second,
    ),
    _link("max_lanes", "PCIe lanes that both ends have.", "max_link_width", lambda link: link.max_lanes),
    _many(
        "xgmi_read_bytes_total",
        "link",
        "Bytes read over an XGMI link.",
        "gpu_metrics xgmi_read_data_acc",
        lambda readings: (((str(each.link),), each.read_bytes) for each in readings.xgmi),
    ),
    _many(
        "xgmi_written_bytes_total",
        "link",
        "Bytes written over an XGMI link.",
        "gpu_metrics xgmi_write_data_acc",
        lambda readings: (((str(each.link),), each.written_bytes) for each in readings.xgmi),
    ),
    _many(
        "ras_errors_total",
        "block severity",
        "Memory and logic errors by block since the driver was loaded: correctable, uncorrectable, deferred.",
        "ras/*_err_count, ras/aca_*",
        _ras,
    ),
    _many(
        "bad_pages",
        "state",
        "Pages of video memory that are retired, pending, or unreservable.",
        "ras/gpu_vram_bad_pages",
        _bad_pages,
    ),
    _one(
        "bad_page_threshold",
        "Bad pages at which the board calls itself worn out.",
        "bad_page_threshold",
        lambda readings: readings.bad_page_threshold,
    ),
    _many(
        "throttle_ticks_total",
        "cause",
        "Ticks for which a cause held the clocks down; its share of metrics_ticks is the share of time.",
        "gpu_metrics, 1.6 and newer",
        _throttled,
    ),
    _one(
        "metrics_ticks_total",
        "Ticks of the counter that throttle_ticks are a share of.",
        "gpu_metrics accumulation_counter",
        _ticks,
    ),
    _many(
        "throttle_active",
        "cause",
        "1 for each kind of cause (power, current, thermal, other) that holds the clocks down now, on "
        "boards without throttle_ticks; no sample where none does.",
        "gpu_metrics, 1.3 and 2.2 to 2.4",
        lambda readings: (((cause,), 1) for cause in readings.throttled_by),
    ),
    _one(
        "gpu_metrics_known",
        "0 where the driver's gpu_metrics has a version this plugin cannot read, which costs what is "
        "taken from it.",
        "gpu_metrics",
        _metrics_known,
    ),
)

"""One board: everything of it over time."""

from tests.monitoring.dashboards.model import (
    ANY_IS_BAD,
    ANY_IS_ODD,
    HEALTH,
    SOURCE,
    YES_NO,
    Dashboard,
    Panel,
    Query,
    Row,
    series,
    stat,
    table,
    timeline,
)
from tests.monitoring.dashboards.node import IN_FORCE, MARGIN
from tests.monitoring.dashboards.parts import (
    AT,
    BOARD,
    CLUSTER,
    CORRECTED,
    DEVICE,
    FLEET,
    GPU,
    GPU_VARIABLE,
    HOLDER,
    NODE,
    NODE_VARIABLE,
    ONE_NODE,
    THIS_NODE,
    TITLES,
    UNCORRECTABLE,
    Of,
    leads_to,
)

THIS = 'gpu="$gpu"'
_ = Of(ONE_NODE, THIS)
_CONDITION = f"{AT}, gpu, condition"
_IN_FORCE = f"{_.most(_CONDITION, 'amdgpu_gpu_condition')} == 1"
_KIND = (
    "product, pci_id, unique_id, numa_node, compute_partition, memory_partition, xgmi_hive, driver_version"
)
_DEVICE = "resource, partition, render_node, replicas"
_LINK = "amdgpu_pcie_link"


def third(title: str, told: str, *queries: Query, **more: object) -> Panel:
    """Three stand beside each other."""
    return series(title, told, *queries, **{"width": 8, **more})


NOW = Row(
    "Now",
    (
        stat(
            "Health",
            "Unhealthy: the kubelet gives the board, or those partitions of it that are, to no new pod. Why: Conditions. "
            "Runbook: AmdGpuUnhealthy.",
            Query(f"min({_.healthy()})"),
            names=HEALTH,
        ),
        stat(
            "Conditions in force",
            "How many; which ones are below. docs/health.md says for each what to do.",
            Query(f"sum({_.most(_CONDITION, 'amdgpu_gpu_condition')})"),
            steps=ANY_IS_ODD,
        ),
        stat(
            "Holders",
            "Containers that hold the board or a partition of it. Who: below.",
            Query(f"count({_.held(HOLDER, '')}) or {_.none_held()}"),
            empty="not known",
        ),
        stat(
            "Utilisation now",
            "Busy share of the graphics and compute engine.",
            Query(_.of_board("amdgpu_gfx_busy_ratio")),
            unit="percentunit",
            empty="not told",
        ),
        stat(
            "Video memory in use",
            "Share of the board's memory now. In use though nobody holds it: the condition LeftoverMemory.",
            Query(f"{_.of_board('amdgpu_vram_used_bytes')} / {_.of_board('amdgpu_vram_size_bytes')}"),
            unit="percentunit",
            empty="not told",
        ),
        stat(
            "Power",
            "Drawn now.",
            Query(_.of_board("amdgpu_power_watts")),
            unit="watt",
            empty="not told",
        ),
        stat(
            "Degrees to a limit",
            "Left below the limit that the nearest sensor itself calls critical. Runbook: AmdGpuHot.",
            Query(_.margin()),
            unit="celsius",
            steps=MARGIN,
            empty="not told",
        ),
        stat(
            "Age of the last reading",
            "In intervals of reading. Over 3: all that is shown here is old. No value: the board cannot be read. "
            "Runbook: AmdGpuTelemetryStale.",
            Query(_.age()),
            steps=(("green", None), ("orange", 3)),
            empty="not read",
        ),
        table(
            "What it is",
            "As last seen. A mode of partitions or a driver that changed within the time shown has a line of its own.",
            Query(
                f"max by ({BOARD}, {_KIND}) ({_.raw('amdgpu_gpu_info')})",
                column="Known",
                names=((1, "yes", "text"),),
            ),
            Query(
                f"max by ({BOARD}, {_KIND}) ({_.raw('amdgpu_gpu_info')})"
                f" * on ({AT}) group_left () {_.most(AT, 'amdgpu_plugin_simulated')}",
                column="Simulated",
                names=YES_NO,
            ),
            labels=f"cluster node gpu {_KIND.replace(',', '')}",
            height=4,
        ),
    ),
)

HEALTHY = Row(
    "Health and holders",
    (
        timeline(
            "Health of its devices",
            "The board, or each of its partitions. A gap: the plugin was not scraped. Comes and goes: runbook "
            "AmdGpuHealthFlapping.",
            Query(_.healthy(), "{{device}}"),
            names=HEALTH,
        ),
        timeline(
            "Conditions",
            "What was the matter, and when: red while the board was unhealthy, orange while it only informed.",
            Query(
                f"({_IN_FORCE}) + on ({BOARD}) group_left () ({_.healthy(BOARD)} == bool 0)", "{{condition}}"
            ),
            names=IN_FORCE,
            empty="no condition was in force",
        ),
        timeline(
            "Holders over time",
            "Which container held which device, and when: who ran when the fault came?",
            Query(_.held(HOLDER, ""), "{{namespace}}/{{pod}} {{container}} {{device}}"),
            names=((1, "holds", "blue"),),
            empty="nobody held it, or it is not known",
        ),
        table(
            "Holders now",
            "And whether what they hold is healthy. Runbook: AmdGpuUnhealthyInUse.",
            Query(
                f"{_.held(f'{HOLDER}, resource', '')} * on ({DEVICE}) group_left () {_.healthy()}",
                column="Healthy",
                names=HEALTH,
            ),
            labels="cluster node gpu device resource namespace pod container",
            empty="nobody holds it, or it is not known",
            width=12,
        ),
        table(
            "Its devices",
            "What containers can be given of it: the board, or its partitions. Each as the kubelet knows it; one of several "
            "replicas can be held by that many containers.",
            Query(
                f"max by ({DEVICE}, {_DEVICE}) ({_.raw('amdgpu_device_info')})"
                f" * on ({DEVICE}) group_left () {_.healthy()}",
                column="Healthy",
                names=HEALTH,
            ),
            labels=f"cluster node gpu device {_DEVICE.replace(',', '')}",
        ),
    ),
)

LOAD = Row(
    "Utilisation and memory",
    (
        third(
            "Utilisation",
            "Busy shares of the board's engines. Memory high and compute low: the work waits for memory.",
            Query(_.of_board("amdgpu_gfx_busy_ratio"), "graphics and compute"),
            Query(_.of_board("amdgpu_memory_busy_ratio"), "memory controller"),
            Query(_.of_board("amdgpu_vcn_busy_ratio"), "video"),
            unit="percentunit",
            top=1,
            empty="not told",
        ),
        third(
            "Utilisation of partitions",
            "Busy share of each partition's engine, where the driver tells it.",
            Query(_.most(DEVICE, "amdgpu_device_gfx_busy_ratio"), "{{device}}"),
            unit="percentunit",
            top=1,
            empty="no partitions, or not told",
        ),
        third(
            "Video memory",
            "In use, and its size.",
            Query(_.of_board("amdgpu_vram_used_bytes"), "in use"),
            Query(_.of_board("amdgpu_vram_size_bytes"), "size", dashed=True),
            unit="bytes",
            empty="not told",
        ),
        third(
            "Memory that the CPU reaches",
            "Visible video memory. Smaller than video memory: the BIOS gives the board a small window (resizable BAR).",
            Query(_.of_board("amdgpu_vis_vram_used_bytes"), "in use"),
            Query(_.of_board("amdgpu_vis_vram_size_bytes"), "size", dashed=True),
            unit="bytes",
            empty="not told",
        ),
        third(
            "System memory (GTT)",
            "Of the node, used by the board. Much of it in use: video memory was too small.",
            Query(_.of_board("amdgpu_gtt_used_bytes"), "in use"),
            Query(_.of_board("amdgpu_gtt_size_bytes"), "size", dashed=True),
            unit="bytes",
            empty="not told",
        ),
        third(
            "Clocks",
            "Of engine (sclk) and memory (mclk). Low while busy: see what holds them down, below.",
            Query(_.most(f"{BOARD}, domain", "amdgpu_clock_hertz"), "{{domain}}"),
            unit="hertz",
            empty="not told",
        ),
    ),
)

HEAT = Row(
    "Power and temperature",
    (
        third(
            "Temperature and its limits",
            "By sensor. At the critical limit the board slows down, at the emergency limit it shuts down; both are what it "
            "says itself. Runbook: AmdGpuHot.",
            Query(_.most(f"{BOARD}, sensor", "amdgpu_temperature_celsius"), "{{sensor}}"),
            Query(
                _.most(f"{BOARD}, sensor", "amdgpu_temperature_critical_celsius"),
                "{{sensor}} critical",
                dashed=True,
            ),
            Query(
                _.most(f"{BOARD}, sensor", "amdgpu_temperature_emergency_celsius"),
                "{{sensor}} emergency",
                dashed=True,
            ),
            unit="celsius",
            empty="not told",
        ),
        third(
            "Power and its limit",
            "A limit that moves was set by somebody, or by firmware.",
            Query(_.of_board("amdgpu_power_watts"), "drawn"),
            Query(_.of_board("amdgpu_power_cap_watts"), "limit", dashed=True),
            unit="watt",
            empty="not told",
        ),
        third(
            "Power by the energy counter",
            "Average between two readings: peaks between them are in it, which the sensor may miss.",
            Query(_.rate("amdgpu_energy_joules_total", BOARD), "average"),
            unit="watt",
            empty="the board does not count its energy",
        ),
        third(
            "What holds the clocks down",
            "Share of time for each cause. `ppt` is the power limit and normal under load; the thermal ones and `prochot` "
            "are not. Runbook: AmdGpuThermalThrottle.",
            Query(_.throttled(), "{{cause}}"),
            unit="percentunit",
            empty="the board does not tell shares",
        ),
        timeline(
            "Held down now by",
            "On boards that tell no shares of time: causes in force when it was read.",
            Query(_.most(f"{BOARD}, cause", "amdgpu_throttle_active"), "{{cause}}"),
            names=((1, "holds down", "orange"),),
            empty="nothing, or the board tells shares of time",
            width=8,
        ),
        third(
            "Fan",
            "Turns of the board's own fan in a minute; server boards have none.",
            Query(_.of_board("amdgpu_fan_speed_rpm"), "fan"),
            unit="rotrpm",
            empty="it has none, or does not tell",
        ),
    ),
)

ERRORS = Row(
    "Errors",
    (
        third(
            "Uncorrectable errors by block",
            "Since the driver was loaded. A fall: it was loaded anew. Runbook: AmdGpuUncorrectableErrors.",
            Query(
                f"{_.most(f'{BOARD}, block', 'amdgpu_ras_errors_total', UNCORRECTABLE)} > 0",
                "{{block}}",
            ),
            empty="none, or not counted",
            steps=ANY_IS_BAD,
        ),
        third(
            "Corrected and deferred errors by block",
            "Since the driver was loaded. A steady rise in `umc` comes before retired pages. "
            "Runbook: AmdGpuCorrectableErrorsRising.",
            Query(
                f"{_.most(f'{BOARD}, block, severity', 'amdgpu_ras_errors_total', CORRECTED)} > 0",
                "{{block}} {{severity}}",
            ),
            empty="none, or not counted",
        ),
        third(
            "Bad pages",
            "Retired ones are out of use; pending and unreservable ones are not. At the threshold the board calls itself "
            "worn out: replace it. Runbook: AmdGpuBadPagesPending.",
            Query(_.most(f"{BOARD}, state", "amdgpu_bad_pages"), "{{state}}"),
            Query(_.of_board("amdgpu_bad_page_threshold"), "threshold", dashed=True),
            empty="not told",
        ),
        third(
            "Resets, core dumps, flaps",
            "In each step of time. A reset ends the work on the board.",
            Query(_.rise("amdgpu_resets_total", BOARD), "resets"),
            Query(_.rise("amdgpu_core_dumps_total", BOARD), "core dumps"),
            Query(_.rise("amdgpu_health_flaps_total", BOARD), "flaps"),
            bars=True,
        ),
        third(
            "PCIe errors and replays",
            "In each step of time: reported by the board (AER), and packets sent again.",
            Query(_.rise("amdgpu_pcie_errors_total", f"{BOARD}, severity"), "{{severity}}"),
            Query(_.rise("amdgpu_pcie_replays_total", BOARD), "replays"),
            bars=True,
            empty="not told",
        ),
        third(
            "Reads that gave nothing",
            "In each step of time, by reason. Busy: a reset or suspend guards the files. Hung: see `dmesg`.",
            Query(_.rise("amdgpu_plugin_failed_reads_total", f"{BOARD}, reason", THIS), "{{reason}}"),
            bars=True,
        ),
    ),
)

LINKS = Row(
    "Links",
    (
        third(
            "PCIe lanes",
            "In use, and those that both ends have. Judge it while the board is busy. Runbook: AmdGpuLinkDegraded.",
            Query(_.of_board(f"{_LINK}_lanes"), "in use"),
            Query(_.of_board(f"{_LINK}_max_lanes"), "possible", dashed=True),
            empty="not told",
        ),
        third(
            "PCIe speed of a lane",
            "Now, and what both ends can do. Links slow down when idle.",
            Query(_.of_board(f"{_LINK}_transfers_per_second"), "now"),
            Query(_.of_board(f"{_LINK}_max_transfers_per_second"), "possible", dashed=True),
            unit="si:T/s",
            empty="not told",
        ),
        third(
            "XGMI traffic",
            "Over each link to another board of the hive. A link far below the others holds up collective operations.",
            Query(_.rate("amdgpu_xgmi_read_bytes_total", f"{BOARD}, link"), "link {{link}} read"),
            Query(_.rate("amdgpu_xgmi_written_bytes_total", f"{BOARD}, link"), "link {{link}} written"),
            unit="Bps",
            empty="no such links, or not told",
        ),
    ),
)

READ = Row(
    "How it is read",
    (
        third(
            "Age of readings",
            "In intervals of reading, as it was when scraped. A gap: the board could not be read, or the plugin was not "
            "scraped. Runbook: AmdGpuTelemetryStale.",
            Query(_.age(), "age"),
            steps=(("green", None), ("orange", 3)),
            empty="not read",
        ),
        timeline(
            "Asleep",
            "While it is suspended it is not woken to be read, and has no other readings.",
            Query(_.of_board("amdgpu_asleep"), "runtime"),
            names=((0, "awake", "green"), (1, "asleep", "blue")),
            empty="not told",
            width=8,
        ),
        timeline(
            "gpu_metrics understood",
            "Whether the driver's gpu_metrics has a version that the plugin reads. If not: energy, throttling and XGMI "
            "are missing here; tell us the version, which the plugin's log names.",
            Query(_.of_board("amdgpu_gpu_metrics_known"), "gpu_metrics"),
            names=((0, "no", "orange"), (1, "yes", "green")),
            empty="the driver offers none",
            width=8,
        ),
    ),
    folded=True,
)

CONDITIONS = {
    "datasource": SOURCE,
    "enable": True,
    "expr": _IN_FORCE,
    "hide": False,
    "iconColor": "orange",
    "name": "Conditions",
    "step": "1m",
    "tagKeys": "condition",
    "target": {"expr": _IN_FORCE, "refId": "Conditions"},
    "textFormat": "in force on {{gpu}}",
    "titleFormat": "{{condition}}",
    "useValueForTime": False,
}
"""A region for as long as each is in force."""
RESETS = {
    "datasource": SOURCE,
    "enable": True,
    "expr": f"{_.rise('amdgpu_resets_total', BOARD)} > 0",
    "hide": False,
    "iconColor": "red",
    "name": "Resets",
    "step": "1m",
    "tagKeys": "gpu",
    "target": {"expr": f"{_.rise('amdgpu_resets_total', BOARD)} > 0", "refId": "Resets"},
    "textFormat": "{{gpu}}",
    "titleFormat": "Reset",
    "useValueForTime": False,
}

GPU_BOARD = Dashboard(
    GPU,
    TITLES[GPU],
    "Everything of one AMD GPU over time: health, conditions, holders, load, heat, power, errors, links. "
    "docs/dashboards.md says what it needs.",
    (CLUSTER, NODE_VARIABLE, GPU_VARIABLE),
    (NOW, HEALTHY, LOAD, HEAT, ERRORS, LINKS, READ),
    links=leads_to(FLEET, NODE, selected=THIS_NODE),
    annotations=(CONDITIONS, RESETS),
)

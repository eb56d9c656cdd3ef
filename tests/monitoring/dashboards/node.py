"""One node: each board's health, holders and readings, and the plugin's own health."""

from tests.monitoring.dashboards.model import (
    ANY_IS_BAD,
    ANY_IS_BLUE,
    ANY_IS_ODD,
    GOOD,
    HEALTH,
    ONE_IS_GOOD,
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
from tests.monitoring.dashboards.parts import (
    AT,
    BOARD,
    CLUSTER,
    CORRECTED,
    DEVICE,
    FLEET,
    GPU,
    GPU_OF_LINE,
    GPU_OF_ROW,
    GPUS_VARIABLE,
    HOLDER,
    NODE,
    NODE_VARIABLE,
    ONE_NODE,
    THIS_NODE,
    TITLES,
    UNCORRECTABLE,
    Of,
    leads_to,
    namespace_variable,
)

THESE = 'gpu=~"$gpu"'
_ = Of(ONE_NODE, THESE)
_CONDITION = f"{BOARD}, condition"
_IN_FORCE = f"{_.most(_CONDITION, 'amdgpu_gpu_condition')} == 1"
IN_FORCE = ((1, "in force", "orange"), (2, "in force, unhealthy", "red"))
MARGIN = (("red", None), ("orange", 5), ("green", 15))


def lines(title: str, told: str, *queries: Query, **more: object) -> Panel:
    """Lines of boards: a click on one opens its dashboard."""
    return series(title, told, *queries, links=(GPU_OF_LINE,), **{"width": 8, **more})


NOW = Row(
    "Now",
    (
        stat(
            "GPUs",
            "Boards bound to amdgpu on this node now. A board that is lost is not counted. Simulated ones "
            "have no hardware behind them.",
            Query(_.most(AT, "amdgpu_plugin_gpus"), "bound"),
            Query(
                f"{_.most(AT, 'amdgpu_plugin_gpus')} * {_.most(AT, 'amdgpu_plugin_simulated')} > 0",
                "simulated",
            ),
        ),
        stat(
            "Missing GPUs",
            "GPUs fewer than `devices.expect` says; where it says nothing, fewer than the most within the last day. See "
            "`dmesg` and `amdgpu-plugin doctor` on the node. Runbook: AmdGpuMissing.",
            Query(_.missing()),
            steps=ANY_IS_BAD,
        ),
        stat(
            "Healthy devices",
            "What the kubelet may give to pods, allocated ones too: GPUs, or partitions of them. A shared one counts once.",
            Query(f"sum({_.healthy()})"),
            steps=GOOD,
        ),
        stat(
            "Allocated devices",
            "Devices that containers of the chosen namespaces hold. No value: the kubelet's pod-resources are not answered.",
            Query(f"count({_.held()}) or {_.none_held()}"),
            empty="not known",
        ),
        stat(
            "Unhealthy devices",
            "Devices that the kubelet gives to no new pod. Why: Conditions, below. Runbook: AmdGpuUnhealthy.",
            Query(f"sum({_.healthy()} == bool 0)"),
            steps=ANY_IS_BAD,
        ),
        stat(
            "Unhealthy, in use",
            "Devices that are unhealthy and held: nobody ends those pods. Who: Holders, below. "
            "Runbook: AmdGpuUnhealthyInUse.",
            Query(f"count({_.held_unhealthy()}) or {_.none_held()}"),
            steps=ANY_IS_BAD,
            empty="not known",
        ),
        stat(
            "Registered",
            "Whether the kubelet hears of the devices, of the resource that does worst. If not, no pod that asks for "
            "them can start here. Runbook: AmdGpuPluginNotRegistered.",
            Query(f"min({_.most(f'{AT}, resource', 'amdgpu_plugin_registered')})"),
            steps=ONE_IS_GOOD,
            names=((0, "no", "red"), (1, "yes", "green")),
        ),
        stat(
            "Age of readings",
            "Of the board read longest ago, in intervals of reading. Over 3: all that is shown of it is old. "
            "Runbook: AmdGpuTelemetryStale.",
            Query(f"max({_.age()})"),
            steps=(("green", None), ("orange", 3)),
        ),
    ),
)

HEALTHY = Row(
    "Health",
    (
        table(
            "Each GPU",
            "Each board now, the worst first. A click on it opens its dashboard. Degrees are those left below its nearest "
            "critical limit. A cell is empty where the board does not tell, or cannot be read.",
            Query(_.unhealthy(BOARD), column="Unhealthy devices", steps=ANY_IS_BAD),
            Query(f"count by ({BOARD}) ({_IN_FORCE})", column="Conditions", steps=ANY_IS_ODD),
            Query(f"count by ({BOARD}) ({_.held(HOLDER)})", column="Holders", steps=ANY_IS_BLUE),
            Query(_.of_board("amdgpu_gfx_busy_ratio"), column="Utilisation", unit="percentunit"),
            Query(
                f"{_.of_board('amdgpu_vram_used_bytes')} / {_.of_board('amdgpu_vram_size_bytes')}",
                column="Video memory in use",
                unit="percentunit",
            ),
            Query(_.of_board("amdgpu_power_watts"), column="Power", unit="watt"),
            Query(_.margin(), column="Degrees to a limit", unit="celsius", steps=MARGIN),
            Query(_.age(), column="Age of readings", steps=(("green", None), ("orange", 3))),
            Query(_.of_board("amdgpu_asleep"), column="Asleep", names=YES_NO),
            labels="cluster node gpu",
            links=(GPU_OF_ROW,),
            order=("Unhealthy devices", "Conditions"),
            height=9,
        ),
        timeline(
            "Health of each board",
            "Unhealthy: the kubelet gives it, or those partitions of it that are unhealthy, to no new pod. One that comes "
            "and goes: runbook AmdGpuHealthFlapping. A gap: the plugin was not scraped.",
            Query(_.healthy(BOARD), "{{gpu}}"),
            names=HEALTH,
            links=(GPU_OF_LINE,),
        ),
        timeline(
            "Conditions",
            "What was the matter, and when: red while the board was unhealthy, orange while it only informed. "
            "docs/health.md says for each condition what to do.",
            Query(
                f"({_IN_FORCE}) + on ({BOARD}) group_left () ({_.healthy(BOARD)} == bool 0)",
                "{{gpu}} {{condition}}",
            ),
            names=IN_FORCE,
            links=(GPU_OF_LINE,),
            empty="no condition was in force",
        ),
        table(
            "Holders",
            "Containers that hold devices of this node, and whether those are healthy. On an unhealthy one "
            "the work may fail, hang or be wrong: runbook AmdGpuUnhealthyInUse.",
            Query(
                f"{_.held(f'{HOLDER}, resource')} * on ({DEVICE}) group_left () {_.healthy()}",
                column="Healthy",
                names=HEALTH,
            ),
            labels="cluster node gpu device resource namespace pod container",
            links=(GPU_OF_ROW,),
            empty="nobody holds a device, or it is not known",
        ),
    ),
)

LOAD = Row(
    "Utilisation and memory",
    (
        lines(
            "Utilisation",
            "Busy share of the graphics and compute engine. It is the board's; of partitions see the GPU's dashboard.",
            Query(_.of_board("amdgpu_gfx_busy_ratio"), "{{gpu}}"),
            unit="percentunit",
            top=1,
        ),
        lines(
            "Memory controller",
            "Busy share of the memory controller. High while the engine is not: the work waits for memory.",
            Query(_.of_board("amdgpu_memory_busy_ratio"), "{{gpu}}"),
            unit="percentunit",
            top=1,
        ),
        lines(
            "Video memory in use",
            "Share of video memory. In use on a board that nobody holds: the condition LeftoverMemory.",
            Query(
                f"{_.of_board('amdgpu_vram_used_bytes')} / {_.of_board('amdgpu_vram_size_bytes')}", "{{gpu}}"
            ),
            unit="percentunit",
            top=1,
        ),
    ),
)

HEAT = Row(
    "Power and temperature",
    (
        lines(
            "Temperature",
            "The hottest sensor of each board. What it may be is the board's own affair: see the degrees left, beside.",
            Query(f"max by ({BOARD}) ({_.raw('amdgpu_temperature_celsius')} <= 150)", "{{gpu}}"),
            unit="celsius",
        ),
        lines(
            "Degrees left to a limit",
            "Below the limit that the sensor itself calls critical, of the sensor that is nearest. At 0 the board slows "
            "down; at its emergency limit it shuts down. Runbook: AmdGpuHot.",
            Query(_.margin(f"{BOARD}, sensor"), "{{gpu}} {{sensor}}"),
            unit="celsius",
            steps=MARGIN,
        ),
        lines(
            "Power",
            "What each board draws. Its limit: beside.",
            Query(_.of_board("amdgpu_power_watts"), "{{gpu}}"),
            unit="watt",
        ),
        lines(
            "Power of its limit",
            "At 100 % the board is held to its power limit: normal under full load. A limit lower than its neighbours' "
            "was set by somebody.",
            Query(
                f"{_.of_board('amdgpu_power_watts')} / ({_.of_board('amdgpu_power_cap_watts')} > 0)",
                "{{gpu}}",
            ),
            unit="percentunit",
        ),
        lines(
            "Held down by heat",
            "Share of time for which heat held the clocks down, cause by cause. Over 10 % while busy: check air flow and "
            "fans. Some firmware says so of idle boards. Runbook: AmdGpuThermalThrottle.",
            Query(
                _.throttled(also='cause=~"prochot|.*_thermal"'),
                "{{gpu}} {{cause}}",
            ),
            unit="percentunit",
            steps=(("green", None), ("orange", 0.1)),
            empty="no board here tells it",
        ),
        lines(
            "Held down by power",
            "Share of time for which the power limit held the clocks down: normal under load.",
            Query(_.throttled(also='cause="ppt"'), "{{gpu}}"),
            unit="percentunit",
            empty="no board here tells it",
        ),
    ),
)

ERRORS = Row(
    "Errors and links",
    (
        lines(
            "Uncorrectable errors",
            "Counted by the driver in each step of time. Each may have cost a job. "
            "Runbook: AmdGpuUncorrectableErrors.",
            Query(
                f"sum by ({BOARD})"
                f" ({_.rise('amdgpu_ras_errors_total', f'{BOARD}, block, severity', UNCORRECTABLE)})",
                "{{gpu}}",
            ),
            bars=True,
            empty="no board here counts them",
        ),
        lines(
            "Corrected and deferred errors",
            "Counted by the driver in each step of time. Results are right; a steady rise comes before worse. "
            "Runbook: AmdGpuCorrectableErrorsRising.",
            Query(
                f"sum by ({BOARD}, severity)"
                f" ({_.rise('amdgpu_ras_errors_total', f'{BOARD}, block, severity', CORRECTED)})",
                "{{gpu}} {{severity}}",
            ),
            bars=True,
            empty="no board here counts them",
        ),
        lines(
            "Bad pages",
            "Pages of video memory: pending ones are still in use, and retired when the driver is loaded anew. "
            "Runbook: AmdGpuBadPagesPending.",
            Query(_.most(f"{BOARD}, state", "amdgpu_bad_pages"), "{{gpu}} {{state}}"),
            empty="no board here tells them",
        ),
        lines(
            "Resets, core dumps, flaps",
            "In each step of time. A reset ends the work on the board; a flap is a trouble that came back while it was held.",
            Query(_.rise("amdgpu_resets_total", BOARD), "{{gpu}} resets"),
            Query(_.rise("amdgpu_core_dumps_total", BOARD), "{{gpu}} core dumps"),
            Query(_.rise("amdgpu_health_flaps_total", BOARD), "{{gpu}} flaps"),
            bars=True,
        ),
        lines(
            "PCIe errors and replays",
            "Errors that the board reported (AER) and packets sent again, in each step of time. On several boards of one "
            "switch: look at the switch or riser.",
            Query(_.rise("amdgpu_pcie_errors_total", f"{BOARD}, severity"), "{{gpu}} {{severity}}"),
            Query(_.rise("amdgpu_pcie_replays_total", BOARD), "{{gpu}} replays"),
            bars=True,
        ),
        lines(
            "PCIe lanes that are missing",
            "Fewer than both ends have. Idle boards give up lanes; a busy one should not: reseat it. "
            "Runbook: AmdGpuLinkDegraded.",
            Query(
                f"{_.of_board('amdgpu_pcie_link_max_lanes')} - {_.of_board('amdgpu_pcie_link_lanes')}",
                "{{gpu}}",
            ),
            steps=ANY_IS_ODD,
        ),
        lines(
            "XGMI traffic",
            "Read and written over all links of a board to others of its hive. One board far below the rest of a job holds "
            "it up.",
            Query(
                f"sum by ({BOARD}) ({_.rate('amdgpu_xgmi_read_bytes_total', f'{BOARD}, link')})",
                "{{gpu}} read",
            ),
            Query(
                f"sum by ({BOARD}) ({_.rate('amdgpu_xgmi_written_bytes_total', f'{BOARD}, link')})",
                "{{gpu}} written",
            ),
            unit="Bps",
            empty="no board here has such links, or tells of them",
            width=24,
        ),
    ),
)


def own(title: str, told: str, *queries: Query, **more: object) -> Panel:
    """Of the plugin itself."""
    return series(title, told, *queries, **{"width": 8, **more})


PLUGIN = Row(
    "The plugin",
    (
        stat(
            "Version and mode",
            "In mode observe only lost boards and unbound drivers reach the kubelet. `simulated` or `none` as the source "
            "of events: the kernel's are not heard.",
            Query(
                _.most("version, health_mode, events", "amdgpu_plugin_info"),
                "{{version}}, {{health_mode}}, events: {{events}}",
            ),
            text=True,
            width=6,
        ),
        stat(
            "Simulated",
            "Whether the GPUs of this node exist.",
            Query(_.most(AT, "amdgpu_plugin_simulated")),
            names=YES_NO,
        ),
        stat(
            "Another plugin",
            "Whether another plugin serves one of our resources, and ours waits. Remove it: docs/migrate.md.",
            Query(_.most(AT, "amdgpu_plugin_conflict")),
            names=((0, "no", "text"), (1, "yes", "red")),
        ),
        stat(
            "Health guard",
            "Active while all GPUs seem to share one trouble, which is more likely ours: then it only informs. "
            "docs/health.md.",
            Query(_.most(AT, "amdgpu_plugin_health_guard_active")),
            names=((0, "not active", "text"), (1, "active", "orange")),
        ),
        stat(
            "Holders known",
            "Whether the kubelet's pod-resources tell who holds what.",
            Query(_.most(AT, "amdgpu_plugin_holders_known")),
            names=((0, "no", "orange"), (1, "yes", "text")),
        ),
        stat(
            "KFD readable",
            "Whether the topology of KFD can be read. Without it the weights of links are not known, and partitions of "
            "some GPUs: `kfdAccess` in docs/helm.md.",
            Query(_.most(AT, "amdgpu_plugin_kfd_readable")),
            names=((0, "no", "text"), (1, "yes", "text")),
        ),
        stat(
            "Would be unhealthy",
            "Devices that would be unhealthy if health was enforced. Only in mode observe.",
            Query(f"sum(min by ({DEVICE}) ({_.raw('amdgpu_device_would_be_healthy')}) == bool 0)"),
            steps=ANY_IS_ODD,
            empty="enforced",
        ),
        timeline(
            "Registered with the kubelet",
            "Whether the kubelet hears of each resource. Short gaps: the kubelet restarted. "
            "Runbook: AmdGpuPluginNotRegistered.",
            Query(_.most(f"{AT}, resource", "amdgpu_plugin_registered"), "{{resource}}"),
            names=((0, "not registered", "red"), (1, "registered", "green")),
            width=8,
        ),
        own(
            "Registrations and streams",
            "In each step of time. Streams that are lost again and again: see the kubelet's log for `device plugin`.",
            Query(
                f"sum by (result) ({_.rise('amdgpu_plugin_registrations_total', f'{AT}, resource, result')})",
                "registrations {{result}}",
            ),
            Query(
                f"sum({_.rise('amdgpu_plugin_streams_opened_total', f'{AT}, resource')})", "streams opened"
            ),
            Query(f"sum({_.rise('amdgpu_plugin_streams_lost_total', f'{AT}, resource')})", "streams lost"),
            Query(f"sum({_.most(f'{AT}, resource', 'amdgpu_plugin_streams')})", "streams open now"),
        ),
        own(
            "Allocations",
            "Calls of the kubelet in each step of time. One that is refused leaves a pod in UnexpectedAdmissionError: "
            "the plugin's log says why.",
            Query(
                f"sum by (result) ({_.rise('amdgpu_plugin_allocations_total', f'{AT}, resource, result')})",
                "{{result}}",
            ),
            bars=True,
        ),
        own(
            "From event to kubelet",
            "From a kernel event to the list sent to the kubelet, the slowest of a hundred. Empty where no event came.",
            Query(_.quantile(0.99, "amdgpu_plugin_health_push_seconds", AT), "99 of 100"),
            Query(_.quantile(0.5, "amdgpu_plugin_health_push_seconds", AT), "50 of 100"),
            unit="s",
            empty="no event came",
        ),
        own(
            "The kubelet's calls",
            "How long the slowest of a hundred took. Empty where none came.",
            Query(_.quantile(0.99, "amdgpu_plugin_rpc_seconds", f"{AT}, method"), "{{method}}"),
            unit="s",
            empty="no call came",
        ),
        own(
            "Rounds of readings",
            "How long a round of one board took, the slowest of a hundred. Seconds: the driver answers slowly, or a reset "
            "is under way.",
            Query(_.quantile(0.99, "amdgpu_plugin_probe_seconds", AT), "99 of 100"),
            Query(_.quantile(0.5, "amdgpu_plugin_probe_seconds", AT), "50 of 100"),
            unit="s",
        ),
        own(
            "Reads that gave nothing",
            "In each step of time, by board and reason: busy (a reset or suspend guards it), failing, hung. Late ones are "
            "our own: give the plugin more CPU.",
            Query(
                _.rise("amdgpu_plugin_failed_reads_total", f"{BOARD}, reason", THESE),
                "{{gpu}} {{reason}}",
            ),
            Query(_.rise("amdgpu_plugin_starved_total", AT), "late"),
            bars=True,
        ),
        own(
            "Kernel events",
            "In each step of time. Lost: our buffer was full, all is looked at anew then. Without sense: not from the "
            "kernel, or garbled. Missed: a GPU changed and no event told of it; `amdgpu-plugin doctor` says why (AmdGpuPluginDeaf).",
            Query(
                f"sum by (action, subsystem)"
                f" ({_.rise('amdgpu_plugin_uevents_total', f'{AT}, action, subsystem')}) > 0",
                "{{action}} {{subsystem}}",
            ),
            Query(_.rise("amdgpu_plugin_uevent_overruns_total", AT), "lost"),
            Query(_.rise("amdgpu_plugin_uevents_dropped_total", AT), "without sense"),
            Query(_.rise("amdgpu_plugin_missed_events_total", AT), "missed"),
            bars=True,
        ),
        own(
            "Told to Kubernetes",
            "Events by result, and requests that failed by reason, in each step of time. Held back: a limit; it is told "
            "later as it then stands. Empty where neither Events nor the node condition is on: docs/events.md. Failing for an "
            "hour: AmdGpuPluginKubernetesErrors.",
            Query(
                f"sum by (result) ({_.rise('amdgpu_plugin_kubernetes_events_total', f'{AT}, result')})",
                "Events {{result}}",
            ),
            Query(
                f"sum by (reason) ({_.rise('amdgpu_plugin_kubernetes_errors_total', f'{AT}, reason')})",
                "failed: {{reason}}",
            ),
            empty="not switched on",
            bars=True,
        ),
        own(
            "Edges",
            "Restarts of a part, by part, and questions to pod-resources without an answer, in each step of time. The "
            "plugin's log says why.",
            Query(_.rise("amdgpu_plugin_edge_restarts_total", f"{AT}, part"), "{{part}} restarted"),
            Query(_.rise("amdgpu_plugin_pod_resources_failures_total", AT), "pod-resources failed"),
            bars=True,
        ),
        own(
            "Memory of the plugin",
            "Of its process. The chart's limit is `resources.limits.memory`.",
            Query(f"max by ({AT}) ({_.of_plugin('process_resident_memory_bytes')})", "resident"),
            unit="bytes",
            width=12,
        ),
        own(
            "CPU of the plugin",
            "Cores it used. It does most of its work at start and when something changes.",
            Query(
                f"max by ({AT}) (rate({_.raw('process_cpu_seconds_total')}[$__rate_interval])"
                f" and on (job, instance) {_.raw('amdgpu_plugin_info')})",
                "cores",
            ),
            width=12,
        ),
    ),
    folded=True,
)

NODE_BOARD = Dashboard(
    NODE,
    TITLES[NODE],
    "Each AMD GPU of one node: health, conditions, holders, readings against their limits, errors, links, and the "
    "plugin itself. docs/dashboards.md says what it needs.",
    (CLUSTER, NODE_VARIABLE, GPUS_VARIABLE, namespace_variable(ONE_NODE)),
    (NOW, HEALTHY, LOAD, HEAT, ERRORS, PLUGIN),
    links=leads_to(FLEET, GPU, selected=THIS_NODE),
)

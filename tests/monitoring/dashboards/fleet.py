"""All nodes: how many GPUs there are, who holds them, and what is wrong, the worst first."""

from tests.monitoring.dashboards.model import (
    ANY_IS_BAD,
    ANY_IS_BLUE,
    ANY_IS_ODD,
    GOOD,
    YES_NO,
    Dashboard,
    Panel,
    Query,
    Row,
    bars,
    series,
    stat,
    table,
)
from tests.monitoring.dashboards.parts import (
    AT,
    BOARD,
    CLUSTER,
    CORRECTED,
    DEVICE,
    FLEET,
    GPU_OF_LINE,
    GPU_OF_ROW,
    HOLDER,
    NODE,
    NODE_OF_LINE,
    NODE_OF_ROW,
    NODES,
    NODES_VARIABLE,
    TITLES,
    UNCORRECTABLE,
    Of,
    leads_to,
    namespace_variable,
)

_ = Of(NODES)
_NAMESPACED = f"{BOARD}, namespace"
_BUSY = "amdgpu_gfx_busy_ratio"
_IN_USE = 'state=~"pending|unreservable"'
_CONDITION = f"{BOARD}, condition"
_IN_FORCE = f"{_.most(_CONDITION, 'amdgpu_gpu_condition')} == 1"
_SILENT = (
    f"max by ({AT}) (max_over_time({_.raw('amdgpu_plugin_gpus')}[1d]))"
    f" unless on ({AT}) {_.most(AT, 'amdgpu_plugin_gpus')}"
)
_HOLDERS_OF_BOARD = (
    f"(count by ({BOARD}) ({_.held(HOLDER)}) or {_.none_held(AT)}"
    f" * on ({AT}) group_right () {_.healthy(BOARD)})"
)


def over_time(title: str, told: str, *queries: Query, **more: object) -> Panel:
    """Few moments: thousands of boards at a thousand moments are more than Prometheus gives to one query."""
    return series(title, told, *queries, **{"points": 100, **more})


NOW = Row(
    "Now",
    (
        stat(
            "Nodes",
            "Nodes whose plugin is scraped with success. Fewer than you have GPU nodes: see Silent nodes. "
            "Those of them that are simulated have no hardware behind them.",
            Query(f"count({_.most(AT, 'amdgpu_plugin_gpus')})", "nodes"),
            Query(f"sum({_.most(AT, 'amdgpu_plugin_simulated')}) > 0", "simulated"),
        ),
        stat(
            "GPUs",
            "Boards bound to amdgpu now, over all nodes chosen above. A board that is lost is not counted.",
            Query(f"sum({_.most(AT, 'amdgpu_plugin_gpus')})"),
        ),
        stat(
            "Missing GPUs",
            "GPUs fewer than `devices.expect` says; where it says nothing, fewer than the most within the last day. "
            "Which nodes: the table below. Runbook: AmdGpuMissing.",
            Query(f"sum({_.missing()})"),
            steps=ANY_IS_BAD,
        ),
        stat(
            "Healthy devices",
            "What the kubelets may give to pods: GPUs, or partitions of them. A shared device is one, however many "
            "replicas it has; allocated ones are counted too.",
            Query(f"sum({_.healthy()})"),
            steps=GOOD,
        ),
        stat(
            "Allocated devices",
            "Devices that containers of the chosen namespaces hold. No value: no node knows who holds what, since the "
            "kubelet's pod-resources are not answered (amdgpu_plugin_holders_known).",
            Query(f"count({_.held()}) or {_.none_held()}"),
            empty="not known",
        ),
        stat(
            "Unhealthy devices",
            "Devices that the kubelets give to no new pod. Why: the tables below. Runbook: AmdGpuUnhealthy.",
            Query(f"sum({_.healthy()} == bool 0)"),
            steps=ANY_IS_BAD,
        ),
        stat(
            "Unhealthy, in use",
            "Devices that are unhealthy and held: nobody ends those pods, and their work may fail, hang or be wrong. "
            "Act on these first. Runbook: AmdGpuUnhealthyInUse.",
            Query(f"count({_.held_unhealthy()}) or {_.none_held()}"),
            steps=ANY_IS_BAD,
            empty="not known",
        ),
        stat(
            "Silent nodes",
            "Nodes that told of their GPUs within the last day and do not now: the plugin or the node is down, or was "
            "taken away. Runbook: AmdGpuPluginDown.",
            Query(f"count({_SILENT}) or 0 * count({_.most(AT, 'amdgpu_plugin_gpus')})"),
            steps=ANY_IS_BAD,
        ),
    ),
)

WRONG = Row(
    "What is wrong now",
    (
        table(
            "Nodes with trouble",
            "Each node that has any, the worst first: by unhealthy devices that are in use, then by all unhealthy ones. "
            "A click on the node opens its dashboard. An empty cell is a trouble that it does not have.",
            Query(
                f"sum by ({AT}) ({_.held_unhealthy()}) > 0",
                column="Unhealthy, in use",
                steps=ANY_IS_BAD,
            ),
            Query(f"{_.unhealthy(AT)} > 0", column="Unhealthy devices", steps=ANY_IS_BAD),
            Query(f"{_.missing()} > 0", column="Missing GPUs", steps=ANY_IS_BAD),
            Query(f"count by ({AT}) ({_IN_FORCE})", column="Conditions", steps=ANY_IS_ODD),
            Query(
                f"count by ({AT}) ({_.most(f'{AT}, resource', 'amdgpu_plugin_registered')} == 0)",
                column="Resources not registered",
                steps=ANY_IS_BAD,
            ),
            Query(f"count by ({AT}) ({_.age()} > 3)", column="GPUs with old readings", steps=ANY_IS_ODD),
            labels="cluster node",
            links=(NODE_OF_ROW,),
            order=("Unhealthy, in use", "Unhealthy devices", "Missing GPUs", "Conditions"),
            empty="nothing is wrong",
        ),
        table(
            "Conditions in force",
            "Each board and what is the matter with it, those with unhealthy devices in use first. A condition on a "
            "board without unhealthy devices only informs. docs/health.md says for each what to do.",
            Query(
                f"({_IN_FORCE}) * on ({BOARD}) group_left (product) {_.product()}"
                f" * on ({BOARD}) group_left () ({_.unhealthy(BOARD)})",
                column="Unhealthy devices",
                steps=ANY_IS_BAD,
            ),
            Query(
                f"({_IN_FORCE}) * on ({BOARD}) group_left (product) {_.product()}"
                f" * on ({BOARD}) group_left () {_HOLDERS_OF_BOARD}",
                column="Holders",
                steps=ANY_IS_BLUE,
            ),
            labels="cluster node gpu product condition",
            links=(NODE_OF_ROW, GPU_OF_ROW),
            order=("Unhealthy devices", "Holders"),
            empty="no condition is in force",
        ),
        table(
            "Who uses unhealthy devices",
            "Containers whose work may fail, hang or be wrong. Tell their owners, delete the pods, then mend the board. "
            "Runbook: AmdGpuUnhealthyInUse.",
            Query(f"{_.held_unhealthy(HOLDER)}", column="Holds", names=YES_NO),
            labels="cluster node gpu device namespace pod container",
            links=(NODE_OF_ROW, GPU_OF_ROW),
            empty="nobody, as far as is known",
            width=12,
        ),
        over_time(
            "Boards by condition",
            "How many boards each condition is in force for. Many at once and of one kind: look for what they share, "
            "such as a driver's version, a rack's cooling, or the plugin itself (health guard).",
            Query(f"sum by (condition) ({_.most(_CONDITION, 'amdgpu_gpu_condition')}) > 0", "{{condition}}"),
            stacked=True,
            empty="no condition was in force",
        ),
    ),
)

USE = Row(
    "Allocation",
    (
        over_time(
            "Devices",
            "Healthy ones are what can be allocated. Where allocated comes near healthy, the fleet is full; healthy that "
            "falls is what was lost to faults, nodes or silence.",
            Query(f"sum({_.healthy()})", "healthy"),
            Query(f"count({_.held()}) or {_.none_held()}", "allocated"),
            Query(f"sum({_.healthy()} == bool 0)", "unhealthy"),
        ),
        over_time(
            "Allocated devices by namespace",
            "Who holds how much. A device that several containers share counts once in each of their namespaces.",
            Query(f"count by (namespace) ({_.held(f'{DEVICE}, namespace')})", "{{namespace}}"),
            stacked=True,
            empty="nobody holds a device, or it is not known",
        ),
        table(
            "Namespaces",
            "What each holds. Power of a board that several hold is divided among its containers. Utilisation is the "
            "boards': with partitions or sharing it says nothing of a single pod. Idle: busy for less than 5 % of the "
            "last hour. Runbook: AmdGpuAllocatedIdle.",
            Query(f"count by (namespace) ({_.held(f'{DEVICE}, namespace')})", column="Devices"),
            Query(f"count by (namespace) ({_.held(_NAMESPACED)})", column="Boards"),
            Query(
                f"avg by (namespace) ({_.held(_NAMESPACED)} * on ({BOARD}) group_left () {_.of_board(_BUSY)})",
                column="Mean utilisation",
                unit="percentunit",
            ),
            Query(
                f"sum by (namespace) ({_.held(HOLDER)}"
                f" / on ({BOARD}) group_left () count by ({BOARD}) ({_.held(HOLDER, '')})"
                f" * on ({BOARD}) group_left () {_.of_board('amdgpu_power_watts')})",
                column="Power",
                unit="watt",
            ),
            Query(
                f"count by (namespace) ({_.held(_NAMESPACED)} and on ({BOARD})"
                f" (max by ({BOARD}) (avg_over_time({_.raw(_BUSY)}[1h])) < 0.05))",
                column="Idle boards",
                steps=ANY_IS_BLUE,
            ),
            labels="namespace",
            order=("Devices",),
            width=12,
            empty="nobody holds a device, or it is not known",
        ),
        table(
            "Held and idle boards",
            "Boards that containers hold and that were busy for less than 5 % of the last hour: waiting for data, or "
            "forgotten. Ask the owner. Runbook: AmdGpuAllocatedIdle.",
            Query(
                f"({_.held(f'{_NAMESPACED}, pod')} * on ({BOARD}) group_left ()"
                f" max by ({BOARD}) (avg_over_time({_.raw(_BUSY)}[1h]))) < 0.05",
                column="Utilisation, 1 h",
                unit="percentunit",
            ),
            labels="cluster node gpu namespace pod",
            links=(NODE_OF_ROW, GPU_OF_ROW),
            width=12,
            empty="none is idle, or it is not known who holds what",
        ),
    ),
)

LOAD = Row(
    "Utilisation and memory",
    (
        over_time(
            "Utilisation over all boards",
            "Of the graphics and compute engines: the tenth, the half and nine tenths of all boards are at or below "
            "these. A half at 0 with a busy top tenth: work is unevenly spread.",
            *(
                Query(f"quantile({share}, {_.of_board(_BUSY)})", name)
                for share, name in ((0.1, "tenth"), (0.5, "half"), (0.9, "nine tenths"))
            ),
            unit="percentunit",
            top=1,
            width=8,
        ),
        over_time(
            "Mean utilisation, held and free boards",
            "Held boards that are idle waste money. Free boards that are busy are used by something that Kubernetes does "
            "not know of: look for it under Leftover memory on their nodes.",
            Query(
                f"avg({_.of_board(_BUSY)} and on ({BOARD}) {_.held(BOARD)})",
                "held",
            ),
            Query(
                f"avg(({_.of_board(_BUSY)} and on ({AT}) ({_.most(AT, 'amdgpu_plugin_holders_known')} == 1))"
                f" unless on ({BOARD}) {_.held(BOARD, '')})",
                "free",
            ),
            unit="percentunit",
            top=1,
            width=8,
        ),
        over_time(
            "Video memory",
            "In use and there, over all boards. Which boards are full: the node's dashboard.",
            Query(f"sum({_.of_board('amdgpu_vram_used_bytes')})", "in use"),
            Query(f"sum({_.of_board('amdgpu_vram_size_bytes')})", "size", dashed=True),
            unit="bytes",
            width=8,
        ),
    ),
)

HEAT = Row(
    "Power and temperature",
    (
        over_time(
            "Power",
            "Drawn by all boards, and what their power limits add up to. Boards that do not tell their power are not in it.",
            Query(f"sum({_.of_board('amdgpu_power_watts')})", "drawn"),
            Query(f"sum({_.of_board('amdgpu_power_cap_watts')})", "limits", dashed=True),
            unit="watt",
            width=8,
        ),
        bars(
            "Nodes that draw the most",
            "The ten whose boards draw the most together. Compare it with what rack and supply allow.",
            Query(f"sort_desc(topk(10, sum by ({AT}) ({_.of_board('amdgpu_power_watts')})))", "{{node}}"),
            unit="watt",
            steps=GOOD,
            links=(NODE_OF_LINE,),
            width=8,
        ),
        bars(
            "Boards nearest to their limit",
            "The ten with the fewest degrees left below the limit that the sensor itself calls critical. At 0 the board "
            "slows down. Runbook: AmdGpuHot.",
            Query(f"sort(bottomk(10, {_.margin()}))", "{{node}} {{gpu}}"),
            unit="celsius",
            steps=(("red", None), ("orange", 5), ("green", 15)),
            links=(GPU_OF_LINE,),
            width=8,
        ),
        over_time(
            "Boards that are slowed down",
            "Boards whose clocks a cause held down for over 10 % of the time. `ppt` is the power limit and normal under "
            "load; the thermal ones and `prochot` are not: check cooling. Runbook: AmdGpuThermalThrottle.",
            Query(f"count by (cause) ({_.throttled()} > 0.1)", "{{cause}}"),
            empty="none was",
            stacked=True,
        ),
        over_time(
            "Boards with less of their link",
            "Boards whose PCIe link has fewer lanes, or less speed, than both its ends can do. Idle boards give up both "
            "to save power: believe it of busy ones, as the condition LinkDegraded does. Runbook: AmdGpuLinkDegraded.",
            Query(
                f"count({_.of_board('amdgpu_pcie_link_lanes')} < {_.of_board('amdgpu_pcie_link_max_lanes')})"
                f" or 0 * count({_.of_board('amdgpu_pcie_link_lanes')})",
                "fewer lanes",
            ),
            Query(
                f"count({_.of_board('amdgpu_pcie_link_transfers_per_second')}"
                f" < {_.of_board('amdgpu_pcie_link_max_transfers_per_second')})"
                f" or 0 * count({_.of_board('amdgpu_pcie_link_transfers_per_second')})",
                "less speed",
            ),
        ),
    ),
)


# Pods that came one after the other each counted a part, so these are added up.
def _counted(metric: str, also: str = "") -> str:
    """Rise of a day over all that a board counts, where there was any."""
    return f"sum by ({BOARD}) (increase({_.raw(metric, also)}[1d])) > 0"


ERRORS = Row(
    "Errors",
    (
        table(
            "Boards with errors in the last day",
            "What the driver and the kernel counted, boards with uncorrectable errors first. Correctable ones in `umc` "
            "that rise come before retired pages. Runbooks: AmdGpuUncorrectableErrors, AmdGpuCorrectableErrorsRising, "
            "AmdGpuBadPagesPending.",
            Query(
                _counted("amdgpu_ras_errors_total", UNCORRECTABLE),
                column="Uncorrectable",
                steps=ANY_IS_BAD,
            ),
            Query(_counted("amdgpu_ras_errors_total", CORRECTED), column="Corrected or deferred"),
            Query(
                f"{_.of_board('amdgpu_bad_pages', _IN_USE)} > 0",
                column="Bad pages in use",
                steps=ANY_IS_ODD,
            ),
            Query(
                _counted("amdgpu_pcie_errors_total", 'severity=~"fatal|nonfatal"'),
                column="PCIe errors",
                steps=ANY_IS_ODD,
            ),
            Query(_counted("amdgpu_resets_total"), column="Resets", steps=ANY_IS_ODD),
            Query(_counted("amdgpu_health_flaps_total"), column="Flaps", steps=ANY_IS_ODD),
            labels="cluster node gpu",
            links=(NODE_OF_ROW, GPU_OF_ROW),
            order=("Uncorrectable", "Corrected or deferred", "Resets"),
            empty="none",
        ),
        over_time(
            "Errors counted by the driver",
            "Memory and logic errors of all boards in each step of time. Uncorrectable ones cost jobs.",
            Query(
                f"sum by (severity) ({_.rise('amdgpu_ras_errors_total', f'{BOARD}, block, severity')})",
                "{{severity}}",
            ),
            bars=True,
            stacked=True,
        ),
        over_time(
            "Resets and core dumps",
            "What the kernel told of in each step of time: a reset ends the work on the board.",
            Query(f"sum({_.rise('amdgpu_resets_total', BOARD)})", "resets"),
            Query(f"sum({_.rise('amdgpu_core_dumps_total', BOARD)})", "core dumps"),
            bars=True,
        ),
    ),
    folded=True,
)

ALL = Row(
    "All nodes",
    (
        table(
            "Each node",
            "Each node with its GPUs, their use and their driver. For those with trouble see the top. A simulated node "
            "has no hardware behind it.",
            Query(_.most(AT, "amdgpu_plugin_gpus"), column="GPUs"),
            Query(f"count by ({AT}) ({_.healthy()})", column="Devices"),
            Query(_.unhealthy(AT), column="Unhealthy", steps=ANY_IS_BAD),
            Query(f"count by ({AT}) ({_.held()}) or {_.none_held(AT)}", column="Allocated"),
            Query(f"avg by ({AT}) ({_.of_board(_BUSY)})", column="Mean utilisation", unit="percentunit"),
            Query(
                f"sum by ({AT}) ({_.of_board('amdgpu_vram_used_bytes')})"
                f" / sum by ({AT}) ({_.of_board('amdgpu_vram_size_bytes')})",
                column="Video memory in use",
                unit="percentunit",
            ),
            Query(f"sum by ({AT}) ({_.of_board('amdgpu_power_watts')})", column="Power", unit="watt"),
            Query(_.margin(AT), column="Degrees to a limit", unit="celsius"),
            Query(_.most(AT, "amdgpu_plugin_simulated"), column="Simulated", names=YES_NO),
            labels="cluster node",
            links=(NODE_OF_ROW,),
            order=("Unhealthy", "Allocated"),
            height=12,
        ),
    ),
    folded=True,
)

PLUGIN = Row(
    "The plugin",
    (
        over_time(
            "Nodes by version and mode",
            "Several versions at once: a rollout is under way, or has stopped. In mode observe only lost boards and "
            "unbound drivers reach the kubelet.",
            Query(
                "count by (version, health_mode)"
                f" ({_.most(f'{AT}, version, health_mode', 'amdgpu_plugin_info')})",
                "{{version}} {{health_mode}}",
            ),
            stacked=True,
            width=8,
        ),
        over_time(
            "Nodes where the plugin is held up",
            "Not registered: no pod that asks for GPUs can start there (AmdGpuPluginNotRegistered). Another plugin: "
            "remove it, docs/migrate.md. Guard: all GPUs of a node seem ill at once, which is more likely our trouble. "
            "Holders not known: pod-resources are not answered.",
            Query(
                f"count({_.most(f'{AT}, resource', 'amdgpu_plugin_registered')} == 0)"
                f" or 0 * count({_.most(AT, 'amdgpu_plugin_gpus')})",
                "not registered",
            ),
            Query(f"sum({_.most(AT, 'amdgpu_plugin_conflict')})", "another plugin"),
            Query(f"sum({_.most(AT, 'amdgpu_plugin_health_guard_active')})", "guard"),
            Query(f"sum({_.most(AT, 'amdgpu_plugin_holders_known')} == bool 0)", "holders not known"),
            Query(f"sum({_.most(AT, 'amdgpu_plugin_simulated')})", "simulated"),
            width=8,
        ),
        over_time(
            "GPUs with old readings",
            "Boards whose last reading is over three intervals old: all that is shown of them is as old. "
            "Runbook: AmdGpuTelemetryStale.",
            Query(f"sum({_.age()} > bool 3)", "old"),
            steps=ANY_IS_ODD,
            width=8,
        ),
        over_time(
            "From event to kubelet",
            "How long it took from a kernel event to the list sent to the kubelet, 99 of 100 events. Empty where there "
            "was no event. Over a second: see which node, and whether it is overloaded.",
            Query(
                "histogram_quantile(0.99, sum by (le)"
                f" (rate({_.raw('amdgpu_plugin_health_push_seconds_bucket')}[$__rate_interval])))",
                "all nodes",
            ),
            unit="s",
            empty="no event came",
            width=8,
        ),
        over_time(
            "Trouble of the plugin",
            "In each step of time, over all nodes. Late reads: give it more CPU. Failed reads: which GPU, on the node's "
            "dashboard. Lost events: the node was overloaded. Restarts: its log says which part and why.",
            Query(f"sum({_.rise('amdgpu_plugin_starved_total', AT)})", "late reads"),
            Query(f"sum({_.rise('amdgpu_plugin_failed_reads_total', f'{BOARD}, reason')})", "failed reads"),
            Query(f"sum({_.rise('amdgpu_plugin_uevent_overruns_total', AT)})", "lost events"),
            Query(
                f"sum({_.rise('amdgpu_plugin_pod_resources_failures_total', AT)})", "pod-resources failures"
            ),
            Query(f"sum({_.rise('amdgpu_plugin_edge_restarts_total', f'{AT}, part')})", "restarts of a part"),
            bars=True,
            stacked=True,
            width=8,
        ),
        over_time(
            "Its memory on a node",
            "The most on any node of those chosen. The chart's limit for memory is `resources.limits.memory`.",
            Query(f"max({_.of_plugin('process_resident_memory_bytes')})", "memory"),
            unit="bytes",
            width=8,
        ),
    ),
    folded=True,
)

FLEET_BOARD = Dashboard(
    FLEET,
    TITLES[FLEET],
    "How many AMD GPUs there are, who holds them, what is wrong and where, the worst first. Made of the metrics of "
    "amdgpu-plugin; docs/dashboards.md says what it needs.",
    (CLUSTER, NODES_VARIABLE, namespace_variable(NODES)),
    (NOW, WRONG, USE, LOAD, HEAT, ERRORS, ALL, PLUGIN),
    links=leads_to(NODE),
)

"""What the three dashboards share: selections, joins, links, variables. Queries are made of raw metrics alone.

What is scraped bears `cluster` (where there is one) and `node`; `instance` and the plugin's pod change when it
restarts. So each query first brings its series down to (cluster, node, gpu …), then joins: one board, one series.
"""

from collections.abc import Mapping

from tests.monitoring.dashboards.model import Json, Link, Variable

FLEET, NODE, GPU = "amdgpu-fleet", "amdgpu-node", "amdgpu-gpu"
TITLES: Mapping[str, str] = {
    FLEET: "AMD GPUs / Fleet",
    NODE: "AMD GPUs / Node",
    GPU: "AMD GPUs / GPU",
}

AT = "cluster, node"
BOARD = f"{AT}, gpu"
DEVICE = f"{BOARD}, device"
HOLDER = f"{DEVICE}, namespace, pod, container"

NODES = 'cluster=~"$cluster", node=~"$node"'
ONE_NODE = 'cluster=~"$cluster", node="$node"'
THEIRS = 'namespace=~"$namespace"'
UNCORRECTABLE = 'severity="uncorrectable"'
CORRECTED = 'severity!="uncorrectable"'


class Of:
    """Queries for one selection of series, as it stands between braces: of nodes, and of their boards."""

    def __init__(self, nodes: str, boards: str = "") -> None:
        """Without `boards`, all."""
        self.nodes = nodes
        self.boards = boards

    def most(self, by: str, metric: str, also: str = "") -> str:
        """The metric by these labels; where two pods of the plugin are scraped they tell the same."""
        return f"max by ({by}) ({self.raw(metric, also)})"

    def raw(self, metric: str, also: str = "") -> str:
        """The metric as it is scraped. What the plugin tells of itself has no `gpu` to select by."""
        boards = "" if metric.startswith(("amdgpu_plugin_", "process_")) else self.boards
        return f"{metric}{{{', '.join(part for part in (self.nodes, boards, also) if part)}}}"

    def healthy(self, by: str = DEVICE) -> str:
        """0 for what is not healthy, or has something unhealthy."""
        return f"min by ({by}) ({self.raw('amdgpu_device_healthy')})"

    def unhealthy(self, by: str) -> str:
        """How many devices are not; 0 where all are."""
        return f"sum by ({by}) ({self.healthy()} == bool 0)"

    def held(self, by: str = DEVICE, also: str = THEIRS) -> str:
        """1 for what containers hold."""
        return self.most(by, "amdgpu_device_allocated", also)

    def none_held(self, by: str = "") -> str:
        """0 where it is known who holds what: no count is not zero where nobody can tell."""
        known = f"{self.raw('amdgpu_plugin_holders_known')} == 1"
        return f"0 * max by ({by}) ({known})" if by else f"0 * max({known})"

    def held_unhealthy(self, by: str = DEVICE, also: str = THEIRS) -> str:
        """1 for what containers hold and is unhealthy."""
        return f"{self.held(by, also)} and on ({DEVICE}) ({self.healthy()} == 0)"

    def of_board(self, metric: str, also: str = "") -> str:
        """The metric of each board."""
        return self.most(BOARD, metric, also)

    def missing(self) -> str:
        """GPUs fewer than expected; where nothing is, than the most of a day. 0 where none is."""
        gpus = "amdgpu_plugin_gpus"
        most = f"max by ({AT}) (max_over_time({self.raw(gpus)}[1d]))"
        return f"clamp_min((({self.most(AT, 'amdgpu_plugin_expected_gpus')}) or {most}) - {self.most(AT, gpus)}, 0)"

    def rise(self, metric: str, by: str, also: str = "", over: str = "$__rate_interval") -> str:
        """By how much a counter rose."""
        return f"max by ({by}) (increase({self.raw(metric, also)}[{over}]))"

    def rate(self, metric: str, by: str, also: str = "") -> str:
        """How fast a counter rises in a second."""
        return f"max by ({by}) (rate({self.raw(metric, also)}[$__rate_interval]))"

    def quantile(self, share: float, metric: str, by: str) -> str:
        """Of a histogram, over the rate interval."""
        buckets = f"sum by ({by}, le) (rate({self.raw(f'{metric}_bucket')}[$__rate_interval]))"
        return f"histogram_quantile({share:g}, {buckets})"

    def throttled(self, by: str = f"{BOARD}, cause", also: str = "") -> str:
        """Share of time for which a cause held the clocks down."""
        ticks = f"rate({self.raw('amdgpu_throttle_ticks_total', also)}[$__rate_interval])"
        every = f"rate({self.raw('amdgpu_metrics_ticks_total')}[$__rate_interval]) > 0"
        return f"max by ({by}) ({ticks} / ignoring (cause) group_left () ({every}))"

    def margin(self, by: str = BOARD) -> str:
        """Degrees left below the sensor's own critical limit; what makes no sense is left out."""
        limit = f"({self.raw('amdgpu_temperature_critical_celsius')} >= 60 <= 150)"
        return f"min by ({by}) ({limit} - ({self.raw('amdgpu_temperature_celsius')} <= 150))"

    def age(self, by: str = BOARD) -> str:
        """Of the last reading when it was scraped, in intervals of reading."""
        read = self.raw("amdgpu_last_reading_timestamp_seconds")
        interval = self.raw("amdgpu_plugin_health_interval_seconds")
        return f"max by ({by}) ((timestamp({read}) - {read}) / ignoring (gpu) group_left () {interval})"

    def of_plugin(self, metric: str) -> str:
        """What every process tells of itself, of the plugin's alone."""
        return f"{self.raw(metric)} and on (job, instance) {self.raw('amdgpu_plugin_info')}"

    def product(self) -> str:
        """1 with the product's name; one for each board, also while two pods call it differently."""
        return f"topk by ({BOARD}) (1, {self.most(f'{BOARD}, product', 'amdgpu_gpu_info')})"


_KEPT = "${datasource:queryparam}&${cluster:queryparam}"
_TIME = "${__url_time_range}"


def _to(uid: str, *selected: str) -> str:
    return f"/d/{uid}/{uid}?{'&'.join((_KEPT, *selected, _TIME))}"


NODE_OF_ROW = Link("Node ${__value.text}", _to(NODE, "var-node=${__value.text}"), "node")
GPU_OF_ROW = Link(
    "GPU ${__value.text} on ${__data.fields.node}",
    _to(GPU, "var-node=${__data.fields.node}", "var-gpu=${__value.text}"),
    "gpu",
)
NODE_OF_LINE = Link("Node ${__field.labels.node}", _to(NODE, "var-node=${__field.labels.node}"), "")
GPU_OF_LINE = Link(
    "GPU ${__field.labels.gpu} on ${__field.labels.node}",
    _to(GPU, "var-node=${__field.labels.node}", "var-gpu=${__field.labels.gpu}"),
    "",
)


def leads_to(*uids: str, selected: str = "") -> tuple[Json, ...]:
    """Links in the head of a dashboard; they take the time along, data source, cluster, and what is `selected`."""
    return tuple(
        {
            "asDropdown": False,
            "icon": "dashboard",
            "includeVars": False,
            "keepTime": True,
            "tags": [],
            "targetBlank": False,
            "title": TITLES[uid].partition("/ ")[2],
            "tooltip": TITLES[uid],
            "type": "link",
            "url": f"/d/{uid}/{uid}?{_KEPT}" + (f"&{selected}" if uid != FLEET and selected else ""),
        }
        for uid in uids
    )


THIS_NODE = "${node:queryparam}"

CLUSTER = Variable(
    "cluster",
    "Cluster",
    "amdgpu_plugin_gpus",
    "Only where the series have a label `cluster`; choose one where the same node name is in several",
)
NODES_VARIABLE = Variable("node", "Node", 'amdgpu_plugin_gpus{cluster=~"$cluster"}', "By the label `node`")
NODE_VARIABLE = Variable(
    "node", "Node", 'amdgpu_plugin_gpus{cluster=~"$cluster"}', "By the label `node`", every=False
)
GPUS_VARIABLE = Variable("gpu", "GPU", f"amdgpu_gpu_info{{{ONE_NODE}}}", "PCI address of the board")
GPU_VARIABLE = Variable(
    "gpu", "GPU", f"amdgpu_gpu_info{{{ONE_NODE}}}", "PCI address of the board", every=False
)


def namespace_variable(where: str) -> Variable:
    """Of those that hold something in that selection."""
    return Variable(
        "namespace",
        "Namespace",
        f"amdgpu_device_allocated{{{where}}}",
        "Of the containers that hold GPUs; it selects holders, not boards",
    )

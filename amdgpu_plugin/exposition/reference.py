"""The reference page of the metrics, out of their table."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from amdgpu_plugin.exposition import reading_rows, state_rows
from amdgpu_plugin.instruments import Family, Instruments


@dataclass(frozen=True, slots=True)
class Budget:
    """The most series that one of each brings, with everything known of it."""

    board: int = 160
    device: int = 5
    container: int = 1
    resource: int = 10
    daemon: int = 110

    def of_node(self, *, boards: int, devices: int, containers: int, resources: int) -> int:
        """The most series of a whole node; a container counts once for each device it holds."""
        return (
            self.daemon
            + self.board * boards
            + self.device * devices
            + self.container * containers
            + self.resource * resources
        )


BUDGET = Budget()
_CPX_NODE = BUDGET.of_node(boards=8, devices=64, containers=64, resources=1)

_INTRODUCTION = f"""\
# Metrics

<!-- Made by `python -m amdgpu_plugin.exposition > docs/metrics.md`: change the table, not this page. -->

`/metrics` on `--http-address` (`:9400`), in Prometheus' text format, or in OpenMetrics where the `Accept`
header prefers it. A scrape reads what the daemon last read; it never waits for a GPU.

- Base units; ratios are 0 to 1. Counters end in `_total`. What is not known (absent, denied, busy, garbled)
  has **no sample**: it is never 0. Counters of what exists are there from the start, at zero.
- `gpu` is the board's PCI address; `device` the ID of what containers are given: the board, or one partition
  of it (`0000:05:00.0-cpx3`). A shared device is one device; its replicas (`…::2`) have no series.
- What a board measures is told **once for the board**, not for each partition: sums and averages stay right.
- Descriptions (product, NUMA node, …) are on the `_info` series alone; join by `(instance, gpu)`.
- No telemetry carries a pod's name: series would change identity with every pod. Join instead, see below.
- A board that is lost or has no driver keeps its health (0), its conditions and its info; its readings are
  gone. IDs of an earlier partition mode (`Retired`) are in none but `amdgpu_device_allocated`.

## Series of a node

At most {BUDGET.board} for each board, {BUDGET.device} for each device, {BUDGET.container} for each
container and device it holds, {BUDGET.resource} for each resource, and {BUDGET.daemon} for the daemon.
Eight boards in CPX mode (64 partitions, all held): at most {_CPX_NODE}.

## Who uses what

The allocation goes on the many side, since containers may share a board. The value is the **board's**:

```promql
# power of the boards that a namespace's containers hold a part of
amdgpu_device_allocated{{namespace="team"}} * on (instance, gpu) group_left () amdgpu_power_watts

# boards' power by namespace, each board shared equally among those who hold it
sum by (namespace) (
  amdgpu_device_allocated
  / on (instance, gpu) group_left () count by (instance, gpu) (amdgpu_device_allocated)
  * on (instance, gpu) group_left () amdgpu_power_watts
)

# unhealthy devices that somebody uses, and who
amdgpu_device_allocated and on (instance, device) (amdgpu_device_healthy == 0)

# with the product's name
amdgpu_temperature_celsius * on (instance, gpu) group_left (product) amdgpu_gpu_info

# share of time that heat held the clocks down
rate(amdgpu_throttle_ticks_total{{cause=~".*thermal"}}[15m])
  / on (instance, gpu) group_left () rate(amdgpu_metrics_ticks_total[15m])
```

`namespace`, `pod` and `container` are also labels that Prometheus gives to what it scrapes: set
`honorLabels: true` in the PodMonitor (`honor_labels` in a scrape configuration), else ours are called
`exported_namespace` and so on. Without the kubelet's pod-resources socket `amdgpu_plugin_holders_known` is 0
and nothing is allocated; all else goes on.
"""


def metrics_page() -> str:
    """The whole page, as Markdown."""
    parts = (
        ("Health, devices and the daemon", (row.family for row in state_rows.ROWS)),
        ("Readings of a board", (row.family for row in reading_rows.ROWS)),
        ("The daemon's own counters", Instruments().families),
    )
    tables = (f"## {title}\n\n{''.join(_table(families))}" for title, families in parts)
    process = (
        "Of the daemon's process: `process_resident_memory_bytes`, `process_virtual_memory_bytes`, "
        "`process_cpu_seconds_total`,\n`process_open_fds`, `process_max_fds`, `process_start_time_seconds`.\n"
    )
    return "\n".join((_INTRODUCTION, *tables, process))


def _table(families: Iterable[Family]) -> Iterator[str]:
    yield "| metric | type | labels | meaning | source |\n|---|---|---|---|---|\n"
    for family in families:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        cells = (f"`{family.name}`", family.type, labels, family.help, family.source)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"

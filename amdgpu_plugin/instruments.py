"""The daemon's own counters and histograms, one object that is passed to where things are counted.

Nothing is registered globally: each `Instruments` has a registry of its own, so that tests and several
daemons in one process do not share counts. What can be told from NodeState is no instrument: it is read off
the state when it is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, ProcessCollector

MetricType = Literal["counter", "gauge", "histogram", "info"]

ACTIONS = frozenset({"add", "remove", "change", "bind", "unbind", "move", "online", "offline"})
"""What the kernel says of a device in a uevent (`kobject_actions` in lib/kobject_uevent.c)."""
SUBSYSTEMS = frozenset({"pci", "drm", "platform", "kfd", "module", "drivers", "devcoredump"})
"""Those that may concern a GPU; of any other it is only counted that something came."""
OTHER = "other"
EVENT_RESULTS = ("sent", "failed", "held_back", "dropped")
API_PROBLEMS = (
    *("not_in_cluster", "unreachable", "untrusted", "garbled", "unauthorized", "forbidden"),
    *("not_found", "conflict", "throttled", "refused", "server"),
)
"""What may be the matter with a request to the Kubernetes API, as exposition.kubernetes.problems has it."""

_RPC_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)
_PUSH_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 5.0)
_PROBE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 20.0)


@dataclass(frozen=True, slots=True)
class Family:
    """A metric as it is documented: `name` as it is exposed, without a histogram's suffixes."""

    name: str
    type: MetricType
    labels: tuple[str, ...]
    help: str
    source: str


class Instruments:
    """Counters and histograms by attribute; `families` tells of each, in the order of the page."""

    def __init__(self) -> None:
        """All that has no label, or labels known beforehand, starts at zero and not as missing."""
        self._registry = CollectorRegistry()
        self._families: list[Family] = []
        ProcessCollector(registry=self._registry)
        self.registrations = self._counter(
            "registrations",
            "Tries to register with the kubelet, by result: accepted, refused.",
            "kubelet registration",
            "resource",
            "result",
        )
        self.streams_opened = self._counter(
            "streams_opened", "ListAndWatch streams the kubelet opened.", "ListAndWatch", "resource"
        )
        self.streams_lost = self._counter(
            "streams_lost", "ListAndWatch streams that ended.", "ListAndWatch", "resource"
        )
        self.allocations = self._counter(
            "allocations", "Allocate calls, by result: granted, refused.", "Allocate", "resource", "result"
        )
        self.rpc_seconds = self._histogram(
            "rpc_seconds", "How long the kubelet's calls took.", "kubelet's calls", _RPC_BUCKETS, "method"
        )
        self.health_push_seconds = self._histogram(
            "health_push_seconds",
            "From a kernel event received to the device list sent to the kubelet.",
            "uevent to ListAndWatch",
            _PUSH_BUCKETS,
        )
        self.probe_seconds = self._histogram(
            "probe_seconds", "How long a full round of readings of one GPU took.", "sampler", _PROBE_BUCKETS
        )
        self.failed_reads = self._counter(
            "failed_reads",
            "Reads of the driver's files that gave nothing, by reason: busy, failing, hung.",
            "sampler",
            "gpu",
            "reason",
        )
        self.starved = self._counter("starved", "Times that our own reads were late.", "sampler")
        self.uevents = self._counter(
            "uevents",
            "Kernel events heard. Actions and subsystems that do not concern GPUs count as other.",
            "netlink",
            "action",
            "subsystem",
        )
        self.uevent_overruns = self._counter(
            "uevent_overruns", "Times that kernel events were lost, for our buffer was full.", "netlink"
        )
        self.uevents_dropped = self._counter(
            "uevents_dropped", "Kernel events that made no sense and were left out.", "netlink"
        )
        self.pod_resources_failures = self._counter(
            "pod_resources_failures",
            "Questions to the kubelet's pod-resources API that got no answer of use.",
            "pod-resources",
        )
        self.edge_restarts = self._counter(
            "edge_restarts", "Times that a part of the edge failed and was started again.", "daemon", "part"
        )
        self.kubernetes_events = self._counter(
            "kubernetes_events",
            "Kubernetes Events, by result: sent; failed: refused for good, or the pod is gone; held_back: "
            "changes that the rate limit kept from being told at once; dropped: too many waited to be sent.",
            "Kubernetes Events",
            "result",
        )
        self.kubernetes_errors = self._counter(
            "kubernetes_errors",
            "Requests to the Kubernetes API that failed, by reason, as in forbidden, unreachable.",
            "Kubernetes API",
            "reason",
        )
        self._start_at_zero()

    @property
    def families(self) -> tuple[Family, ...]:
        """What is counted here, without what the process tells of itself."""
        return tuple(self._families)

    def collect(self) -> Iterator[Metric]:
        """What prometheus-client renders. Without `_created`, which would double the counters."""
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric

    def serve(self, resource: str) -> None:
        """A resource is served from now on: what is counted of it starts at zero."""
        for result in ("accepted", "refused"):
            self.registrations.labels(resource, result)
        for result in ("granted", "refused"):
            self.allocations.labels(resource, result)
        self.streams_opened.labels(resource)
        self.streams_lost.labels(resource)

    def tell_kubernetes(self) -> None:
        """Kubernetes is told of health from now on: what is counted of it starts at zero."""
        for result in EVENT_RESULTS:
            self.kubernetes_events.labels(result)
        for reason in API_PROBLEMS:
            self.kubernetes_errors.labels(reason)

    def heard(self, action: str, subsystem: str, count: int = 1) -> None:
        """Kernel events came. What they are called is the kernel's; how many names are kept is ours."""
        self.uevents.labels(
            action if action in ACTIONS else OTHER, subsystem if subsystem in SUBSYSTEMS else OTHER
        ).inc(count)

    def _start_at_zero(self) -> None:
        for action in ("add", "remove", "change", "bind", "unbind"):
            self.uevents.labels(action, "pci")
        self.uevents.labels("change", "drm")
        for method in ("Allocate", "GetPreferredAllocation"):
            self.rpc_seconds.labels(method)

    def _counter(self, name: str, told: str, source: str, *labels: str) -> Counter:
        full = f"amdgpu_plugin_{name}_total"
        self._families.append(Family(full, "counter", labels, told, source))
        return Counter(full, told, labels, registry=self._registry)

    def _histogram(
        self, name: str, told: str, source: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        full = f"amdgpu_plugin_{name}"
        self._families.append(Family(full, "histogram", labels, told, source))
        return Histogram(full, told, labels, registry=self._registry, buckets=buckets)

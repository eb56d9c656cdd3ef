"""A change as a core/v1 Event, for the Node or a pod. Pure.

What the API server demands of an Event with `eventTime` is in ValidateEventCreate of Kubernetes'
pkg/apis/core/validation/events.go: an action, a reporting instance of at most 128 bytes, a message of at most
1024.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from amdgpu_plugin.discovery.inventory import Gpu
from amdgpu_plugin.exposition.kubernetes.story import Change
from amdgpu_plugin.health.conditions import CONDITIONS

COMPONENT = "amdgpu-plugin"
NODE_NAMESPACE = "default"
MESSAGE_BYTES, DETAIL_BYTES, INSTANCE_BYTES, NAME_BYTES = 1024, 300, 128, 253
SHOWN_DEVICES = 8
CUT = "…"
SIMULATED = "Simulated: "
"""Before messages about GPUs that are not real."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """`body` is complete but for the uid of the pod that it is about. `at` is a UNIX time in seconds."""

    change: Change
    body: Json
    at: float

    @property
    def namespace(self) -> str:
        """Where it is to be created."""
        return self.change.subject.namespace or NODE_NAMESPACE

    @property
    def pod(self) -> str:
        """The pod that it is about; empty for the Node."""
        return self.change.subject.pod

    def about(self, uid: str) -> Json:
        """The body with the pod's uid in it."""
        return self.body | {"involvedObject": self.body["involvedObject"] | {"uid": uid}}


def event(change: Change, gpu: Gpu | None, *, node: str, number: int, simulated: bool = False) -> Event:
    """`number` makes the name: another for each Event of a node. `gpu` is None where it is known no more."""
    body: Json = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": _name(node, number), "namespace": change.subject.namespace or NODE_NAMESPACE},
        "involvedObject": _object(change, node),
        "reason": _reason(change),
        "message": shortened(SIMULATED * simulated + _message(change, gpu), MESSAGE_BYTES),
        "type": "Warning" if change.kind == "raised" and not change.subject.is_fact else "Normal",
        "action": change.kind.capitalize(),
        "count": 1,
        "firstTimestamp": _time(change.at, "seconds"),
        "lastTimestamp": _time(change.at, "seconds"),
        "eventTime": _time(change.at, "microseconds"),
        "source": {"component": COMPONENT, "host": node},
        "reportingComponent": COMPONENT,
        "reportingInstance": node[:INSTANCE_BYTES],
    }
    return Event(change, body, change.at)


def _name(node: str, number: int) -> str:
    """As client-go's recorder makes it, `<node>.<hex>`; still a DNS name where the node's own is long."""
    tail = f".{number:016x}"
    return node[: NAME_BYTES - len(tail)].rstrip(".-") + tail


def _object(change: Change, node: str) -> Json:
    subject = change.subject
    if subject.pod:
        return {"apiVersion": "v1", "kind": "Pod", "name": subject.pod, "namespace": subject.namespace}
    # As the kubelet does: `kubectl describe node` looks for the node's name in the place of its uid.
    return {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node}


def _reason(change: Change) -> str:
    return f"{change.subject.condition}Cleared" if change.kind == "cleared" else change.subject.condition


def _message(change: Change, gpu: Gpu | None) -> str:
    subject = change.subject
    product = "" if gpu is None or gpu.product is None else f" ({gpu.product})"
    parts = [f"GPU {subject.gpu}{product}: {subject.condition}{_what(change)}.", *_consequence(change)]
    if change.missed:
        parts.append(f"{change.missed} changes of it before this one were not told.")
    if change.kind == "raised":
        parts.append(CONDITIONS[subject.condition].advice.replace("`", ""))
    return " ".join(parts)


def _what(change: Change) -> str:
    if change.trouble is None:
        return f" is over after {_span(change.at - change.since)}"
    detail = shortened(change.trouble.detail, DETAIL_BYTES).rstrip(". ")
    return f": {detail}" if detail else ""


def _consequence(change: Change) -> list[str]:
    others = ", ".join(change.others)
    if change.kind != "raised":
        makes = "It no longer makes devices unhealthy." if change.kind == "eased" else ""
        still = f"Devices are still unhealthy: {others}." if others else ""
        return [each for each in (makes, still) if each]
    trouble = change.trouble
    if trouble is None or trouble.weight == "inform":
        return ["Devices stay as they are."]
    if change.subject.pod:
        return [f"This pod holds {_listed(trouble.devices)} and is left alone."]
    return [f"Unhealthy, given to no new pod: {_listed(trouble.devices)}."] if trouble.devices else []


def _listed(devices: tuple[str, ...]) -> str:
    more = len(devices) - SHOWN_DEVICES
    return ", ".join(devices[:SHOWN_DEVICES]) + (f" and {more} more" if more > 0 else "")


def _span(seconds: float) -> str:
    """`43 s`, `5 min`, `7 h`, `3 d`: as exact as people need it."""
    for unit, length, least in (("d", 86400, 172800), ("h", 3600, 7200), ("min", 60, 120)):
        if seconds >= least:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def shortened(text: str, limit_bytes: int) -> str:
    """One line of valid UTF-8 in so many bytes, whatever it was made of."""
    clean = "".join(char if char.isprintable() else " " for char in text.encode(errors="replace").decode())
    data = clean.encode()
    if len(data) <= limit_bytes:
        return clean
    return data[: limit_bytes - len(CUT.encode())].decode(errors="ignore") + CUT


def _time(unix: float, precision: str) -> str:
    """RFC 3339 in UTC; microseconds are what a MicroTime has."""
    moment = datetime.fromtimestamp(unix, UTC).replace(tzinfo=None)
    return moment.isoformat(timespec=precision) + "Z"

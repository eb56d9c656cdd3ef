"""When the node condition AMDGPUUnhealthy is True, and what it says. Pure, the clock passed in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from amdgpu_plugin.exposition.kubernetes.event import SIMULATED, shortened
from amdgpu_plugin.exposition.kubernetes.standing import gpus
from amdgpu_plugin.health.conditions import FACTS
from amdgpu_plugin.health.evidence import Moment
from amdgpu_plugin.node import NodeState

TYPE = "AMDGPUUnhealthy"
HEALTHY, SEVERAL = "GPUsHealthy", "SeveralConditions"
MESSAGE_BYTES = 1024

Status = Literal["True", "False"]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ill:
    """Why a GPU's devices are unhealthy, and since when without a break: monotonic, no clock moves it."""

    condition: str
    since: float


@dataclass(frozen=True, slots=True)
class Wording:
    """A condition but for its times."""

    status: Status
    reason: str
    message: str


def ill(before: Mapping[str, Ill], state: NodeState, now: Moment) -> dict[str, Ill]:
    """GPUs of which a device is unhealthy by an enforced condition, by address; `before` are those last time.

    Facts about IDs are no illness. One condition that follows another goes on with its time.
    """
    found: dict[str, Ill] = {}
    for listed in state.devices:
        verdict, address = listed.verdict, listed.gpu.pci_address
        if verdict is not None and verdict.condition not in FACTS:
            known = before.get(address) or found.get(address)
            since = now.monotonic - max(0.0, now.unix - verdict.since) if known is None else known.since
            found[address] = Ill(verdict.condition, since)
    return found


def wording(
    ills: Mapping[str, Ill],
    state: NodeState,
    *,
    now: float,
    delay_seconds: float,
    settled: bool,
    simulated: bool = False,
) -> Wording | None:
    """What it should say; None while it should stay as it is.

    `now` is monotonic. `settled`: everything was looked at long enough for silence to mean health.
    """
    lasting = {address: each for address, each in ills.items() if now - each.since >= delay_seconds}
    if lasting:
        return _unhealthy(lasting, state, SIMULATED * simulated)
    if ills or not settled:
        return None
    return Wording("False", HEALTHY, f"{SIMULATED * simulated}no GPU is unhealthy")


def _unhealthy(lasting: Mapping[str, Ill], state: NodeState, before: str) -> Wording:
    known = gpus(state)
    products = {address: known[address].product for address in lasting if address in known}
    parts = (
        f"{address}{f' ({products[address]})' if products.get(address) else ''}: {each.condition}"
        for address, each in sorted(lasting.items())
    )
    reasons = {each.condition for each in lasting.values()}
    reason = reasons.pop() if len(reasons) == 1 else SEVERAL
    return Wording("True", reason, shortened(before + "; ".join(parts), MESSAGE_BYTES))


def patch(wording: Wording, *, heartbeat: float, transition: float | None) -> Json:
    """A strategic merge patch of the Node's status, which merges conditions by type.

    `transition` is None where the status stays what it is: the field is kept then.
    """
    condition: Json = {
        "type": TYPE,
        "status": wording.status,
        "reason": wording.reason,
        "message": wording.message,
        "lastHeartbeatTime": _time(heartbeat),
    }
    if transition is not None:
        condition["lastTransitionTime"] = _time(transition)
    return {"status": {"conditions": [condition]}}


def status_in(node: Any) -> str | None:
    """The status that a Node as the API server gives it has for our condition; None where it has none."""
    try:
        conditions = node["status"].get("conditions") or ()
        return next((str(each["status"]) for each in conditions if each["type"] == TYPE), None)
    except (KeyError, TypeError, AttributeError):
        return None


def _time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

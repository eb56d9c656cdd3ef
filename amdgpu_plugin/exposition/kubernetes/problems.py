"""What the Kubernetes API does to us, as values with clear words."""

import json
from dataclasses import dataclass
from typing import Literal

ProblemKind = Literal[
    "not_in_cluster",
    "unreachable",
    "untrusted",
    "garbled",
    "unauthorized",
    "forbidden",
    "not_found",
    "conflict",
    "throttled",
    "refused",
    "server",
]
_PASSING = frozenset(
    {"not_in_cluster", "unreachable", "untrusted", "garbled", "unauthorized", "throttled", "server"}
)
_BY_STATUS: dict[int, ProblemKind] = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    429: "throttled",
}
_SAID_BYTES = 300
_LONGEST_RETRY_SECONDS = 600.0
_SERVER = 500


@dataclass(frozen=True, slots=True)
class Problem:
    """`told` says what, `remedy` what to do, if anything. `retry_after_seconds` is the server's word.

    `namespace_ends`: the namespace is being deleted, and takes nothing new. `faulty`: the server failed at
    just this request, as where a webhook of one namespace is broken.
    """

    kind: ProblemKind
    told: str
    remedy: str = ""
    retry_after_seconds: float | None = None
    namespace_ends: bool = False
    faulty: bool = False

    @property
    def passes(self) -> bool:
        """Whether the same request may well be taken later."""
        return self.kind in _PASSING


def refused(doing: str, status: int, headers: dict[bytes, bytes], body: bytes) -> Problem:
    """An answer other than 2xx to `doing`, as in `create events in namespace default`."""
    kind = _BY_STATUS.get(status) or ("server" if status >= _SERVER else "refused")
    said, causes = _status_object(body)
    detail = f"HTTP {status}" + (f": {said}" if said else "")
    told, remedy = {
        "unauthorized": (
            f"the API server does not know our token ({detail})",
            "is the ServiceAccount still there?",
        ),
        "forbidden": (
            f"not allowed to {doing} ({detail})",
            "RBAC: the chart grants it with kubernetesEvents.enabled and nodeCondition.enabled",
        ),
    }.get(kind, (f"the API server did not {doing} ({detail})", ""))
    return Problem(
        kind,
        told,
        remedy,
        retry_after_seconds=_retry_after(headers.get(b"retry-after", b"")),
        namespace_ends=kind == "forbidden" and "NamespaceTerminating" in causes,
        faulty=status == _SERVER,
    )


def _retry_after(value: bytes) -> float | None:
    text = value.decode("latin-1").strip()
    if not text.isascii() or not text.isdigit():
        return None
    return min(float(text[:9]), _LONGEST_RETRY_SECONDS)


def _status_object(body: bytes) -> tuple[str, set[str]]:
    """The message of a metav1.Status, cut short, and the reasons of its causes."""
    try:
        said = json.loads(body)
        causes = (said.get("details") or {}).get("causes") or ()
        reasons = {str(cause.get("reason")) for cause in causes}
        return " ".join(str(said.get("message") or "").split())[:_SAID_BYTES], reasons
    except (ValueError, AttributeError, TypeError, RecursionError):
        return "", set()

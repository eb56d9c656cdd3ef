"""Kinds that no Kubernetes knows by itself, as far as the chart uses them: no field but these, each of its type.

Written from the API reference of the Prometheus Operator (monitoring.coreos.com/v1) and of OpenShift
(security.openshift.io/v1).
"""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "array", "items": TEXT}
LABELS: Schema = {"type": "object", "additionalProperties": TEXT}


def exactly(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    properties = {**required, **(optional or {})}
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _kind(api: str, body: Mapping[str, Schema], *, namespaced: bool = True) -> Schema:
    names = {"name": TEXT, "labels": LABELS} | ({"namespace": TEXT} if namespaced else {})
    metadata = exactly(names, {"annotations": LABELS})
    return exactly({"apiVersion": {"const": api}, "kind": TEXT, "metadata": metadata} | dict(body))


_RELABEL = exactly(
    {},
    {
        "sourceLabels": TEXTS,
        "separator": TEXT,
        "targetLabel": TEXT,
        "regex": TEXT,
        "modulus": {"type": "integer"},
        "replacement": TEXT,
        "action": TEXT,
    },
)
_RELABELS: Schema = {"type": "array", "items": _RELABEL}
_ENDPOINTS: Schema = {
    "type": "array",
    "minItems": 1,
    "items": exactly(
        {"port": TEXT},
        {
            "path": TEXT,
            "interval": TEXT,
            "scrapeTimeout": TEXT,
            "honorLabels": FLAG,
            "relabelings": _RELABELS,
            "metricRelabelings": _RELABELS,
        },
    ),
}
_SELECTOR = exactly({"matchLabels": LABELS})
_RULE = exactly(
    {"expr": TEXT},
    {
        "alert": TEXT,
        "record": TEXT,
        "for": TEXT,
        "keep_firing_for": TEXT,
        "labels": LABELS,
        "annotations": LABELS,
    },
)
_GROUP = exactly({"name": TEXT, "rules": {"type": "array", "items": _RULE}}, {"interval": TEXT})
_STRATEGY = exactly({"type": {"enum": ["RunAsAny", "MustRunAs", "MustRunAsNonRoot", "MustRunAsRange"]}})
_MONITORING = "monitoring.coreos.com/v1"

KINDS: Mapping[str, Schema] = {
    "PodMonitor": _kind(
        _MONITORING, {"spec": exactly({"selector": _SELECTOR, "podMetricsEndpoints": _ENDPOINTS})}
    ),
    "ServiceMonitor": _kind(_MONITORING, {"spec": exactly({"selector": _SELECTOR, "endpoints": _ENDPOINTS})}),
    "PrometheusRule": _kind(_MONITORING, {"spec": exactly({"groups": {"type": "array", "items": _GROUP}})}),
    "SecurityContextConstraints": _kind(
        "security.openshift.io/v1",
        dict.fromkeys(
            (
                "allowHostDirVolumePlugin",
                "allowHostIPC",
                "allowHostNetwork",
                "allowHostPID",
                "allowHostPorts",
                "allowPrivilegedContainer",
                "allowPrivilegeEscalation",
                "readOnlyRootFilesystem",
            ),
            FLAG,
        )
        | dict.fromkeys(
            (
                "allowedCapabilities",
                "defaultAddCapabilities",
                "requiredDropCapabilities",
                "seccompProfiles",
                "volumes",
                "users",
                "groups",
            ),
            TEXTS,
        )
        | dict.fromkeys(("fsGroup", "runAsUser", "seLinuxContext", "supplementalGroups"), _STRATEGY),
        namespaced=False,
    ),
}

"""The chart with all that a cluster without other people's kinds can take, and its account at the API server."""

import json
import ssl
import urllib.error
import urllib.request
from base64 import b64decode
from dataclasses import dataclass

from e2e.kubernetes import Json, Kubernetes
from e2e.tests.installation import NAMESPACE, RELEASE, WHOLE, Installation, Values, api_address

# PodMonitor, ServiceMonitor, PrometheusRule and SecurityContextConstraints are kinds of others.
EVERYTHING: Values = WHOLE | {
    "commonLabels": {"team": "e2e"},
    "kubernetesEvents": {"enabled": True},
    "nodeCondition": {"enabled": True, "delay": 0},
    "admissionPolicy": {"enabled": True},
    "networkPolicy": {"enabled": True},
    "dashboards": {"enabled": True},
    "securityContext": {"seLinuxOptions": {"type": "container_device_plugin_t"}},
    "podSecurityContext": {"supplementalGroups": [44]},
    "extraArgs": ["--log-level=debug"],
    "extraVolumes": [{"name": "more", "emptyDir": {"sizeLimit": "1Mi"}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "podLabels": {"colour": "blue"},
    "minReadySeconds": 1,
}
# All that the chart can make in such a cluster.
NAMESPACED = (
    "daemonsets,pods,configmaps,secrets,serviceaccounts,services,networkpolicies,roles,rolebindings,"
    "controllerrevisions"
)
CLUSTER_WIDE = (
    "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
)


def everything(cluster: Kubernetes) -> Values:
    """And what its pods need to reach the API server."""
    return EVERYTHING | {"extraEnv": api_address(cluster)}


def left_over(plugin: Installation) -> list[str]:
    """`Kind/name` of all that bears the release's name."""
    found = [
        item
        for kinds in (NAMESPACED, CLUSTER_WIDE)
        for item in plugin.cluster.get(kinds, namespace=NAMESPACE)["items"]
    ]
    return sorted(
        f"{item['kind']}/{item['metadata']['name']}" for item in found if RELEASE in item["metadata"]["name"]
    )


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a token."""

    server: str
    context: ssl.SSLContext
    token: str

    def call(self, method: str, path: str, body: Json, kind: str = "application/json") -> tuple[int, Json]:
        """Status and answer, whatever it is."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.server + path, data, headers, method=method)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.context)
        )
        try:
            with opener.open(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.load(refusal)


def caller(plugin: Installation, *, bound: bool = True) -> Caller:
    """The plugin's account, by a token as its pod has it, or by one that is of no pod."""
    words = ["create", "token", RELEASE, "--namespace", NAMESPACE]
    if bound:
        pod = plugin.cluster.get("pod", plugin.pod(), namespace=NAMESPACE)["metadata"]
        words += ["--bound-object-kind", "Pod", "--bound-object-name", pod["name"]]
        words += ["--bound-object-uid", pod["uid"]]
    seen = plugin.cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "--output", "json")
    known = json.loads(seen)["clusters"][0]["cluster"]
    authority = ssl.create_default_context()
    authority.load_verify_locations(cadata=_pem(known["certificate-authority-data"]))
    return Caller(known["server"], authority, plugin.cluster.kubectl(*words).strip())


def _pem(encoded: str) -> str:
    return b64decode(encoded).decode()

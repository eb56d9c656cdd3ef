"""What the plugin's pod answers over the pods' network."""

import http.client
import json
import re

from e2e.kubernetes import wait_until
from e2e.local import LocalCluster
from e2e.tests.installation import GPU, NAMESPACE, Installation
from e2e.tests.workload import Workload

PORT = 9400
PATHS = ("/", "/metrics", "/healthz", "/readyz", "/api/v1/node")
ASK = """
import json, sys, urllib.request
answers = {path: urllib.request.urlopen(f"http://{sys.argv[1]}{path}", timeout=5) for path in sys.argv[2:]}
print(json.dumps({path: [answer.status, answer.read().decode()] for path, answer in answers.items()}))
"""


def address(plugin: Installation) -> str:
    (pod,) = plugin.pods()
    return f"{pod['status']['podIP']}:{PORT}"


def test_every_page_answers_another_pod(whole_gpus: Installation, pods: Workload) -> None:
    pods.start("asks", 0)
    ask = ("python3", "-c", ASK, address(whole_gpus), *PATHS)
    answers = json.loads(whole_gpus.cluster.kubectl("exec", "asks", "--namespace", NAMESPACE, "--", *ask))
    assert {path: status for path, (status, _) in answers.items()} == dict.fromkeys(PATHS, 200)
    bodies = {path: body for path, (_, body) in answers.items()}
    assert bodies["/healthz"].split() == ["ok"]
    assert bodies["/readyz"].splitlines() == ["ready", f"{GPU}: registered"]
    assert len(re.findall(r"^amdgpu_device_healthy\{.*\} 1\.0$", bodies["/metrics"], re.MULTILINE)) == 8
    assert f'amdgpu_plugin_registered{{resource="{GPU}"}} 1.0' in bodies["/metrics"]
    assert len(json.loads(bodies["/api/v1/node"])["devices"]) == 8
    assert "/metrics" in bodies["/"]


def test_pod_is_ready_while_the_kubelet_hears_of_its_gpus(
    whole_gpus: Installation, local: LocalCluster
) -> None:
    (pod,) = whole_gpus.pods()
    assert {"livenessProbe", "readinessProbe"} <= pod["spec"]["containers"][0].keys()
    wait_until("a pod that is ready", whole_gpus.is_ready, within_s=30)
    at = address(whole_gpus)
    assert asked(at, "/readyz")[0] == http.HTTPStatus.OK

    local.kill_kubelet()
    try:
        status, body = wait_until(
            "not ready", lambda: (said := asked(at, "/readyz"))[0] != http.HTTPStatus.OK and said, within_s=5
        ) or (0, "")
        assert (status, body.splitlines()[0]) == (http.HTTPStatus.SERVICE_UNAVAILABLE, "not ready")
        assert asked(at, "/healthz")[0] == http.HTTPStatus.OK
    finally:
        local.start_kubelet()
    wait_until("ready again", lambda: asked(at, "/readyz")[0] == http.HTTPStatus.OK, within_s=30)
    # before that the kubelet takes what ended pods held to be held still, and refuses the next test's
    name = pod["metadata"]["name"]
    wait_until("its pods again", lambda: name in local.kubelet_pods(local.node), within_s=30)


def asked(at: str, path: str) -> tuple[int, str]:
    """Status and body of a GET."""
    connection = http.client.HTTPConnection(at, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()

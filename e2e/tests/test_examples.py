"""Each file of examples/ keeps what it promises, applied as it is."""

import re

import yaml

from e2e.kubernetes import Kubernetes, wait_until
from e2e.tests.examples import applied, example, values
from e2e.tests.installation import CHART, NAMESPACE, QUICK, RELEASE, WHOLE, Installation
from e2e.tests.test_sharing import holders

WITHIN_S = 60


def ended_log(cluster: Kubernetes, what: str, condition: str) -> list[str]:
    """Lines of a pod's or job's log, once it has ended well."""
    cluster.kubectl(
        "wait", what, f"--for={condition}", "--namespace", NAMESPACE, f"--timeout={WITHIN_S}s", timeout_s=90
    )
    return cluster.pod_log(what, namespace=NAMESPACE).splitlines()


def listed(line: str) -> list[str]:
    """Of `NAME=a,b` or `words a,b, more`: the PCI addresses."""
    return re.findall(r"[0-9a-f]{4}:[0-9a-f]{2}:00\.0", line)


def test_pod_sees_one_gpu(whole_gpus: Installation) -> None:
    with applied(whole_gpus, "pod.yaml"):
        log = ended_log(whole_gpus.cluster, "pod/gpu-pod", "jsonpath={.status.phase}=Succeeded")
    variables = dict(line.split("=", 1) for line in log if line.startswith("AMDGPU_"))
    nodes = [line.split()[-1] for line in log if line.startswith("c")]
    assert len(listed(variables["AMDGPU_DEVICES"])) == 1
    assert nodes == [f"/dev/dri/{variables['AMDGPU_RENDER_NODES']}", "/dev/kfd"]


def test_job_works_on_four_gpus_and_completes(whole_gpus: Installation) -> None:
    with applied(whole_gpus, "multi-gpu-job.yaml"):
        (line,) = ended_log(whole_gpus.cluster, "job/gpu-job", "condition=Complete")
    assert line.startswith("working on ")
    assert len(set(listed(line))) == 4
    assert line.endswith(("NUMA nodes 0,0,0,0", "NUMA nodes 1,1,1,1"))


def test_pod_that_is_not_root_is_in_the_group_and_opens_its_nodes(whole_gpus: Installation) -> None:
    with applied(whole_gpus, "non-root-pod.yaml"):
        who, *nodes = ended_log(whole_gpus.cluster, "pod/gpu-non-root", "jsonpath={.status.phase}=Succeeded")
    assert re.sub(r"\([^)]*\)", "", who) == "uid=1000 gid=1000 groups=1000,992"
    assert [re.sub("[0-9]+", "N", line) for line in nodes] == [
        "/dev/kfd: opened",
        "/dev/dri/renderDN: opened",
    ]


def test_values_for_prometheus_give_objects_that_others_select(plugin: Installation) -> None:
    text = plugin.helm("template", RELEASE, str(CHART), "--values", str(example("prometheus-values.yaml")))
    found = list(yaml.safe_load_all(text))
    released = [each["kind"] for each in found if each["metadata"]["labels"].get("release") == "monitoring"]
    assert sorted(released) == ["PodMonitor", "PrometheusRule"]
    dashboards = [each for each in found if each["metadata"]["labels"].get("grafana_dashboard") == "1"]
    shown = {name for each in dashboards for name in each["data"]}
    assert shown == {f"amdgpu-plugin-{path.name}" for path in (CHART / "files" / "dashboards").glob("*.json")}


def test_pods_of_the_deployment_share_one_gpu(plugin: Installation) -> None:
    shared = values("sharing-values.yaml")
    plugin.ensure(WHOLE | {"config": QUICK | shared["config"]})
    plugin.wait_allocatable(8 * shared["config"]["sharing"]["replicas"])
    with applied(plugin, "sharing-deployment.yaml"):
        plugin.cluster.kubectl(
            "rollout",
            "status",
            "deployment/gpu-sharing",
            "--namespace",
            NAMESPACE,
            "--timeout=60s",
            timeout_s=70,
        )
        said = wait_until("a word of each", lambda: sharers(plugin.cluster), within_s=WITHIN_S)
        assert len(said) == 4
        (device,) = {listed(line)[0] for line in said}
        wait_until("the holders", lambda: len(holders(plugin)[device]) == 4, within_s=30)


def sharers(cluster: Kubernetes) -> list[str]:
    """A line of each pod; none until all have said one."""
    pods = cluster.get("pods", namespace=NAMESPACE, selector="app=gpu-sharing")["items"]
    lines = [cluster.pod_log(pod["metadata"]["name"], namespace=NAMESPACE).strip() for pod in pods]
    return lines if all(lines) else []

"""examples/remediation.yaml on a real node: what it would do, its cap, that it acts, and that it takes it back."""

import json
from collections.abc import Iterator

import pytest

from e2e.kubernetes import Json, wait_until
from e2e.tests.examples import objects
from e2e.tests.installation import WHOLE, Installation, api_address

NAMESPACE = "gpu-remediation"
MARK = "gpu-remediation.example.com/cordoned"
CONDITION = "AMDGPUUnhealthy"
GPU = "0000:05:00.0"


class Remediation:
    """The example's CronJob, run by hand and with other settings."""

    def __init__(self, plugin: Installation) -> None:
        self._cluster, self._node = plugin.cluster, plugin.node
        self._objects = objects("remediation.yaml", image=str(plugin.image))
        self._runs = 0
        # its own schedule must not come in between
        self._cron["spec"]["suspend"] = True
        self._container["env"] += api_address(plugin.cluster)

    @property
    def _cron(self) -> Json:
        return next(each for each in self._objects if each["kind"] == "CronJob")

    @property
    def _container(self) -> Json:
        (container,) = self._cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert isinstance(container, dict)
        return container

    def run(self, **settings: str) -> list[str]:
        """What it says: all but the last line, which counts. `settings` last for further runs."""
        for each in self._container["env"]:
            each["value"] = settings.get(each["name"], each["value"])
        self._cluster.apply(*self._objects)
        self._runs += 1
        name = f"run-{self._runs}"
        words = ("--namespace", NAMESPACE)
        self._cluster.kubectl("create", "job", name, "--from=cronjob/gpu-remediation", *words)
        self._cluster.kubectl(
            "wait", f"job/{name}", "--for=condition=Complete", "--timeout=60s", *words, timeout_s=70
        )
        return self._cluster.pod_log(f"job/{name}", namespace=NAMESPACE).splitlines()[:-1]

    def remove(self) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": self._objects})
        self._cluster.kubectl(
            "delete", "--filename", "-", "--ignore-not-found", "--timeout=90s", stdin=text, timeout_s=100
        )
        self._cluster.kubectl("uncordon", self._node)
        self._cluster.kubectl("label", "node", self._node, f"{MARK}-")

    def state(self) -> tuple[bool, bool]:
        """Whether the node is cordoned, and whether it is marked."""
        node = self._cluster.get("node", self._node)
        return bool(node["spec"].get("unschedulable")), MARK in node["metadata"]["labels"]


@pytest.fixture
def remediation(plugin: Installation) -> Iterator[Remediation]:
    found = Remediation(plugin)
    yield found
    found.remove()


def wait_condition(plugin: Installation, status: str) -> None:
    def current() -> bool:
        conditions = plugin.cluster.node_status(plugin.node)["conditions"]
        return any((each["type"], each["status"]) == (CONDITION, status) for each in conditions)

    wait_until(f"{CONDITION} {status}", current, within_s=60)


def test_node_is_cordoned_within_the_cap_and_comes_back(
    plugin: Installation, remediation: Remediation
) -> None:
    node = plugin.node
    plugin.ensure(
        WHOLE | {"nodeCondition": {"enabled": True, "delay": 0}} | {"extraEnv": api_address(plugin.cluster)}
    )
    plugin.wait_allocatable(8)
    plugin.inject(GPU, "Wedged")
    wait_condition(plugin, "True")

    would = remediation.run(MINUTES="0")
    assert would == [f"{node}: would cordon: unhealthy for 0 min"]
    assert remediation.state() == (False, False)

    assert remediation.run(DRY_RUN="false", MOST="0") == [
        f"{node}: leave: the cap: 0 cordoned by this job, at most 0"
    ]
    assert remediation.run(MOST="1", MINUTES="60") == [f"{node}: leave: unhealthy for 0 min, not yet 60"]
    assert remediation.state() == (False, False)

    assert remediation.run(MINUTES="0") == [f"{node}: cordon: unhealthy for 0 min"]
    assert remediation.state() == (True, True)
    assert remediation.run() == [f"{node}: leave: cordoned by this job; {CONDITION} is True"]

    plugin.inject(GPU, "clear")
    wait_condition(plugin, "False")
    assert remediation.run(DRY_RUN="true") == [f"{node}: would un-cordon: its GPUs are well"]
    assert remediation.state() == (True, True)
    assert remediation.run(DRY_RUN="false") == [f"{node}: un-cordon: its GPUs are well"]
    assert remediation.state() == (False, False)
    assert remediation.run() == []

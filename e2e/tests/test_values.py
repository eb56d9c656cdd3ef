"""Bad values fail at `helm install`, with a message that names the key."""

import json

import pytest

from e2e.kubernetes import CommandFailed
from e2e.tests.installation import CHART, RELEASE, Installation


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("simulat.shape=mi300x", "simulat"),
        ("config.resource_namings=mixed", "resource_namings"),
        ("config.health.intervall=5", "intervall"),
        ("minReadySeconds=soon", "minReadySeconds"),
        ("config.retire_after=soon", "retire_after"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("config.resource_naming=double", "resource_naming"),
        ("simulate.shape=h100", "shape"),
        ("commonLabels.app\\.kubernetes\\.io/name=mine", "cannot hold app.kubernetes.io/name"),
        ("admissionPolicy.enabled=true", "enable kubernetesEvents or nodeCondition"),
        ("nodeGroups[0].name=one", "nodeSelector"),
    ],
)
def test_bad_value_is_refused_by_name(plugin: Installation, value: str, named: str) -> None:
    with pytest.raises(CommandFailed) as refused:
        plugin.helm("install", RELEASE, str(CHART), "--set", value)
    message = str(refused.value).partition("exit 1: ")[2]
    assert named in message
    assert json.loads(plugin.helm("list", "--output", "json")) == []

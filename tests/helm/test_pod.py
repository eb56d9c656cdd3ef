"""What users add to the pod, and that nothing is lost by it."""

import pytest

from tests.helm.chart import Values, container, manifests, pod, refusal, render, rendered_files

SAFE = {
    "runAsUser": 0,
    "runAsGroup": 0,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "allowPrivilegeEscalation": False,
}
SELINUX = {"seLinuxOptions": {"type": "container_device_plugin_t"}}


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        (SELINUX, SAFE | SELINUX),
        (
            {"capabilities": {"add": ["NET_ADMIN"]}},
            SAFE | {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}},
        ),
        ({"readOnlyRootFilesystem": False}, SAFE | {"readOnlyRootFilesystem": False}),
    ],
    ids=["selinux", "capability", "given up by name"],
)
def test_additions_to_the_container_s_security_leave_the_rest(added: Values, expected: object) -> None:
    assert container({"securityContext": added})["securityContext"] == expected


def test_additions_to_the_pod_s_security_leave_the_rest() -> None:
    found = pod({"podSecurityContext": SELINUX | {"supplementalGroups": [44]}})["securityContext"]
    profile = {"seccompProfile": {"type": "RuntimeDefault"}}
    assert found == profile | SELINUX | {"supplementalGroups": [44]}


def test_privilege_is_asked_for_by_what_it_is_for() -> None:
    assert "set kfdAccess" in refusal({"securityContext": {"privileged": True}})
    both: Values = {"kfdAccess": "privileged", "securityContext": {"allowPrivilegeEscalation": False}}
    assert "beside kfdAccess=privileged" in refusal(both)


def test_more_arguments_come_last_and_so_win() -> None:
    values: Values = {"extraArgs": ["--log-format=json"], "simulate": {"shape": "mi210"}}
    assert container(values)["args"][3:] == ["--simulate", "mi210", "--log-format=json"]


def test_more_volumes_come_after_ours() -> None:
    more: Values = {
        "extraVolumes": [{"name": "ids", "configMap": {"name": "pci-ids"}}],
        "extraVolumeMounts": [{"name": "ids", "mountPath": "/usr/share/hwdata", "readOnly": True}],
    }
    assert pod(more)["volumes"] == [*pod()["volumes"], *more["extraVolumes"]]
    assert container(more)["volumeMounts"] == [*container()["volumeMounts"], *more["extraVolumeMounts"]]


@pytest.mark.parametrize(
    ("values", "instead"),
    [
        ({"extraArgs": ["--config", "/x"]}, "set config or existingConfigMap"),
        ({"extraArgs": ["--http-address=:9500"]}, "set config.http.address"),
        ({"extraArgs": ["--state-dir=/x"]}, "set stateDir"),
        ({"extraEnv": [{"name": "AMDGPU_PLUGIN_HTTP_ADDRESS", "value": ":1"}]}, "set config.http.address"),
        ({"extraEnv": [{"name": "AMDGPU_PLUGIN_SIMULATE", "value": "mi210"}]}, "set simulate.shape"),
        ({"extraVolumes": [{"name": "state", "emptyDir": {}}]}, "choose another name"),
        ({"extraVolumeMounts": [{"name": "x"}]}, "mountPath"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_what_the_chart_sets_itself_is_not_set_again(values: Values, instead: str) -> None:
    assert instead in refusal(values)


def test_config_map_of_somebody_else_is_mounted_and_none_is_made() -> None:
    theirs: Values = {"existingConfigMap": "theirs"}
    assert manifests(theirs, "ConfigMap") == []
    assert pod(theirs)["volumes"][0] == {"name": "config", "configMap": {"name": "theirs"}}
    template = render(theirs)["DaemonSet"]["spec"]["template"]["metadata"]
    assert "annotations" not in template
    notes = rendered_files(theirs | {"kubernetesEvents": {"enabled": True}})
    assert "kubernetes.events are there" in notes["amdgpu-plugin/templates/NOTES.txt"]


@pytest.mark.parametrize(
    "values", [{"config": {"log_level": "debug"}}, {"http": {"statusPage": False}}], ids=["config", "page"]
)
def test_option_beside_a_config_map_of_somebody_else_is_refused(values: Values) -> None:
    assert "existingConfigMap" in refusal({"existingConfigMap": "theirs"} | values)

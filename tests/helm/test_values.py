"""What each value does, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from amdgpu_plugin import __version__
from amdgpu_plugin.config import Config, load_config
from amdgpu_plugin.config.reference import EXAMPLE
from amdgpu_plugin.simulation.shapes import SHAPE_NAMES, parse_shape
from tests.helm.chart import Values, container, helm, pod, refusal, render, rendered_files
from tests.helm.generate import PAGE, SCHEMA, Schema, config_schema, page, schema_text, whole_schema

NFD = [
    f"feature.node.kubernetes.io/{name}"
    for name in (
        *(f"pci-{device}.present" for device in ("1002", "0300_1002", "0380_1002", "1200_1002")),
        "amd-gpu",
        "amd-vgpu",
    )
]


def config_of(values: Values) -> str:
    """Without probes, which would ask for an address that the kubelet can reach."""
    text: str = render(values | {"probes": {"enabled": False}})["ConfigMap"]["data"]["config.yaml"]
    return text


def loaded(text: str) -> Config:
    """Conditions in one order: Helm sorts keys, and theirs means nothing."""
    config = load_config({}, {}, text).config
    return replace(
        config, health_conditions=tuple(sorted(config.health_conditions, key=lambda each: each.name))
    )


def checksum(values: Values) -> str:
    metadata: Any = render(values)["DaemonSet"]["spec"]["template"]["metadata"]
    return str(metadata["annotations"]["checksum/config"])


def strategy(**update: object) -> object:
    return render({"updateStrategy": update})["DaemonSet"]["spec"]["updateStrategy"]


@pytest.mark.parametrize(
    "text",
    ["", "health:\n", "devices: {expect: }\n", "allocate: {env: {A: '010', B: 'yes', C: '1:20'}}\n", EXAMPLE],
)
def test_daemon_reads_from_the_config_map_what_was_written_into_values(text: str) -> None:
    indented = "".join(f"  {line}\n" for line in text.splitlines())
    given = config_of(helm.values_from_yaml(f"config:\n{indented}"))
    assert loaded(given) == loaded(text)


def test_pods_restart_when_the_config_changes_and_only_then() -> None:
    assert checksum({"config": {"log_level": "debug"}}) != checksum({})
    assert checksum({"podLabels": {"team": "a"}}) == checksum({})


def test_simulated_shape_becomes_an_argument() -> None:
    assert container({"simulate": {"shape": "mi300x:8"}})["args"][-2:] == ["--simulate", "mi300x:8"]


@pytest.mark.parametrize("name", SHAPE_NAMES)
def test_every_shape_of_the_daemon_is_taken(name: str) -> None:
    for shape in (name, str(parse_shape(name))):
        assert container({"simulate": {"shape": shape}})["args"][-1] == shape


def test_paths_of_another_kubelet_are_mounted_where_the_daemon_looks() -> None:
    values = {"kubelet": {"podResourcesPath": "/var/lib/k0s/kubelet/pod-resources"}, "stateDir": "/run/gpu"}
    paths = {
        volume["name"]: volume["hostPath"]["path"]
        for volume in pod(values)["volumes"]
        if "hostPath" in volume
    }
    assert paths == {
        "device-plugins": "/var/lib/kubelet/device-plugins",
        "pod-resources": "/var/lib/k0s/kubelet/pod-resources",
        "state": "/run/gpu",
    }
    assert container(values)["volumeMounts"] == container()["volumeMounts"]


def test_privileged_leaves_out_what_the_api_server_refuses_beside_it() -> None:
    security = container({"kfdAccess": "privileged"})["securityContext"]
    assert security == {
        "runAsUser": 0,
        "runAsGroup": 0,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "privileged": True,
    }


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (
            {"registry": "r.example:5000", "repository": "team/plugin", "tag": "v2"},
            "r.example:5000/team/plugin:v2",
        ),
        ({"registry": ""}, f"amdgpu-plugin:{__version__}"),
        ({"tag": "v2", "digest": "sha256:" + "0" * 64}, "localhost/amdgpu-plugin@sha256:" + "0" * 64),
    ],
)
def test_image_name(image: dict[str, str], name: str) -> None:
    assert container({"image": image})["image"] == name


@pytest.mark.parametrize(
    ("update", "rolling"),
    [
        ({}, {"maxUnavailable": 1, "maxSurge": 0}),
        ({"maxUnavailable": "25%"}, {"maxUnavailable": "25%", "maxSurge": 0}),
        ({"maxSurge": "0%"}, {"maxUnavailable": 1, "maxSurge": 0}),
        ({"maxSurge": 1}, {"maxUnavailable": 0, "maxSurge": 1}),
        ({"maxSurge": "10%"}, {"maxUnavailable": 0, "maxSurge": "10%"}),
    ],
)
def test_surge_takes_the_place_of_unavailable(update: dict[str, object], rolling: dict[str, object]) -> None:
    assert strategy(**update) == {"type": "RollingUpdate", "rollingUpdate": rolling}


def test_on_delete_rolls_nothing() -> None:
    assert strategy(type="OnDelete") == {"type": "OnDelete"}


def test_gpu_node_affinity_asks_for_any_label_of_nfd_beside_other_affinity() -> None:
    apart: Values = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    terms = [{"matchExpressions": [{"key": label, "operator": "In", "values": ["true"]}]} for label in NFD]
    assert pod({"gpuNodeAffinity": True, "affinity": apart})["affinity"] == apart | {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    }


def test_gpu_node_affinity_is_asked_for_besides_each_term_of_the_user_s() -> None:
    theirs: list[dict[str, Any]] = [
        {"matchExpressions": [{"key": "site", "operator": "Exists"}]},
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]},
    ]
    preferred = [{"weight": 1, "preference": theirs[0]}]
    node: Values = {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": theirs},
        "preferredDuringSchedulingIgnoredDuringExecution": preferred,
    }
    found = pod({"gpuNodeAffinity": True, "affinity": {"nodeAffinity": node}})["affinity"]["nodeAffinity"]
    ours = [{"key": label, "operator": "In", "values": ["true"]} for label in NFD]
    assert found == {
        "preferredDuringSchedulingIgnoredDuringExecution": preferred,
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                term | {"matchExpressions": [*term.get("matchExpressions", []), label]}
                for term in theirs
                for label in ours
            ]
        },
    }


def test_probes_ask_at_the_port_of_the_config() -> None:
    values: Values = {"probes": {"enabled": True}, "config": {"http": {"address": "[::]:9500"}}}
    found = container(values)
    assert found["ports"] == [{"name": "metrics", "containerPort": 9500}]
    assert found["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert found["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    assert container({"probes": {"enabled": True}})["ports"][0]["containerPort"] == 9400


def test_with_a_surge_readiness_does_not_wait_for_a_registration_that_waits_for_it() -> None:
    found = container({"updateStrategy": {"maxSurge": 1}})
    assert found["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}


def test_what_is_empty_is_left_out() -> None:
    bare: Values = dict.fromkeys(
        ("config", "affinity", "tolerations", "resources", "nodeSelector", "podLabels")
    )
    found = pod(bare | {"priorityClassName": "", "imagePullSecrets": []})
    assert (
        found.keys() & {"affinity", "tolerations", "priorityClassName", "imagePullSecrets", "nodeSelector"}
        == set()
    )
    assert "resources" not in found["containers"][0]


def test_account_of_somebody_else() -> None:
    values: Values = {"serviceAccount": {"create": False, "name": "theirs"}}
    assert "ServiceAccount" not in render(values)
    assert pod(values)["serviceAccountName"] == "theirs"


def test_values_that_go_straight_into_the_pod() -> None:
    values: Values = {
        "imagePullSecrets": [{"name": "regcred"}],
        "nodeSelector": {"gpu": "amd"},
        "podAnnotations": {"a": "1"},
        "podLabels": {"team": "a"},
        "priorityClassName": "mine",
        "global": {"shared": {"by": "a parent chart"}},
    }
    template: Any = render(values)["DaemonSet"]["spec"]["template"]
    assert template["metadata"]["annotations"]["a"] == "1"
    assert template["metadata"]["labels"]["team"] == "a"
    straight = ("imagePullSecrets", "nodeSelector", "priorityClassName")
    assert {key: template["spec"][key] for key in straight} == {key: values[key] for key in straight}


def test_notes_say_what_a_simulation_and_a_local_image_mean() -> None:
    path = "amdgpu-plugin/templates/NOTES.txt"
    plain = rendered_files({"image": {"registry": "r.example"}})[path]
    told = rendered_files({"simulate": {"shape": "mi210"}})[path]
    assert ("SIMULATED" in plain, "not in a registry" in plain) == (False, False)
    assert ("SIMULATED" in told, "not in a registry" in told, "--simulate mi210" in told) == (
        True,
        True,
        True,
    )


@pytest.mark.parametrize(
    ("values", "named", "why"),
    [
        ({"tolerance": []}, "tolerance", "not allowed"),
        ({"image": {"tga": "1"}}, "tga", "not allowed"),
        ({"config": {"health": {"intervall": 3}}}, "intervall", "not allowed"),
        ({"config": {"health": {"conditions": {"Hott": {}}}}}, "Hott", "not allowed"),
        (
            {"config": {"allocate": {"mounts": [{"host_path": "/a", "readonly": True}]}}},
            "readonly",
            "not allowed",
        ),
        (
            {"config": {"allocate": {"env": {"AMDGPU_DEVICES": "x"}}}},
            "AMDGPU_DEVICES",
            "invalid propertyName",
        ),
        ({"tolerations": [{"keys": "a"}]}, "keys", "not allowed"),
        ({"image": {"tag": 1.5}}, "/image/tag", "want string"),
        ({"probes": {"enabled": "yes"}}, "/probes/enabled", "want boolean"),
        ({"config": {"health": {"interval": "10"}}}, "/config/health/interval", "want number"),
        ({"config": {"health": {"interval": 0}}}, "/config/health/interval", "minimum"),
        ({"config": {"allocate": {"env": {"A": 1}}}}, "/config/allocate/env/A", "want string"),
        ({"resources": {"limits": {"memory": "256Mib"}}}, "/resources/limits/memory", "pattern"),
        ({"kfdAccess": "yes"}, "/kfdAccess", "'none', 'privileged'"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy", "'IfNotPresent'"),
        ({"config": {"log_level": "loud"}}, "/config/log_level", "'debug'"),
        ({"simulate": {"shape": "mi900"}}, "/simulate/shape", "mi300x-cpx"),
        ({"stateDir": "run"}, "/stateDir", "pattern"),
        ({"updateStrategy": {"maxSurge": "1"}}, "/updateStrategy/maxSurge", "pattern"),
        ({"kubelet": None}, "kubelet", "missing propert"),
        ({"config": {"simulate": "mi210"}}, "config.simulate", "set simulate.shape"),
        ({"config": {"state_dir": "/run/x"}}, "config.state_dir", "set stateDir"),
        ({"config": {"sysfs_root": "/sys"}}, "config.sysfs_root", "own /sys"),
        (
            {"probes": {"enabled": True}, "config": {"http": {"address": ""}}},
            "config.http.address",
            "cannot reach",
        ),
        (
            {"probes": {"enabled": True}, "config": {"http": {"address": "127.0.0.1:1"}}},
            "config.http.address",
            "cannot reach",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_bad_value_is_refused_by_name(values: Values, named: str, why: str) -> None:
    message = refusal(values)
    assert (named in message, why in message) == (True, True), message


@pytest.mark.parametrize("key", ["config", "simulate"])
def test_schema_takes_what_the_daemon_takes(key: str) -> None:
    """After a change that is meant: `.venv/bin/python -m tests.helm.generate`."""
    assert yaml.safe_load(SCHEMA.read_text())["properties"][key] == whole_schema()["properties"][key]


def test_schema_and_page_are_as_they_are_made() -> None:
    """After a change that is meant: `.venv/bin/python -m tests.helm.generate`."""
    assert SCHEMA.read_text() == schema_text(whole_schema())
    assert PAGE.read_text() == page(whole_schema())


def open_objects(schema: Schema, path: str = "") -> list[str]:
    """Paths of all objects that take any key."""
    found = [path] if "object" in schema.get("type", ()) and "additionalProperties" not in schema else []
    for name, part in schema.get("properties", {}).items():
        found += open_objects(part, f"{path}.{name}")
    return found + (open_objects(schema["items"], f"{path}[]") if "items" in schema else [])


def test_no_object_takes_unknown_keys_but_those_that_kubernetes_checks() -> None:
    affinities = [f".affinity.{kind}" for kind in ("nodeAffinity", "podAffinity", "podAntiAffinity")]
    peers = [
        f".networkPolicy.{peers}[].{selector}"
        for peers in ("from", "apiServer.to")
        for selector in ("podSelector", "namespaceSelector")
    ]
    containers = [".extraEnv[].valueFrom", ".extraVolumes[]"]
    assert open_objects(whole_schema()) == [".global", *affinities, *containers, *peers]


def test_config_schema_holds_the_documented_example() -> None:
    assert set(yaml.safe_load(EXAMPLE)) <= set(config_schema()["properties"])

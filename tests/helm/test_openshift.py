"""SecurityContextConstraints: what the pod needs and no more."""

import pytest

from tests.helm.chart import Manifest, Values, manifests, pod, refusal, render

ON: Values = {"openshift": {"scc": {"create": True}}}


def constraints(values: Values) -> Manifest:
    (found,) = manifests(ON | values, "SecurityContextConstraints")
    return found


def test_nothing_but_directories_of_the_node_is_allowed() -> None:
    found = constraints({})
    allowed = {key for key, value in found.items() if key.startswith("allow") and value}
    assert allowed == {"allowHostDirVolumePlugin"}
    assert (found["requiredDropCapabilities"], found["readOnlyRootFilesystem"]) == (["ALL"], True)
    assert (found["users"], found["groups"]) == ([], [])


@pytest.mark.parametrize(
    ("values", "allowed"),
    [
        ({"kfdAccess": "privileged"}, {"allowPrivilegedContainer": True, "allowPrivilegeEscalation": True}),
        (
            {"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}},
            {"allowedCapabilities": ["NET_ADMIN"]},
        ),
        ({"securityContext": {"readOnlyRootFilesystem": False}}, {"readOnlyRootFilesystem": False}),
        (
            {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "gpu.json"}}},
            {"seccompProfiles": ["runtime/default", "localhost/gpu.json"]},
        ),
        (
            {"extraVolumes": [{"name": "a", "emptyDir": {}}], "kubernetesEvents": {"enabled": True}},
            {"volumes": ["configMap", "hostPath", "projected", "emptyDir"]},
        ),
    ],
    ids=["privileged", "capability", "root filesystem", "seccomp", "volumes"],
)
def test_what_the_values_ask_of_the_pod_is_allowed(values: Values, allowed: Values) -> None:
    assert constraints(values) == constraints({}) | allowed


def test_volumes_are_those_of_the_pod() -> None:
    kinds = {key for volume in pod(ON)["volumes"] for key in volume.keys() - {"name"}}
    assert set(constraints({})["volumes"]) == kinds


def test_account_and_no_other_may_use_them() -> None:
    objects = render(ON)
    assert objects["Role"]["rules"] == [
        {
            "apiGroups": ["security.openshift.io"],
            "resources": ["securitycontextconstraints"],
            "resourceNames": ["kube-system.gpu-amdgpu-plugin"],
            "verbs": ["use"],
        }
    ]
    assert constraints({})["metadata"]["name"] == "kube-system.gpu-amdgpu-plugin"
    assert objects["RoleBinding"]["roleRef"]["name"] == objects["Role"]["metadata"]["name"]
    assert objects["RoleBinding"]["subjects"] == [
        {"kind": "ServiceAccount", "name": "gpu-amdgpu-plugin", "namespace": "kube-system"}
    ]


def test_account_that_all_pods_share_may_not() -> None:
    assert "name an account" in refusal(ON | {"serviceAccount": {"create": False}})

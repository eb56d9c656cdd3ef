"""Whatever the values, what is rendered is something that the API servers take."""

import jsonschema
import pytest

from tests.helm.chart import CHART, EVERYTHING, Values, helm, manifests, without
from tests.helm.crds import KINDS

NEWEST = "1.37"
POLICIES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
COMBINATIONS: dict[str, Values] = {
    "defaults": {},
    "everything": EVERYTHING,
    "one group for all": without(EVERYTHING, "nodeGroups"),
    "privileged": {"kfdAccess": "privileged", "probes": {"enabled": False}},
    "events": {"kubernetesEvents": {"enabled": True}},
    "condition, pinned": {"nodeCondition": {"enabled": True}, "admissionPolicy": {"enabled": True}},
    "surge": {"updateStrategy": {"maxSurge": 1}},
    "on delete": {"updateStrategy": {"type": "OnDelete"}},
    "pod monitor": {"podMonitor": {"enabled": True, "interval": "15s"}},
    "closed": {"networkPolicy": {"enabled": True}},
    "existing": {"existingConfigMap": "theirs", "serviceAccount": {"create": False}},
    "bare": dict.fromkeys(
        ("config", "affinity", "tolerations", "resources", "nodeSelector", "podLabels", "commonLabels")
    ),
    "openshift": {
        "openshift": {"scc": {"create": True}},
        "securityContext": {"seLinuxOptions": {"type": "container_device_plugin_t"}},
    },
}


@pytest.mark.parametrize(
    ("version", "chosen"),
    [(NEWEST, name) for name in COMBINATIONS]
    + [(f"1.{minor}", name) for minor in (25, *range(28, 37)) for name in ("defaults", "everything")],
)
def test_manifests_are_valid_kubernetes(version: str, chosen: str) -> None:
    """A kind that the version does not know is asked for by no value there: see the refusal below."""
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed here")
    for manifest in manifests(COMBINATIONS[chosen]):
        kind = manifest["kind"]
        if kind in KINDS or (kind in POLICIES and int(version.partition(".")[2]) < 30):
            continue
        assert validator.validate(manifest, version, strict=True) == version


@pytest.mark.parametrize("chosen", COMBINATIONS)
def test_kinds_of_others_have_fields_that_these_know(chosen: str) -> None:
    for manifest in manifests(COMBINATIONS[chosen]):
        if manifest["kind"] in KINDS:
            jsonschema.validate(manifest, KINDS[manifest["kind"]])


def test_every_kind_is_rendered_somewhere_above() -> None:
    sources = "".join(path.read_text() for path in sorted(CHART.rglob("templates/*.yaml")))
    rendered = {manifest["kind"] for values in COMBINATIONS.values() for manifest in manifests(values)}
    written = {line.removeprefix("kind: ") for line in sources.splitlines() if line.startswith("kind: ")}
    assert rendered == written


@pytest.mark.parametrize(("version", "refusals"), [("1.29.9", 1), ("1.30.0", 0)])
def test_policy_is_refused_where_there_is_none(
    version: str, refusals: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """A lint is told the version, and reports refusals on stderr."""
    helm.lint(CHART, COMBINATIONS["condition, pinned"], kube_version=version)
    assert capfd.readouterr().err.count("admissionPolicy needs Kubernetes 1.30") == refusals

"""examples/cluster-demo.sh before it has a cluster: what it is asked, which node and image it takes, what it refuses.

kubectl and helm are stand-ins here. What it shows on a real cluster is in e2e/tests/test_demo.py.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import amdgpu_plugin

SCRIPT = Path(__file__).parents[2] / "examples" / "cluster-demo.sh"

# Nodes as its jsonpath gives them: name, unschedulable, effects of taints, amd.com/gpu, Ready.
KUBECTL = """#!/bin/sh
case "$*" in
    *"get namespace"*) exit "${NAMESPACE_STATUS:-1}" ;;
    *"get nodes -l"*) printf '%s\\n' "$NODES" ;;
    *"current-context"*) echo kind-x ;;
    *"config view"*) printf https://127.0.0.1:6443 ;;
    *"get node "*amd*gpu*) printf %s "$OFFERED" ;;
    *"get node "*hostname*) printf host-of-it ;;
    *"get node "*kubeletVersion*) printf v1.36.3 ;;
    *) cat > /dev/null ;;
esac
"""
# Notes what it is to install, and fails, so that the demo ends there.
HELM = """#!/bin/sh
case $1 in
    install) printf '%s\\n' "$*" > "$NOTED/words"; cat > "$NOTED/values.yaml" ;;
esac
exit 1
"""
TOOLS = (
    "cat",
    "date",
    "dirname",
    "fold",
    "grep",
    "mktemp",
    "rm",
    "sed",
    "sleep",
    "sort",
    "tail",
    "tr",
    "xargs",
)
PLAIN_NODE = "plain||||True"


@dataclass(frozen=True)
class Demo:
    """One run of it."""

    status: int
    out: str
    err: str
    noted: Path

    @property
    def values(self) -> dict[str, object]:
        found: dict[str, object] = yaml.safe_load((self.noted / "values.yaml").read_text())
        return found


def demo(folder: Path, *options: str, missing: str = "", **told: str) -> Demo:
    """`told` is what the stand-ins are told. No program is found but they and what a shell needs."""
    noted, path = folder / "noted", folder / "bin"
    noted.mkdir()
    path.mkdir()
    for name in TOOLS:
        (path / name).symlink_to(str(shutil.which(name)))
    for name, text in {"kubectl": KUBECTL, "helm": HELM}.items():
        if name not in missing.split():
            (path / name).write_text(text)
            (path / name).chmod(0o755)
    environment = {"NODES": PLAIN_NODE, "OFFERED": "", "NOTED": str(noted), "PATH": str(path)} | told
    done = subprocess.run(
        ["/bin/bash", str(SCRIPT), *options],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Demo(done.returncode, done.stdout, done.stderr, noted)


def test_help_names_every_option(tmp_path: Path) -> None:
    told = demo(tmp_path, "--help")
    named = (
        "--image",
        "--node",
        "--namespace",
        "--prometheus",
        "--kubelet-restart",
        "--keep",
        "--beside-gpus",
        "-- ",
    )
    assert (told.status, [word for word in named if word not in told.out]) == (0, [])


@pytest.mark.parametrize(
    ("words", "says"), [(("--imag", "x"), "unknown option --imag"), (("--image",), "--image needs a value")]
)
def test_misuse_is_status_2_and_named(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    told = demo(tmp_path, *words)
    assert (told.status, told.out) == (2, "")
    assert says in told.err


@pytest.mark.parametrize("missing", ["kubectl", "helm", "kubectl helm"])
def test_all_missing_programs_are_named(tmp_path: Path, missing: str) -> None:
    told = demo(tmp_path, missing=missing)
    assert (told.status, told.err.strip()) == (1, f"cluster-demo.sh: not in PATH: {missing}")


@pytest.mark.parametrize(
    ("image", "taken"),
    [
        ("amdgpu-plugin:1", ("", "amdgpu-plugin", "1", "")),
        ("team/amdgpu-plugin", ("", "team/amdgpu-plugin", "latest", "")),
        ("localhost/amdgpu-plugin:1", ("localhost", "amdgpu-plugin", "1", "")),
        ("host:5000/team/plugin:1", ("host:5000", "team/plugin", "1", "")),
        ("ghcr.io/team/plugin@sha256:ab", ("ghcr.io", "team/plugin", "", "sha256:ab")),
    ],
)
def test_image_is_taken_apart_as_the_chart_wants_it(
    tmp_path: Path, image: str, taken: tuple[str, ...]
) -> None:
    keys = ("registry", "repository", "tag", "digest")
    assert demo(tmp_path, "--image", image).values["image"] == dict(zip(keys, taken, strict=True))


def test_image_by_default_is_what_make_image_writes(tmp_path: Path) -> None:
    assert demo(tmp_path).values["image"] == {
        "registry": "localhost",
        "repository": "amdgpu-plugin",
        "tag": amdgpu_plugin.__version__,
        "digest": "",
    }


def test_options_of_helm_come_last(tmp_path: Path) -> None:
    told = demo(tmp_path, "--", "--set", "podMonitor.labels.release=x")
    assert (told.noted / "words").read_text().endswith(" --values - --set podMonitor.labels.release=x\n")


def test_first_node_that_takes_pods_and_has_no_gpus_is_chosen(tmp_path: Path) -> None:
    nodes = (
        "cordoned|true|||True",
        "control-plane||NoSchedule||True",
        "evicting||PreferNoSchedule NoExecute||True",
        "has-gpus|||8|True",
        "not-ready||||False",
        "chosen||PreferNoSchedule|0|True",
        PLAIN_NODE,
    )
    told = demo(tmp_path, "--beside-gpus", NODES="\n".join(nodes))
    assert "(chosen, Kubernetes v1.36.3)" in told.out
    assert told.values["nodeSelector"] == {"kubernetes.io/hostname": "host-of-it"}


def test_no_node_to_choose_is_said_with_the_remedy(tmp_path: Path) -> None:
    told = demo(tmp_path, NODES="control-plane||NoSchedule||True")
    assert (told.status, told.out) == (1, "")
    assert "name one by --node" in told.err


def test_node_with_gpus_is_refused(tmp_path: Path) -> None:
    told = demo(tmp_path, "--node", "gpus", OFFERED="8")
    assert (told.status, told.out) == (1, "")
    assert "gpus offers 8 amd.com/gpu already" in told.err


def test_cluster_with_gpus_on_other_nodes_is_refused(tmp_path: Path) -> None:
    told = demo(tmp_path, NODES=f"{PLAIN_NODE}\none|true|NoSchedule|8|True\ntwo|||4|")
    assert (told.status, told.out) == (1, "")
    assert "other nodes offer amd.com/gpu: one two" in told.err
    assert "--beside-gpus" in told.err


def test_cluster_is_named_before_anything_is_made(tmp_path: Path) -> None:
    assert demo(tmp_path).out.startswith("On the cluster of the context kind-x, https://127.0.0.1:6443\n")


@pytest.mark.parametrize("variable", ["HELM_KUBECONTEXT", "HELM_KUBEAPISERVER"])
def test_helm_that_is_led_to_another_cluster_is_refused(tmp_path: Path, variable: str) -> None:
    told = demo(tmp_path, **{variable: "prod"})
    assert (told.status, told.out) == (1, "")
    assert f"{variable} is set" in told.err


def test_namespace_of_somebody_else_is_refused(tmp_path: Path) -> None:
    told = demo(tmp_path, NAMESPACE_STATUS="0")
    assert (told.status, told.out) == (1, "")
    assert "the namespace amdgpu-demo is there and not of this demo" in told.err


def test_failed_step_ends_it_with_status_1_and_removes_what_it_made(tmp_path: Path) -> None:
    told = demo(tmp_path)
    assert told.status == 1
    assert "this failed: helm install demo" in told.err
    assert "$ kubectl delete namespace amdgpu-demo" in told.err


def test_keep_leaves_it_and_says_how_to_remove_it(tmp_path: Path) -> None:
    told = demo(tmp_path, "--keep")
    assert told.status == 1
    assert "kubectl delete namespace amdgpu-demo" in told.err.splitlines()[-1]
    assert "$ kubectl delete" not in told.err

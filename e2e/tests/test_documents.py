"""Commands of the documents that look at a cluster do so on this one, as they stand; see tests/documents/test_commands.py."""

import os
import subprocess
from pathlib import Path

import pytest

from e2e.tests.installation import NAMESPACE, Installation
from tests.documents.pages import Block, blocks, commands

LOOKING = [
    block
    for block in blocks("sh")
    if not block.not_run and any(one[0] == "kubectl" for one in commands(block))
]
DOCUMENTED_NAMESPACE = "kube-system"
GPU = "0000:05:00.0"


def lines(block: Block) -> list[str]:
    whole = block.text.replace("\\\n", " ").replace(DOCUMENTED_NAMESPACE, NAMESPACE)
    return [line for line in whole.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("block", LOOKING, ids=str)
def test_commands_that_look_at_a_cluster_succeed(
    block: Block, whole_gpus: Installation, tmp_path: Path
) -> None:
    cluster = whole_gpus.cluster
    environment = {
        **cluster.environment(),
        "PATH": f"{cluster.kubectl_path.parent}:{os.environ['PATH']}",
        "NODE": whole_gpus.node,
        "POD": f"pod/{whole_gpus.pod()}",
        "GPU": GPU,
    }
    for line in lines(block):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        problems_found = "amdgpu-plugin doctor" in line and done.returncode == 1
        assert done.returncode == 0 or problems_found, f"{line}: {done.stderr}"
        assert done.stdout or ">" in line or "events" in line or "Failed" in line, line

"""What `helm uninstall` leaves behind."""

from pathlib import Path

import pytest

from e2e import places
from e2e.kubernetes import Kubernetes
from e2e.local import LocalCluster
from e2e.tests.everything import everything, left_over
from e2e.tests.installation import Installation

OWN_SOCKETS = "amdgpu-plugin-*.sock"
STATE_DIR = Path("/run/amdgpu-plugin")


@pytest.fixture(scope="module")
def uninstalled(plugin: Installation, cluster: Kubernetes) -> Installation:
    """With all that the chart could make there before."""
    plugin.ensure(everything(cluster))
    plugin.wait_allocatable(8)
    plugin.uninstall()
    return plugin


def test_allocatable_is_0_and_the_key_stays(uninstalled: Installation) -> None:
    uninstalled.wait_allocatable(0)


def test_no_object_of_the_release_is_left(uninstalled: Installation) -> None:
    assert left_over(uninstalled) == []


def test_memory_alone_is_left_on_the_node(uninstalled: Installation, local: LocalCluster) -> None:
    assert list((places.KUBELET / "device-plugins").glob(OWN_SOCKETS)) == []
    assert [path.name for path in STATE_DIR.iterdir()] == ["state.json"]

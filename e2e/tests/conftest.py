"""How the tests come by a cluster, and what the run ends with.

KUBECONFIG with E2E_IMAGE (an image the nodes have or can pull): that cluster, on E2E_NODE or the first node
that takes ordinary pods; E2E_NEXT_IMAGE is the version to roll out, by default the same image. Neither: the
cluster of this machine, which is taken down again unless it was up before. E2E_WRITE=1 writes the figures to
benchmarks/e2e.md.
"""

import os
import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from e2e import cluster as local_cluster
from e2e import places
from e2e.kubernetes import CommandFailed, Kubernetes
from e2e.local import LocalCluster
from e2e.machine import ClusterUnavailable
from e2e.tests.figures import Figures, machine
from e2e.tests.installation import PARTITIONED, WHOLE, Installation
from e2e.tests.kubelet_log import KubeletLog
from e2e.tests.plugin_image import ROOT, ImageName, built_and_loaded
from e2e.tests.workload import Workload

# By what is installed, so that tests of one installation share it; the last of each group takes it away.
ORDER = (
    "test_values",
    "test_install",
    "test_pods",
    "test_pages",
    "test_documents",
    "test_health",
    "test_events",
    "test_memory",
    "test_prometheus",
    "test_registration",
    "test_repartition",
    "test_kubelet",
    "test_rollout",
    "test_chart",
    "test_uninstall",
    "test_partitions",
    "test_alignment",
    "test_sharing",
    "test_uevents",
    "test_oldplugin",
    "test_examples",
    "test_remediation",
    "test_demo",
)
FIGURES = pytest.StashKey[Figures]()
INSTALLATION = pytest.StashKey[Installation]()
STATE_DIR = Path("/run/amdgpu-plugin")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = Figures()
    # whoever stops the run at a time limit must not leave a cluster behind
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: ORDER.index(item.path.stem) if item.path.stem in ORDER else -1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """An installation on which a test failed is in no known state: the next test makes another."""
    report = yield
    if report.failed and (installation := item.config.stash.get(INSTALLATION, None)):
        installation.values = None
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """What was skipped was not shown: such a run is not a success."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus == pytest.ExitCode.OK and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    figures = session.config.stash[FIGURES]
    if os.environ.get("E2E_WRITE") == "1" and figures.rows and session.exitstatus == pytest.ExitCode.OK:
        (ROOT / "benchmarks" / "e2e.md").write_text(figures.markdown())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for what, figure in config.stash[FIGURES].rows:
        terminalreporter.write_line(f"{what}: {figure}")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Kubernetes]:
    named = os.environ.get("KUBECONFIG")
    try:
        if named and Path(named) != places.kubeconfig():
            yield _reached(local_cluster.given(Path(named)))
            return
        was_up = local_cluster.attached() is not None
        own = local_cluster.up()
    except ClusterUnavailable as reason:
        pytest.skip(f"no cluster: {reason}")
    was_there = STATE_DIR.exists()
    yield own
    if not was_up:
        assert local_cluster.down() == []
    if not was_there and STATE_DIR.exists():
        shutil.rmtree(STATE_DIR)


@pytest.fixture(scope="session")
def local(cluster: Kubernetes) -> LocalCluster:
    """The cluster of this machine, for tests that lay hands on the node."""
    if not isinstance(cluster, LocalCluster):
        pytest.skip("lays hands on the node: only on the cluster that the tests bring up themselves")
    return cluster


@pytest.fixture(scope="session")
def kubelet_log(local: LocalCluster) -> KubeletLog:
    return KubeletLog(local.kubelet_log())


@pytest.fixture(scope="session")
def plugin(request: pytest.FixtureRequest, cluster: Kubernetes) -> Iterator[Installation]:
    """The namespace is empty at first, and gone in the end."""
    memory = STATE_DIR / "state.json" if isinstance(cluster, LocalCluster) else None
    if named := os.environ.get("E2E_IMAGE"):
        image, following = named, os.environ.get("E2E_NEXT_IMAGE", named)
    elif isinstance(cluster, LocalCluster):
        image, following = built_and_loaded(cluster)
    else:
        pytest.fail("E2E_IMAGE names no image for the cluster of KUBECONFIG")
    node = os.environ.get("E2E_NODE") or _ordinary_node(cluster)
    installation = Installation(cluster, ImageName.parse(image), ImageName.parse(following), node, memory)
    request.config.stash[INSTALLATION] = installation
    installation.make_namespace()
    yield installation
    installation.uninstall()
    installation.remove_namespace()


@pytest.fixture
def pods(plugin: Installation) -> Iterator[Workload]:
    workload = Workload(plugin)
    yield workload
    workload.delete_all()


@pytest.fixture
def whole_gpus(plugin: Installation) -> Installation:
    """Eight MI300X, simulated and allocatable."""
    plugin.ensure(WHOLE)
    plugin.wait_allocatable(8)
    return plugin


@pytest.fixture
def partitions(plugin: Installation) -> Installation:
    """The same in CPX mode: 64."""
    plugin.ensure(PARTITIONED)
    plugin.wait_allocatable(64)
    return plugin


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest, cluster: Kubernetes) -> Figures:
    figures = request.config.stash[FIGURES]
    node = cluster.get("nodes")["items"][0]["status"]["nodeInfo"]
    figures.where = f"Kubernetes {node['kubeletVersion']}, {node['containerRuntimeVersion']}"
    if isinstance(cluster, LocalCluster):
        figures.where += f" on {machine()}"
    return figures


def _reached(cluster: Kubernetes) -> Kubernetes:
    try:
        cluster.nodes()
    except CommandFailed as error:
        raise ClusterUnavailable(str(error)) from error
    return cluster


def _ordinary_node(cluster: Kubernetes) -> str:
    """The first that keeps no ordinary pod away."""
    for node in cluster.get("nodes")["items"]:
        taints = node["spec"].get("taints", ())
        if all(taint["effect"] == "PreferNoSchedule" for taint in taints):
            name: str = node["metadata"]["name"]
            return name
    pytest.fail("every node is tainted: name one by E2E_NODE")

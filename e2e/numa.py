"""A kubelet that aligns: two NUMA nodes out of whatever the machine has, a CPU and the GPUs of a pod on one.

cAdvisor, which tells the kubelet what machine this is, looks for NUMA nodes beneath /sys/devices/system/node.
There the kubelet alone, in a mount namespace of its own, finds another tree.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e import places, settings
from e2e.kubernetes import wait_until
from e2e.local import LocalCluster
from e2e.machine import ClusterUnavailable

Nodes = tuple[frozenset[int], frozenset[int]]
"""The CPUs of each of the two."""

_CPUS = Path("/sys/devices/system/cpu")
_NODES = Path("/sys/devices/system/node")
_TREE = places.STATE / "numa"
_CONFIGURATION = places.STATE / "kubelet-aligning.json"
# The kubelet refuses to start when this was written under another policy.
_CPU_STATE = places.KUBELET / "cpu_manager_state"
# What the kubelet mounts is under its own root, which it shares; /sys is changed for nobody else.
_APART = ("unshare", "--mount", "--propagation", "unchanged", "sh", "-c")
_ELSEWHERE = f'mount --make-private /sys && mount --bind {_TREE} {_NODES} && exec "$@"'


@contextmanager
def aligning_kubelet(cluster: LocalCluster) -> Iterator[Nodes]:
    """All CPUs of the first NUMA node are kept from pods that want whole ones; in the end all is as before.

    CPU manager: static. Topology manager: single-numa-node, for each container.
    """
    nodes = _split()
    _grow(_TREE, nodes)
    usual: settings.Json = json.loads(settings.KUBELET_CONFIGURATION.read_text())
    aligning = {
        "cpuManagerPolicy": "static",
        "topologyManagerPolicy": "single-numa-node",
        "reservedSystemCPUs": _listed(nodes[0]),
    }
    _CONFIGURATION.write_text(json.dumps(usual | aligning))
    before = _cpus(cluster)
    try:
        _restart(cluster, len(nodes[1]), _CONFIGURATION, (*_APART, _ELSEWHERE, "sh"))
        yield nodes
    finally:
        _restart(cluster, before, settings.KUBELET_CONFIGURATION)
        shutil.rmtree(_TREE)


def _restart(cluster: LocalCluster, cpus: int, configuration: Path, under: tuple[str, ...] = ()) -> None:
    """Until the node has that many CPUs to give."""
    cluster.kill_kubelet()
    _CPU_STATE.unlink(missing_ok=True)
    cluster.start_kubelet(configuration=configuration, under=under)
    wait_until(f"{cpus} CPUs to give", lambda: _cpus(cluster) == cpus, within_s=60)


def _cpus(cluster: LocalCluster) -> int:
    return int(cluster.node_status(cluster.node)["allocatable"]["cpu"])


def _split() -> Nodes:
    """Half of the machine's cores each. ClusterUnavailable where there is but one."""
    cores: dict[tuple[str, ...], set[int]] = {}
    for number in sorted(
        int(path.name[3:]) for path in _CPUS.glob("cpu[0-9]*") if (path / "topology").exists()
    ):
        topology = _CPUS / f"cpu{number}" / "topology"
        core = tuple((topology / name).read_text() for name in ("physical_package_id", "core_id"))
        cores.setdefault(core, set()).add(number)
    if len(cores) == 1:
        raise ClusterUnavailable("two NUMA nodes need two CPU cores")
    sets, half = list(cores.values()), len(cores) // 2
    return frozenset[int]().union(*sets[:half]), frozenset[int]().union(*sets[half:])


def _grow(tree: Path, nodes: Nodes) -> None:
    """What cAdvisor reads of a NUMA node: its CPUs, memory, distances and huge pages."""
    like = min(_NODES.glob("node[0-9]*"))
    for number, cpus in enumerate(nodes):
        node = tree / f"node{number}"
        node.mkdir(parents=True)
        for cpu in cpus:
            (node / f"cpu{cpu}").symlink_to(_CPUS / f"cpu{cpu}")
        (node / "meminfo").write_text((like / "meminfo").read_text())
        (node / "distance").write_text("10 20\n" if number == 0 else "20 10\n")
        (node / "hugepages").mkdir()


def _listed(cpus: frozenset[int]) -> str:
    return ",".join(str(cpu) for cpu in sorted(cpus))

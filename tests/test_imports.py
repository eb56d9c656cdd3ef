"""Data flows one way through the package: which room may import which, held against every module.

A room is a file or folder of the package. It may import itself, the rooms its row names, and the values
(`VALUES`) of the rooms above its row; the same goes for what it imports only `if TYPE_CHECKING`, where
anything of a room above will do. Third-party libraries have rooms of their own.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "amdgpu_plugin"
ROOT = Path(__file__).parents[1]
EVERYTHING = frozenset({"*"})

# In the order of the data: values flow down. A longer name is a row of its own inside a room.
ROOMS: dict[str, frozenset[str]] = {
    "sysfs": frozenset(),
    "lanes": frozenset(),
    "capture_file": frozenset({"sysfs"}),
    "product_names": frozenset(),
    "discovery": frozenset({"sysfs", "lanes", "product_names"}),
    "telemetry": frozenset({"sysfs", "lanes"}),
    "health": frozenset(),
    # a verdict is NodeState's word
    "health.policy": frozenset({"node"}),
    "health.listing": frozenset({"node"}),
    "health.uevents": frozenset(),
    # they ask each GPU's lane whether the GPU is there, and the node's what is on it
    "health.monitor": frozenset({"health", "discovery", "telemetry", "node", "lanes", "instruments"}),
    "health.survey": frozenset({"health", "discovery", "node", "lanes"}),
    "health.watch": frozenset({"health", "telemetry", "lanes"}),
    "health.settling": frozenset({"node"}),
    "health.told": frozenset({"health", "discovery", "node"}),
    "node": frozenset(),
    # a JSON file in the state directory
    "kept_file": frozenset(),
    "state": frozenset({"kept_file"}),
    "allocation": frozenset(),
    # a preference that takes long is weighed on a lane
    "kubelet": frozenset({"node", "allocation", "instruments", "lanes"}),
    "kubelet.api": frozenset(),
    "exposition": frozenset({"node", "instruments"}),
    "exposition.kubernetes.told_file": frozenset({"exposition", "kept_file"}),
    "simulation": frozenset({"kubelet.api", "sysfs"}),
    "control": frozenset({"node", "state", "simulation"}),
    "doctor": frozenset({"node"}),
    # the bus is looked at as discovery does, a link's lanes as telemetry does
    "doctor.bus": frozenset({"discovery", "telemetry", "doctor"}),
    "instruments": frozenset(),
    "config": frozenset(),
    "logs": frozenset(),
    # what single rooms take of the Config
    "settings": frozenset({"config", "discovery", "health", "allocation"}),
    # wiring that would not fit on the daemon's two screens
    "remembering": EVERYTHING,
    "announcing": EVERYTHING,
    "showing": EVERYTHING,
    "daemon": EVERYTHING,
    "commands": EVERYTHING,
    "cli": EVERYTHING,
    "__main__": frozenset({"cli"}),
}

FACES = frozenset({"kubelet", "exposition", "control"})

# What holds values and does nothing, importable by every room below it. None means the whole module.
VALUES: dict[str, frozenset[str] | None] = {
    # what a path answers: parsers take it, and are pure
    "sysfs": frozenset(
        {"Absent", "Blob", "Garbled", "Names", "Path", "Refused", "Sysfs", "Text", "Unreadable"}
    ),
    # the lane's word for no answer: health judges it
    "lanes": frozenset({"Hung"}),
    # what a node has: every room speaks of it
    "discovery.inventory": None,
    # the names that styles got outlive the daemon
    "discovery.naming": frozenset({"GivenNames", "Naming"}),
    # what is read of a GPU and what the kernel said of it: policy judges by it, faces show it
    "telemetry.readings": None,
    "telemetry.presence": frozenset({"Bound", "Gone", "NotSeen", "Presence", "Unbound"}),
    "health.events": None,
    # bytes to properties, for the listeners
    "health.datagram": None,
    "health.evidence": None,
    "health.conditions": None,
    # what the kubelet is told of a device: allocation chooses among them; the broadcast is not a value
    "node": frozenset(
        {
            "Condition",
            "GpuStatus",
            "Held",
            "Holder",
            "Holders",
            "ListedDevice",
            "NodeState",
            "Verdict",
        }
    ),
}

# Anything not named here may be imported nowhere.
THIRD_PARTY: dict[str, frozenset[str]] = {
    "asyncinotify": frozenset({"kubelet"}),
    "google": frozenset({"kubelet", "simulation"}),
    "grpc": frozenset({"kubelet", "simulation"}),
    "grpc_tools": frozenset({"kubelet.api"}),
    "h11": frozenset({"exposition"}),
    "prometheus_client": frozenset({"exposition", "instruments"}),
    "pyudev": frozenset({"health.uevents"}),
    "yaml": frozenset({"config"}),
}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported thing: `target` as a dotted name, `name` taken from it, None for the module itself."""

    target: str
    name: str | None
    typing_only: bool


def inside(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def room_of(module: str) -> str | None:
    return max((room for room in ROOMS if inside(module, room)), key=len, default=None)


def imports(tree: ast.Module, package: str, modules: frozenset[str]) -> Iterator[Import]:
    """Every import of a module whose package is `package`, wherever in the module it stands."""
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, None, id(node) in guarded)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*parents, *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                found = Import(whole, None, False) if whole in modules else Import(source, alias.name, False)
                yield Import(found.target, found.name, id(node) in guarded)


def may_import(room: str, wanted: Import) -> bool:
    """Whether a room may import a thing of our own package, `wanted.target` given without the package."""
    target = room_of(wanted.target)
    if target is None:
        return wanted.target == "" and wanted.name == "__version__"
    allowed = ROOMS[room]
    if allowed == EVERYTHING or inside(target, room) or any(inside(target, other) for other in allowed):
        return True
    order = list(ROOMS)
    if order.index(target) > order.index(room):
        return False
    if wanted.typing_only:
        return not {room.partition(".")[0], target.partition(".")[0]} <= FACES
    values = VALUES.get(wanted.target, frozenset())
    return values is None or wanted.name in values


def violations(module: str, source: str, modules: frozenset[str], *, is_package: bool = False) -> list[str]:
    """What a module imports against the tables. `module` and `modules` with the package in front."""
    own = module.removeprefix(PACKAGE).removeprefix(".")
    room = room_of(own)
    if room is None:
        return [f"{own}: in no room of the table"] if own else []
    found = []
    package = module if is_package else module.rpartition(".")[0]
    for wanted in imports(ast.parse(source), package, modules):
        top = wanted.target.split(".")[0]
        if top == PACKAGE:
            ours = wanted.target.removeprefix(PACKAGE).removeprefix(".")
            right = may_import(room, Import(ours, wanted.name, wanted.typing_only))
        else:
            homes = THIRD_PARTY.get(top, frozenset())
            right = top in sys.stdlib_module_names or any(inside(own, home) for home in homes)
        if not right:
            found.append(f"{own} imports {'.'.join(filter(None, [wanted.target, wanted.name]))}")
    return found


def package_files() -> dict[str, Path]:
    paths = sorted((ROOT / PACKAGE).rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


def test_every_module_imports_only_what_its_room_may() -> None:
    files = package_files()
    found = [
        violation
        for module, path in files.items()
        for violation in violations(
            module, path.read_text(), frozenset(files), is_package=path.name == "__init__.py"
        )
    ]
    assert found == []


def test_value_modules_import_nothing_that_does_anything() -> None:
    files = package_files()
    found = [
        wanted
        for name, names in VALUES.items()
        if names is None
        for wanted in imports(ast.parse(files[f"{PACKAGE}.{name}"].read_text()), "", frozenset(files))
        if wanted.target.split(".")[0] not in sys.stdlib_module_names
        and not may_import(
            room_of(name) or name, Import(wanted.target.removeprefix(f"{PACKAGE}."), wanted.name, False)
        )
    ]
    assert found == []


def test_no_row_lets_one_face_import_another() -> None:
    assert {face: ROOMS[face] & FACES for face in FACES} == dict.fromkeys(FACES, frozenset())


KNOWN = frozenset(
    f"{PACKAGE}.{name}"
    for name in (
        "sysfs",
        "lanes",
        "discovery.inventory",
        "node",
        "kubelet",
        "kubelet.api",
        "exposition",
        "daemon",
    )
)


@pytest.mark.parametrize(
    ("module", "source", "named"),
    [
        ("sysfs", "from amdgpu_plugin import lanes", "amdgpu_plugin.lanes"),
        ("node", "from amdgpu_plugin.sysfs import DirectorySysfs", "amdgpu_plugin.sysfs.DirectorySysfs"),
        ("discovery.kfd", "from amdgpu_plugin.node import NodeState", "amdgpu_plugin.node.NodeState"),
        ("discovery.kfd", "from ..node import NodeState", "amdgpu_plugin.node.NodeState"),
        ("health.events", "import amdgpu_plugin.node", "amdgpu_plugin.node"),
        ("allocation.preference", "from amdgpu_plugin.node import Latest", "amdgpu_plugin.node.Latest"),
        ("kubelet.service", "from amdgpu_plugin import exposition", "amdgpu_plugin.exposition"),
        ("simulation.kubelet", "from amdgpu_plugin.kubelet import service", "amdgpu_plugin.kubelet.service"),
        (
            "exposition.page",
            "if TYPE_CHECKING:\n    from amdgpu_plugin import kubelet",
            "amdgpu_plugin.kubelet",
        ),
        ("node", "if TYPE_CHECKING:\n    import amdgpu_plugin.daemon", "amdgpu_plugin.daemon"),
        ("node", "if not TYPE_CHECKING:\n    import amdgpu_plugin.lanes", "amdgpu_plugin.lanes"),
        ("discovery.kfd", "def read():\n    import grpc", "grpc"),
        ("daemon", "import grpc.aio", "grpc.aio"),
        ("health.policy", "import pyudev", "pyudev"),
        ("cli", "import requests", "requests"),
    ],
)
def test_import_against_the_table_is_named(module: str, source: str, named: str) -> None:
    assert violations(f"{PACKAGE}.{module}", source, KNOWN) == [f"{module} imports {named}"]


def test_module_in_no_room_is_named() -> None:
    assert violations(f"{PACKAGE}.attic", "import os", KNOWN) == ["attic: in no room of the table"]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("health.policy", "from amdgpu_plugin.discovery.inventory import Gpu"),
        ("health.policy", "from amdgpu_plugin.lanes import Hung"),
        ("health.monitor", "from amdgpu_plugin import node"),
        ("daemon", "import amdgpu_plugin.health.monitor\nfrom amdgpu_plugin.kubelet import service"),
        ("node", "from amdgpu_plugin.discovery import inventory"),
        ("allocation.preference", "from amdgpu_plugin.node import ListedDevice"),
        ("exposition.page", "if TYPE_CHECKING:\n    import amdgpu_plugin.health.policy"),
        ("simulation.kubelet", "import grpc\nfrom amdgpu_plugin.kubelet.api import deviceplugin_pb2"),
        ("kubelet.service", "from .api import deviceplugin_pb2\nfrom amdgpu_plugin import __version__"),
    ],
)
def test_import_the_table_allows_passes(module: str, source: str) -> None:
    assert violations(f"{PACKAGE}.{module}", source, KNOWN) == []

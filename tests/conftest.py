import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from amdgpu_plugin.cli import main
from amdgpu_plugin.commands.inputs import scratch_parent
from amdgpu_plugin.simulation.node import SimulatedNode
from tests.exposition.kubernetes.apiservers import Authority
from tests.exposition.kubernetes.apiservers import authority as new_authority

# How long an example takes is the machine's affair.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command ended with and wrote."""

    status: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A folder for many small files, in memory where there is some."""
    with tempfile.TemporaryDirectory(prefix="at-", dir=scratch_parent()) as made:
        yield Path(made)


@pytest.fixture
def scratch(memory: Path) -> Iterator[Path]:
    """A folder of the test's own, its path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="", dir=memory) as made:
        yield Path(made)


@pytest.fixture(scope="session")
def tree(memory: Path) -> Callable[[str], str]:
    """The root of a simulated node's sysfs, by its shape; only to be read."""
    roots: dict[str, str] = {}

    def root_of(shape: str) -> str:
        if shape not in roots:
            roots[shape] = SimulatedNode.create(memory / shape, shape).root
        return roots[shape]

    return root_of


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Certificates for an API server of the tests' own."""
    return new_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def account_folder(tmp_path: Path) -> Path:
    """Where a service account's files may be put."""
    return tmp_path / "account"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """`command("discover", "-o", "json")` in this process, without this shell's options.

    Product names come from the node alone: what pci.ids says differs from machine to machine.
    """
    for name in [name for name in os.environ if name.startswith("AMDGPU_PLUGIN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AMDGPU_PLUGIN_HTTP_ADDRESS", "127.0.0.1:0")
    monkeypatch.setattr("amdgpu_plugin.commands.inputs.AMDGPU_IDS", os.devnull)
    monkeypatch.setattr("amdgpu_plugin.commands.inputs.PCI_IDS", os.devnull)
    root, ours = logging.getLogger(), logging.getLogger("amdgpu_plugin")
    before = root.handlers, root.level, ours.level

    def ask(*argv: str) -> Answer:
        status = main(argv)
        said = capsys.readouterr()
        return Answer(status, said.out, said.err)

    yield ask
    root.handlers = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])

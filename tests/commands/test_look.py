"""What is said beside the answer by the verbs that look at a node."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from amdgpu_plugin.commands import look
from amdgpu_plugin.control import ControlError
from tests.conftest import Command

HINT = "amdgpu-plugin: the daemon here simulates its GPUs: add --simulate SHAPE\n"
VERBS = (("discover",), ("topology",), ("prefer", "1"))


class Daemon:
    """Stands in for the one behind the control socket."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    def ask(self, state_dir: str, request: Mapping[str, Any], *, within: float) -> object:
        assert within <= 2
        self.asked.append((state_dir, request))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def machine(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The root of this machine's sysfs, without a GPU."""
    monkeypatch.setattr(look, "THIS_MACHINE", str(scratch))
    return str(scratch)


@pytest.mark.parametrize("words", VERBS)
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ({"simulated": True}, HINT),
        ({"simulated": False}, ""),
        ({}, ""),
        ([], ""),
        (ControlError("nobody"), ""),
    ],
)
def test_a_machine_without_gpus_whose_daemon_simulates_is_hinted_at(
    *,
    words: tuple[str, ...],
    answer: object,
    hint: str,
    machine: str,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    daemon = Daemon(answer)
    monkeypatch.setattr(look, "ask", daemon.ask)
    monkeypatch.setenv("AMDGPU_PLUGIN_STATE_DIR", "/s")
    assert command(*words, "--sysfs-root", machine).err == hint
    assert daemon.asked == [("/s", {"verb": "status"})]


@pytest.mark.parametrize("words", VERBS)
@pytest.mark.parametrize("where", ["--simulate", "--sysfs-root"])
def test_no_daemon_is_asked_of_another_node(
    *,
    words: tuple[str, ...],
    where: str,
    machine: str,
    command: Command,
    tree: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    daemon = Daemon({"simulated": True})
    monkeypatch.setattr(look, "ask", daemon.ask)
    empty = f"{machine}/elsewhere"
    Path(empty).mkdir()
    assert command(*words, where, "apu" if where == "--simulate" else empty).err == ""
    monkeypatch.setattr(look, "THIS_MACHINE", tree("apu"))
    assert command(*words, "--sysfs-root", tree("apu")).err == ""
    assert daemon.asked == []

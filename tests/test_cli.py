import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from amdgpu_plugin.cli import VERBS, main
from amdgpu_plugin.config import OPTIONS, Config, ConfigError, default_config

REPOSITORY = Path(__file__).parents[1]

INPUT_FLAGS = {
    "--config",
    "--sysfs-root",
    "--dev-root",
    "--simulate",
    "--simulate-anyway",
    "--resource-naming",
    "--replicas",
    "--health-read-deadline",
    "--log-level",
    "--log-format",
}


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither this shell's variables get in, nor the logging set up here out."""
    for name in [name for name in os.environ if name.startswith("AMDGPU_PLUGIN_")]:
        monkeypatch.delenv(name)
    root, ours = logging.getLogger(), logging.getLogger("amdgpu_plugin")
    before = root.handlers, root.level, ours.level
    yield
    root.handlers = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


class Verbs:
    """Stands in for the verbs' modules: notes what they are called with, and does `then`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Config, dict[str, Any]]] = []
        self.then: int | BaseException = 0

    def module(self, name: str) -> ModuleType:
        module = ModuleType(f"amdgpu_plugin.commands.{name}")

        def run(config: Config, args: argparse.Namespace) -> int:
            own = {key: value for key, value in vars(args).items() if not key.startswith("--")}
            self.calls.append((name, config, own))
            if isinstance(self.then, BaseException):
                raise self.then
            return self.then

        module.run = run  # type: ignore[attr-defined]
        return module

    @property
    def config(self) -> Config:
        return self.calls[-1][1]


@pytest.fixture
def verbs(monkeypatch: pytest.MonkeyPatch) -> Verbs:
    made = Verbs()
    for name in VERBS:
        monkeypatch.setitem(sys.modules, f"amdgpu_plugin.commands.{name}", made.module(name))
    return made


# -- What is called with what --


@pytest.mark.parametrize(
    ("argv", "own"),
    [
        (["run"], {"verb": "run"}),
        (["discover"], {"verb": "discover", "output": "table"}),
        (["discover", "-o", "json"], {"verb": "discover", "output": "json"}),
        (["discover", "--output", "json"], {"verb": "discover", "output": "json"}),
        (["topology"], {"verb": "topology", "svg": None}),
        (["topology", "--svg", "x.svg"], {"verb": "topology", "svg": "x.svg"}),
        (["capture", "x.gz"], {"verb": "capture", "file": "x.gz", "mask_serials": False}),
        (["capture", "x.gz", "--mask-serials"], {"verb": "capture", "file": "x.gz", "mask_serials": True}),
        (["version"], {"verb": "version"}),
    ],
)
def test_a_verb_gets_its_own_arguments_and_the_defaults(
    verbs: Verbs, argv: list[str], own: dict[str, Any]
) -> None:
    assert main(argv) == 0
    assert verbs.calls == [(argv[0], default_config(), own)]


@pytest.mark.parametrize(
    ("argv", "shape", "pace"),
    [
        ([], "mi300x", None),
        (["mi210:4"], "mi210:4", None),
        (["--simulate", "mi210"], "mi210", None),
        (["mi210", "--simulate", "mi210"], "mi210", None),
        (["--pace", "0"], "mi300x", 0.0),
        (["--pace", "1.5", "apu"], "apu", 1.5),
    ],
)
def test_demo_takes_its_shape_either_way(
    verbs: Verbs, argv: list[str], shape: str, pace: float | None
) -> None:
    assert main(["demo", *argv]) == 0
    assert (verbs.config.simulate, verbs.calls[0][2]["pace"]) == (shape, pace)


def test_demo_takes_its_shape_from_the_environment(verbs: Verbs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMDGPU_PLUGIN_SIMULATE", "apu")
    assert main(["demo"]) == 0
    assert verbs.config.simulate == "apu"


def test_flag_environment_and_file_meet_in_the_config(
    verbs: Verbs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("health: {interval: 7}\nresource_naming: mixed\nlog_level: debug\n")
    monkeypatch.setenv("AMDGPU_PLUGIN_CONFIG", str(file))
    monkeypatch.setenv("AMDGPU_PLUGIN_LOG_LEVEL", "warning")
    monkeypatch.setenv("AMDGPU_PLUGIN_SIMULATE", "mi210")
    assert main(["run", "--simulate=mi300x:4", "--simulate-anyway", "--log-level", "error"]) == 0
    config = verbs.config
    assert (config.config, config.health_interval_seconds, config.resource_naming) == (str(file), 7, "mixed")
    assert (config.simulate, config.simulate_anyway, config.log_level) == ("mi300x:4", True, "error")


def test_version_answers_whatever_the_environment_says(verbs: Verbs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMDGPU_PLUGIN_HEALTH_INTERVAL", "bad")
    assert main(["version"]) == 0
    assert verbs.config == default_config()


def test_warnings_are_logged_in_the_format_asked_for(
    verbs: Verbs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--simulate", "mi300x", "--sysfs-root", "/c", "--log-format", "json"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert '"message": "--sysfs-root: /c is not read, a simulated node takes its place"' in said.err
    assert len(verbs.calls) == 1


# -- Which options which verb takes --


@pytest.mark.parametrize(
    ("verb", "flags"),
    [
        ("run", {option.flag for option in OPTIONS if option.flag}),
        ("demo", {"--simulate", "--log-level", "--log-format", "--pace"}),
        ("discover", INPUT_FLAGS | {"--output"}),
        ("topology", INPUT_FLAGS | {"--svg"}),
        ("capture", INPUT_FLAGS | {"--mask-serials"}),
        ("version", set()),
    ],
)
def test_help_of_a_verb_lists_its_options(
    verb: str, flags: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "--help"]) == 0
    words = capsys.readouterr().out.partition("examples:")[0].replace(",", " ").replace(";", " ").split()
    assert {word for word in words if word.startswith("--")} == flags | {"--help"}


def test_help_of_run_tells_defaults_units_variables_and_what_does_nothing_yet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for option in OPTIONS:
        if option.flag:
            assert f"{option.help} [" in text
            assert f"default: {option.shown_default}; {option.variable}]" in text
    assert "[seconds, 1 to 3600; default: 30; AMDGPU_PLUGIN_HEALTH_INTERVAL]" in text
    assert "examples: amdgpu-plugin run" in text


# -- What is refused --


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["run", "--health-intervall", "3"], "--health-intervall: unknown to amdgpu-plugin run (did you mean --health-interval?)"),
        (["run", "--health", "3"], "--health: unknown to amdgpu-plugin run (did you mean --health-mode?)"),
        (["discover", "--state-dir=/x"], "--state-dir: not an option of amdgpu-plugin discover"),
        (["version", "--log-level", "info"], "--log-level: not an option of amdgpu-plugin version"),
        (["--foo"], "--foo: unknown to amdgpu-plugin"),
        (["--sysfs-root", "/x", "run"], "--sysfs-root: options follow the verb, as in amdgpu-plugin run --sysfs-root"),
        (["run", "extra"], "extra: unknown to amdgpu-plugin run"),
        (["rnu"], "argument VERB: invalid choice: 'rnu'"),
        (["run", "--simulate"], "argument --simulate: expected one argument"),
        (["capture"], "the following arguments are required: FILE"),
        (["discover", "-o", "xml"], "argument -o/--output: invalid choice: 'xml'"),
        (["demo", "--pace", "nan"], "argument --pace: must be seconds between 0 and 3600, got nan"),
        (["demo", "--pace", "slow"], "argument --pace: must be seconds between 0 and 3600, got slow"),
        (["demo", "--pace", "-1"], "argument --pace: must be seconds between 0 and 3600, got -1"),
        (["demo", "mi210", "--simulate", "apu"], "mi210 and --simulate apu: two shapes"),
        (["run", "--health-interval", "0"], "--health-interval: must be between 1 and 3600 seconds, got 0"),
        (["run", "--health-interval", "-5"], "--health-interval: must be between 1 and 3600 seconds, got -5"),
        (["run", "--config", "/nowhere/x"], "--config: cannot read /nowhere/x: No such file or directory"),
        (["run", "--config", "/"], "--config: cannot read /: Is a directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_ends_with_2_and_is_named(
    verbs: Verbs, capsys: pytest.CaptureFixture[str], argv: list[str], said: str
) -> None:
    assert main(argv) == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert answer.err.startswith(f"amdgpu-plugin: error: {said}")
    assert verbs.calls == []


def test_a_bad_variable_is_named(
    verbs: Verbs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMDGPU_PLUGIN_REPLICAS", "many")
    assert main(["discover"]) == 2
    assert (
        capsys.readouterr().err
        == "amdgpu-plugin: error: AMDGPU_PLUGIN_REPLICAS: must be a whole number, got 'many'\n"
    )
    assert verbs.calls == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"health: {intervall: 3}", "{file}: health.intervall: unknown key (did you mean health.interval?)"),
        (b"\xff", "--config: {file} is not UTF-8 text"),
        (b"#" * (1024 * 1024 + 1), "--config: {file} is longer than 1048576 bytes"),
    ],
)
def test_a_bad_file_is_named(
    verbs: Verbs, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    assert main(["run", "--config", str(file)]) == 2
    assert capsys.readouterr().err == f"amdgpu-plugin: error: {said.format(file=file)}\n"
    assert verbs.calls == []


def test_no_verb_shows_the_help_on_stderr_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert all(f"\n    {verb} " in answer.err for verb in VERBS)


# -- How it ends --


@pytest.mark.parametrize("status", [0, 1, 2])
def test_the_verb_decides_the_exit_status(verbs: Verbs, status: int) -> None:
    verbs.then = status
    assert main(["discover"]) == status


def test_what_a_verb_cannot_use_ends_with_2(verbs: Verbs, capsys: pytest.CaptureFixture[str]) -> None:
    verbs.then = ConfigError("no such directory", where="--sysfs-root /x", hint="a directory or a capture")
    assert main(["discover"]) == 2
    said = capsys.readouterr().err
    assert said == "amdgpu-plugin: error: --sysfs-root /x: no such directory (a directory or a capture)\n"


def test_an_interrupt_ends_with_130(verbs: Verbs) -> None:
    verbs.then = KeyboardInterrupt()
    assert main(["discover"]) == 130


def test_a_broken_pipe_that_is_not_stdout_is_a_fault(verbs: Verbs) -> None:
    verbs.then = BrokenPipeError()
    with pytest.raises(BrokenPipeError):
        main(["discover"])


PRINTS_MUCH = """
import sys, types
module = types.ModuleType("amdgpu_plugin.commands.discover")
module.run = lambda config, args: [print("x" * int(size)) for size in sys.argv[1:]] and 0
sys.modules[module.__name__] = module
from amdgpu_plugin.cli import main
sys.exit(main(["discover"]))
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("sizes", [["10"], ["1000000"], ["5000", "5000"]])
def test_a_reader_that_left_is_no_reason_to_complain(sizes: list[str], unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stdout:
        ended = subprocess.run(
            [sys.executable, "-c", PRINTS_MUCH, *sizes],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_python_m_is_the_same_program() -> None:
    command = [sys.executable, "-m", "amdgpu_plugin", "run", "--replicas", "0"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    said = "amdgpu-plugin: error: --replicas: must be between 1 and 256, got 0\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", said)


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_what_needs_no_verb_is_light(words: list[str]) -> None:
    code = (
        f"import sys, amdgpu_plugin.cli as cli; cli.main({words}); "
        "print('heavy:', *sorted({'asyncio', 'google', 'grpc', 'yaml'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert ended.stdout.endswith("\nheavy:\n"), ended.stdout

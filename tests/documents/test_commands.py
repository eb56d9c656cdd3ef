"""Commands in the pages: ours are parsed by our parser and, where they harm nothing, run; others are shell at least.

A `sh` block is either ours on a simulated node or a capture, and run here; or looks at a cluster by kubectl, and
is run by e2e/tests/test_documents.py; or says above it why it is not run: `<!-- not run: … -->`.
"""

import re
import shlex
import shutil
import subprocess
from argparse import Namespace
from itertools import pairwise
from pathlib import Path

import pytest

from amdgpu_plugin import cli
from amdgpu_plugin.config import ConfigError, load_config
from amdgpu_plugin.health.conditions import CONDITIONS
from amdgpu_plugin.simulation.injector import WORDS
from amdgpu_plugin.simulation.shapes import ShapeError, parse_shape
from tests.conftest import Command
from tests.documents.pages import ROOT, Block, blocks, commands, of_plugin, pages, read

SHELL = ("", "sh", "console")
STARTS = ("amdgpu-plugin", ".venv/bin/", "kubectl", "helm", "make", "curl")
LOOKS = {"get", "describe", "logs", "exec"}
OURS = [
    (block, words)
    for block in blocks(*SHELL)
    for command in commands(block)
    if (words := of_plugin(command)) is not None
]
VERBS_THAT_LOOK = {"discover", "topology", "prefer", "doctor"}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
# As in `ack $GPU …`: what a page's first block sets.
PLACEHOLDERS = {"$GPU": "0000:05:00.0", "GPU": "0000:05:00.0", "DEVICE": "0000:05:00.0"}


def place(argument: object) -> str | None:
    return str(argument) if isinstance(argument, Block) else None


def parsed(words: list[str]) -> Namespace:
    """Raises SystemExit, ConfigError or ShapeError for what would be refused."""
    args = cli._parsed(cli._parser(), words)
    flags = {name: value for name, value in vars(args).items() if name.startswith("--")}
    flags.pop("--config", None)  # of a pod or a node; not here
    if flags.keys() & {"--simulate"}:
        parse_shape(flags["--simulate"])
    load_config(flags, {})
    return args


@pytest.mark.parametrize(("block", "words"), OURS, ids=place)
def test_our_commands_are_ones_that_we_take(block: Block, words: list[str]) -> None:
    if block.not_run == "shows a refusal":
        return
    if "--help" in words:
        assert words[0] in cli.VERBS
        return
    args = parsed([PLACEHOLDERS.get(word, word) for word in words])
    if args.verb == "ack":
        assert args.condition in {kind.name for kind in CONDITIONS.values() if kind.acknowledgeable}
    if args.verb == "inject":
        assert re.sub("=.*", "=MODE", args.what) in WORDS


@pytest.mark.parametrize(
    "words",
    [
        ["discover", "--sysfsroot", "x"],
        ["run", "--health-mode", "off"],
        ["look"],
        ["run", "--simulate", "mi1"],
    ],
)
def test_what_we_do_not_take_is_noticed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((SystemExit, ConfigError, ShapeError)):
        parsed(words)
    capsys.readouterr()


def can_run(words: list[str]) -> bool:
    where = {"--simulate", "--sysfs-root"}
    return words[0] in VERBS_THAT_LOOK and any(
        flag in where and not value.endswith(".gz") and (flag == "--simulate" or (ROOT / value).exists())
        for flag, value in pairwise(words)
    )


RUNS = sorted({shlex.join(words) for _, words in OURS if words and can_run(words)})


@pytest.mark.parametrize("line", RUNS)
def test_commands_on_simulated_nodes_and_captures_run(
    line: str, command: Command, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scratch / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(scratch)
    answer = command(*shlex.split(line))
    assert answer.out
    assert answer.status in ({0, 1} if line.startswith("doctor") else {0})


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_a_shell_block_is_run_or_says_why_not(block: Block) -> None:
    if block.not_run:
        return
    said = commands(block)
    here = all((words := of_plugin(one)) is not None and can_run(words) for one in said)
    there = all(one[0] == "kubectl" and LOOKS & set(one) and "--follow" not in one for one in said)
    assert here or there, f"{block}: run by no test; put <!-- not run: why --> above it"


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_shell_blocks_are_shell(block: Block) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed here")
    ran = subprocess.run([bash, "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert ran.stderr == ""


def test_make_targets_exist() -> None:
    said = [(str(block), one) for block in blocks(*SHELL) for one in commands(block) if one[0] == "make"]
    said += [(page.name, word.split()) for page in pages() for word in page.words if word.startswith("make ")]
    unknown = [
        f"{place}: {' '.join(words)}"
        for place, words in said
        for word in words[1:]
        if re.fullmatch(r"[a-z-]+", word.split("=")[0]) and "=" not in word and word not in TARGETS
    ]
    assert unknown == []


def test_flags_after_a_verb_in_running_text_are_the_verbs_own() -> None:
    unknown = []
    for page in pages():
        for text in page.words:
            match text.split():
                case ["amdgpu-plugin", "--version"]:
                    pass
                case ["amdgpu-plugin", verb, *rest] if verb.islower():
                    own = {"-o", "--help", *own_flags(verb)}
                    asked = [word.split("=")[0] for word in rest if word.startswith("-")]
                    unknown += [f"{page.name}: {text}" for flag in asked if flag not in own]
    assert unknown == []


def own_flags(verb: str) -> set[str]:
    """KeyError for no verb of ours."""
    choices = next(action.choices for action in cli._parser()._actions if action.dest == "verb")
    assert isinstance(choices, dict)
    return set(choices[verb]._option_string_actions)


def test_commands_are_found_in_blocks_as_people_write_them() -> None:
    page = read(
        ROOT / "imagined.md",
        "```sh\nA=1 amdgpu-plugin status -o json | jq .x   # words\nkubectl exec $POD -- \\\n  amdgpu-plugin ack $GPU Hot\n```\n"
        "```console\nnode$ .venv/bin/amdgpu-plugin version\n0.1.0\n```\n"
        "<!-- not run: a reason -->\n```sh\nrm x\n```\n",
    )
    first, second, third = page.blocks
    found = [of_plugin(one) for block in page.blocks for one in commands(block)]
    assert found == [["status", "-o", "json"], ["ack", "$GPU", "Hot"], ["version"], None]
    assert (first.not_run, second.not_run, third.not_run) == (None, None, "a reason")
    assert third.line == 11


def test_an_upgrade_keeps_what_was_set_before() -> None:
    """Helm forgets it where any value is given and nothing says otherwise; --reuse-values forgets new defaults."""
    upgrades = [
        (block, words)
        for block in blocks(*SHELL)
        for words in commands(block)
        if words[:2] == ["helm", "upgrade"]
    ]
    assert upgrades != []
    assert [str(block) for block, words in upgrades if "--reset-then-reuse-values" not in words] == []

import pytest

from amdgpu_plugin.cli import VERBS
from amdgpu_plugin.commands.demo import TERMINAL_PACE_SECONDS
from tests.conftest import Command


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_names_its_options_and_an_example(verb: str, command: Command) -> None:
    answer = command(verb, "--help")
    assert (answer.status, answer.err) == (0, "")
    assert [flag for flag in VERBS[verb].flags if f"{flag} " not in answer.out] == []
    assert f"amdgpu-plugin {verb}" in answer.out.partition("examples:")[2]


def test_help_names_every_verb_and_what_it_does(command: Command) -> None:
    words = command("--help").out
    assert [
        name for name, verb in VERBS.items() if f" {name} " not in words or verb.help[:20] not in words
    ] == []


def test_help_of_the_demo_names_its_pace(command: Command) -> None:
    words = " ".join(command("demo", "--help").out.split())
    assert f"0 for none; default: {TERMINAL_PACE_SECONDS:g} on a terminal, else 0" in words

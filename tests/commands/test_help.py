import pytest

from amdgpu_plugin.cli import VERBS
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

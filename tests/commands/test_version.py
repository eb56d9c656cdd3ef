from importlib.metadata import version

import pytest

from tests.conftest import Answer, Command


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version_is_that_of_the_package(word: str, command: Command) -> None:
    assert command(word) == Answer(0, f"amdgpu-plugin {version('amdgpu-plugin')}\n", "")

from importlib.metadata import version

from tests.conftest import Answer, Command


def test_version_is_that_of_the_package(command: Command) -> None:
    assert command("version") == Answer(0, f"amdgpu-plugin {version('amdgpu-plugin')}\n", "")

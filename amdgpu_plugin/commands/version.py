"""`version`."""

import argparse

from amdgpu_plugin import __version__
from amdgpu_plugin.config import Config


def run(config: Config, args: argparse.Namespace) -> int:  # noqa: ARG001 - every verb has this shape
    """Prints the version of this program."""
    print(f"amdgpu-plugin {__version__}")
    return 0

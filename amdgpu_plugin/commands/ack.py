"""`ack`: an operator's word that a condition is known, so that it stops counting."""

import argparse
import sys

from amdgpu_plugin.config import Config
from amdgpu_plugin.control import ControlError, ask


def run(config: Config, args: argparse.Namespace) -> int:
    """0: done; 1: the daemon refused or cannot be reached."""
    request = {
        "verb": "ack",
        "device": args.device,
        "condition": args.condition,
        "reason": args.reason,
        "seconds": args.seconds,
    }
    try:
        print(ask(config.state_dir, request))
    except ControlError as error:
        print(f"amdgpu-plugin: error: {error}", file=sys.stderr)
        return 1
    return 0

"""Prints the reference page of the options."""

import sys

from amdgpu_plugin.config.reference import reference

if __name__ == "__main__":
    sys.stdout.buffer.write(reference().encode())

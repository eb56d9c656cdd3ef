"""`python -m amdgpu_plugin` is `amdgpu-plugin`."""

import sys

from amdgpu_plugin.cli import main

if __name__ == "__main__":
    sys.exit(main())

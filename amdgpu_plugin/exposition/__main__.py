"""Prints the reference page of the metrics."""

import sys

from amdgpu_plugin.exposition.reference import metrics_page

if __name__ == "__main__":
    sys.stdout.buffer.write(metrics_page().encode())

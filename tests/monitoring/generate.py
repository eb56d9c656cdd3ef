"""Writes the chart's dashboards: run `.venv/bin/python -m tests.monitoring.generate` after a change in `dashboards/`."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.monitoring.dashboards.document import document
from tests.monitoring.dashboards.fleet import FLEET_BOARD
from tests.monitoring.dashboards.gpu import GPU_BOARD
from tests.monitoring.dashboards.model import Dashboard
from tests.monitoring.dashboards.node import NODE_BOARD

FOLDER = Path(__file__).parents[2] / "helm" / "amdgpu-plugin" / "files" / "dashboards"
DASHBOARDS: Mapping[str, Dashboard] = {"fleet": FLEET_BOARD, "node": NODE_BOARD, "gpu": GPU_BOARD}
"""By the name of the file."""


def text(dashboard: Dashboard) -> str:
    """As the file holds it."""
    return json.dumps(document(dashboard), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, dashboard in DASHBOARDS.items():
        (FOLDER / f"{name}.json").write_text(text(dashboard))

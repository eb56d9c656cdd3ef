"""What was measured on the way: printed at the end, and written where somebody asks for it."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

HEAD = """# On a real cluster

By `E2E_WRITE=1 make e2e`, {where}.

| what | figure |
|---|---|
"""


@dataclass(slots=True)
class Figures:
    """Rows in the order they were measured; `where` is the cluster they were measured on."""

    where: str = ""
    rows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, what: str, figure: str) -> None:
        self.rows.append((what, figure))

    def markdown(self) -> str:
        return HEAD.format(where=self.where) + "".join(
            f"| {what} | {figure} |\n" for what, figure in self.rows
        )


def seconds(values: Sequence[float]) -> str:
    """`0.31 s`, or `0.31 s (0.20–0.52, 10 times)`, the first being the median."""
    if len(values) == 1:
        return f"{values[0]:.2f} s"
    return f"{median(values):.2f} s ({min(values):.2f}–{max(values):.2f}, {len(values)} times)"


def machine() -> str:
    """`2 × AMD EPYC, Linux 6.18`."""
    with open("/proc/cpuinfo") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return f"{os.cpu_count()} × {name}, Linux {platform.release()}"

"""`make bench`: measures, prints, and writes benchmarks/results.md; with ARGS=Health one section of it.

Figures are medians of repeated runs on the machine they name; where a goal is a ratio, both sides are
measured in the same run, in turns.
"""

import asyncio
import os
import platform
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from benchmarks import allocate, discovery, exposition, health, preference, restarts, scraped, start
from benchmarks.report import Row, table

RESULTS = Path(__file__).with_name("results.md")
SECTIONS: tuple[tuple[str, Callable[[], Awaitable[list[Row]]]], ...] = (
    ("Start and memory", start.measure),
    ("Discovery", discovery.measure),
    ("Allocate", allocate.measure),
    ("Preferred allocation", preference.measure),
    ("Kubelet restarts", restarts.measure),
    ("Health", health.measure),
    ("Metrics and HTTP", exposition.measure),
    ("Everything on", scraped.measure),
)


def main(asked: Sequence[str]) -> int:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    parts = {"": f"# Benchmarks\n\nBy `make bench`, on {machine()}. Medians unless said otherwise.\n"}
    if asked:
        parts |= _sections(RESULTS.read_text())
    missed = 0
    for title, measure in SECTIONS:
        if asked and title not in asked:
            continue
        rows = asyncio.run(_measured(measure))
        missed += sum(row.met is False for row in rows)
        parts[title] = f"## {title}\n\n{table(rows)}\n"
        print(parts[title], flush=True)
    RESULTS.write_text("\n".join(parts.values()))
    print(f"written: {RESULTS.name}; goals missed: {missed}")
    return 0


def _sections(text: str) -> dict[str, str]:
    """What an earlier run wrote, by title."""
    found = text.split("\n## ")[1:]
    return {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in found}


async def _measured(measure: Callable[[], Awaitable[list[Row]]]) -> list[Row]:
    return await measure()


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    model = next(models, platform.machine())
    return (
        f"{os.cpu_count()} × {model}, Linux {platform.release()}, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

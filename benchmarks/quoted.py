"""The figures that docs/performance.md quotes: `python -m benchmarks.quoted` writes them anew.

A row is quoted by its first cell, word for word; its second is from the file that the table's mark names.
"""

import re
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
_TABLE = re.compile(r"<!-- quoted: (\S+) -->\n((?:\|.*\n)+)")
_HEAD = ("what", "---")


def rows(text: str) -> dict[str, str]:
    """Figures by what they are of; of two rows that say the same, the first."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("| "):
            what, figure = (cell.strip() for cell in line.split("|")[1:3])
            found.setdefault(what, figure)
    return found


def quoted(page: str, measured: Mapping[str, Mapping[str, str]]) -> str:
    """The page with the figures of `measured`, by file. KeyError names what no file has."""

    def table(found: re.Match[str]) -> str:
        figures = measured[found[1]]
        wanted = [what for what in rows(found[2]) if what not in _HEAD]
        lines = ["| what | figure |", "|---|---|", *(f"| {what} | {figures[what]} |" for what in wanted)]
        return f"<!-- quoted: {found[1]} -->\n" + "\n".join(lines) + "\n"

    return _TABLE.sub(table, page)


def measured() -> dict[str, dict[str, str]]:
    return {name: rows((HERE / name).read_text()) for name in ("results.md", "e2e.md")}


if __name__ == "__main__":
    PAGE.write_text(quoted(PAGE.read_text(), measured()))

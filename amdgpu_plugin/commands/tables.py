"""Plain text tables."""

from collections.abc import Iterator, Sequence


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Each row as a line, its cells padded to their column, with two blanks between."""
    rows = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _printable(cell: str) -> str:
    """What a file says may hold line ends and terminal controls."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cell)

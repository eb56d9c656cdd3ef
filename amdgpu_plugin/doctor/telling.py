"""Findings as text for people, JSON for programs, and the line that node-problem-detector reads. Pure."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from amdgpu_plugin.doctor.finding import Finding
from amdgpu_plugin.doctor.looked import Looked

NPD_LIMIT = 80
"""Bytes: node-problem-detector's default max_output_length; it cuts what is longer."""

_MOST_LINES = 8
_WIDTH = 100


def problems(found: Sequence[Finding]) -> int:
    """How many of them are problems."""
    return sum(one.severity == "problem" for one in found)


def as_json(looked: Looked, found: Sequence[Finding]) -> str:
    """`daemon` is the version of the one that told, null where none did."""
    answer = {
        "source": looked.source,
        "where": looked.where,
        "daemon": None if looked.daemon is None else looked.daemon.version,
        "problems": problems(found),
        "remarks": len(found) - problems(found),
        "findings": [asdict(one) for one in found],
    }
    return json.dumps(answer, indent=2)


def as_text(looked: Looked, found: Sequence[Finding]) -> str:
    """What was looked at, a paragraph for each finding, and how many there are."""
    return "\n".join((f"{_opening(looked)}: {_counted(looked)}.", "", *_paragraphs(found), _sum(found)))


def npd_line(looked: Looked, found: Sequence[Finding]) -> str:
    """One line of at most NPD_LIMIT bytes: the first problem and how many more there are."""
    wrong = [one for one in found if one.severity == "problem"]
    if not wrong:
        return _cut(f"AMD GPUs: no problem; {_counted(looked)}", NPD_LIMIT)
    more = f" (+{len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return _cut(f"{wrong[0].name}: {wrong[0].evidence[0]}", NPD_LIMIT - len(more)) + more


def _opening(looked: Looked) -> str:
    match looked.source:
        case "daemon":
            version = "" if looked.daemon is None else f" ({looked.daemon.version})"
            return f"Asked the running daemon{version}"
        case "simulated":
            return f"Looked at a simulated node, {looked.where}"
    return f"Looked at {looked.where}"


def _counted(looked: Looked) -> str:
    gpus = _many(len(looked.node.inventory.gpus), "GPU")
    if looked.daemon is None:
        devices = sum(len(gpu.devices) for gpu in looked.node.inventory.gpus)
        return f"{gpus}, {_many(devices, 'device')}, health not known"
    healthy = sum(listed.healthy for listed in looked.node.devices)
    return f"{gpus}, {healthy} of {_many(len(looked.node.devices), 'device')} healthy"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _paragraphs(found: Sequence[Finding]) -> Iterator[str]:
    for one in found:
        yield f"{one.severity.upper()} {one.name}"
        yield from _wrapped("  ", one.what)
        for line in one.evidence[:_MOST_LINES]:
            yield f"  seen: {_printable(line)}"
        if len(one.evidence) > _MOST_LINES:
            yield f"  seen: and {len(one.evidence) - _MOST_LINES} more (-o json has them all)"
        yield from _wrapped("  do:   ", one.advice)
        yield ""


def _wrapped(lead: str, text: str) -> Iterator[str]:
    # Commands and paths are for copying: not to be cut at their hyphens.
    yield from textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _sum(found: Sequence[Finding]) -> str:
    wrong = problems(found)
    remarks = len(found) - wrong
    told = _many(wrong, "problem") if wrong else "No problem"
    return f"{told}, {_many(remarks, 'remark')}." if remarks else f"{told}."


def _printable(text: str) -> str:
    """What a file says may hold line ends and terminal controls."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _cut(text: str, limit: int) -> str:
    """At most so many bytes; no character is cut in two."""
    whole = _printable(text).encode()
    return whole.decode() if len(whole) <= limit else f"{whole[: limit - 3].decode(errors='ignore')}..."

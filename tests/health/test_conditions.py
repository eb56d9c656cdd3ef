"""The table of conditions, and that docs/health.md tells it. Run as a module, this writes it into the page."""

import re
from pathlib import Path

import pytest

from amdgpu_plugin.health.conditions import CONDITIONS, FACTS, TABLE, ConditionKind

PAGE = Path(__file__).parents[2] / "docs" / "health.md"
MADE = re.compile(r"(<!-- Below: .*? -->\n).*?(<!-- /conditions -->\n)", re.DOTALL)


def table() -> str:
    """As Markdown."""
    rows = "".join(f"| {' | '.join(cells(kind))} |\n" for kind in TABLE)
    return f"\n| condition | raised by | cleared by | default | what to do |\n| --- | --- | --- | --- | --- |\n{rows}\n"


def cells(kind: ConditionKind) -> tuple[str, ...]:
    number = "" if kind.number is None else f", `{kind.number.key}` {kind.number.default or 'unset'}"
    default = "always unhealthy" if kind.effect is None else f"{kind.effect}{number}"
    return f"`{kind.name}`", kind.source, kind.end, default, kind.advice


def with_table(page: str) -> str:
    return MADE.sub(lambda found: found[1] + table() + found[2], page)


def test_the_page_tells_the_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_table(page), "python -m tests.health.test_conditions"
    assert table() in page


def test_names_are_unique_and_camel_case() -> None:
    assert len(CONDITIONS) == len(TABLE)
    assert [name for name in CONDITIONS if not re.fullmatch(r"([A-Z][a-z]+)+", name)] == []


def test_defaults_are_the_ones_promised() -> None:
    grave = "DriverUnbound DeviceLost Wedged BusError UncorrectableErrors BadPageThreshold Overheated Unresponsive RenderNodeMissing"
    mild = "CorrectableErrors LinkDegraded Throttled Hot Busy PendingPages LeftoverMemory PluginStarved"
    assert {name: kind.effect for name, kind in CONDITIONS.items()} == {
        **dict.fromkeys(grave.split(), "unhealthy"),
        **dict.fromkeys(mild.split(), "inform"),
        **dict.fromkeys(FACTS, None),
    }
    assert FACTS == ("Retired", "HeldElsewhere")


def test_what_makes_unhealthy_comes_first() -> None:
    effects = [kind.effect for kind in TABLE if kind.effect is not None]
    assert effects == sorted(effects, reverse=True)


def test_what_can_be_acknowledged() -> None:
    assert [name for name, kind in CONDITIONS.items() if kind.acknowledgeable] == [
        "Wedged",
        "BusError",
        "UncorrectableErrors",
        "BadPageThreshold",
    ]


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.name)
def test_every_row_tells_what_to_do_in_whole_sentences(kind: ConditionKind) -> None:
    assert [
        text for text in (kind.source, kind.end, kind.advice) if not re.fullmatch(r"[^|\n]+\.", text)
    ] == []


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

"""Figures in docs/performance.md are those of the measurements."""

import re

import pytest

from benchmarks import quoted

PAGE = quoted.PAGE.read_text()


def test_figures_are_quoted_word_for_word() -> None:
    """After a measurement: `.venv/bin/python -m benchmarks.quoted`."""
    assert quoted.quoted(PAGE, quoted.measured()) == PAGE


def test_no_figure_stands_outside_of_what_is_quoted() -> None:
    prose = re.sub(r"^\|.*\n", "", PAGE, flags=re.MULTILINE)
    assert re.findall(r"\d[\d.,]* ?(?:µs|ms|MiB|%|×)", prose) == []


def test_a_row_that_nobody_measured_is_noticed() -> None:
    page = "<!-- quoted: e2e.md -->\n| what | figure |\n|---|---|\n| a wish | 1 ms |\n"
    with pytest.raises(KeyError, match="a wish"):
        quoted.quoted(page, quoted.measured())


def test_a_figure_that_changed_is_written_anew() -> None:
    page = "x\n<!-- quoted: r -->\n| what | figure |\n|---|---|\n| a | 1 ms |\n\ny\n"
    assert quoted.quoted(page, {"r": {"a": "2 ms", "b": "3 ms"}}) == page.replace("1 ms", "2 ms")

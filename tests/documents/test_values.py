"""Values of the chart that the pages show are rendered by Helm, with the chart's schema."""

import re
import shlex
from itertools import pairwise
from typing import Any

import pytest
import yaml

from tests.documents.pages import Block, blocks, commands, pages
from tests.helm.chart import helm, render_text

VALUES = [block for block in blocks("yaml") if block.text.startswith("# values.yaml")]
SETTING = ("--set", "--set-string")
SET = [
    (str(block), words)
    for block in blocks("", "sh", "console")
    for words in commands(block)
    if words[0] == "helm" and set(SETTING) & set(words)
] + [
    (page.name, ["helm", *shlex.split(word)])
    for page in pages()
    for word in page.words
    if word.startswith("--set ") and "…" not in word
]


def set_by(words: list[str]) -> dict[str, Any]:
    """What `--set a.b=c,d=e` gives; without lists, which no page sets so."""
    values: dict[str, Any] = {}
    for flag, text in pairwise(words):
        if flag in SETTING:
            for part in re.split(r"(?<!\\),", text):
                path, _, value = part.partition("=")
                put(values, path.split("."), value if flag == "--set-string" else yaml.safe_load(value))
    return values


def put(values: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        values = values.setdefault(name, {})
    values[path[-1]] = value


@pytest.mark.parametrize("block", VALUES, ids=str)
def test_values_that_pages_show_are_taken(block: Block) -> None:
    assert "kind: DaemonSet" in render_text(yaml.safe_load(block.text))


@pytest.mark.parametrize(("place", "words"), SET, ids=lambda value: value if isinstance(value, str) else "")
def test_settings_on_the_command_line_are_taken(place: str, words: list[str]) -> None:
    assert set_by(words), place
    assert "kind: DaemonSet" in render_text(set_by(words))


def test_what_the_chart_does_not_take_is_noticed() -> None:
    assert set_by(["helm", "--set", "a.b=c,d=true", "--set-string", "e=1"]) == {
        "a": {"b": "c"},
        "d": True,
        "e": "1",
    }
    with pytest.raises(helm.HelmError):
        render_text(set_by(["helm", "--set", "podMonitor.on=true"]))

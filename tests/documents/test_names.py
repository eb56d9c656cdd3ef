"""What pages name in backticks and calls ours, there is: metrics, alerts, findings, options, keys, values, conditions."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from amdgpu_plugin import cli
from amdgpu_plugin.config import OPTIONS
from amdgpu_plugin.doctor.kinds import TABLE
from amdgpu_plugin.exposition import reading_rows, state_rows
from amdgpu_plugin.health.conditions import CONDITIONS
from amdgpu_plugin.instruments import Instruments
from tests.documents.pages import ROOT, Page, pages, read

CHART = ROOT / "helm" / "amdgpu-plugin"
# Their past, and why something is not so, is told there in the words of then.
HISTORY = {"CHANGELOG.md", "docs/decisions.md"}
PAGES = [page for page in pages() if page.name not in HISTORY]

METRICS = {row.family.name for row in (*state_rows.ROWS, *reading_rows.ROWS)} | {
    family.name for family in Instruments().families
}
RULES = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())["groups"][0]["rules"]
ALERTS = {rule["alert"] for rule in RULES if "alert" in rule}
FINDINGS = {kind.name for kind in TABLE}
KEYS = {option.key for option in OPTIONS if option.key}
SECTIONS = {key.partition(".")[0] for key in KEYS if "." in key}
FLAGS = {option.flag for option in OPTIONS if option.flag is not None}
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
# Words of the plugin's own that look like a metric: names of variables in lower case, folders, modules.
NO_METRIC = re.compile(r"amdgpu_(xcp|plugin$|plugin[./]|amdgpu|bad_page_threshold)|amdgpu_plugin_?$")
# A pod has a securityContext as well.
OUR_SECTIONS = (SECTIONS | set(SCHEMA["properties"])) - {"securityContext"}
FILE = re.compile(r"\.(ya?ml|json|py|md|txt|sock|tpl|svg)$")
# Flags of other programs that pages name without the program.
FOREIGN_FLAGS = {
    "--image",
    "--kubelet-restart",
    "--previous",
    "--prometheus",
    "--require-hashes",
    "--resource_naming_strategy",
    "--root-dir",
    "--set",
}
# Of the JSON at /api/v1/node, in the same words.
API = json.loads((ROOT / "docs" / "node.schema.json").read_text())["properties"]


def words(page: Page) -> Iterator[str]:
    """The first word of each span, and of a list in one the others as well; what another program is told is its own."""
    for text in page.words:
        first, *others = text.split()
        yield first.rstrip(",:")
        if first.endswith(","):
            yield from (word.rstrip(",") for word in others)


def unknown_metric(word: str) -> bool:
    name = re.match(r"amdgpu_[a-z_]+", word)
    if name is None or NO_METRIC.match(word):
        return False
    return name[0].removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") not in METRICS


def unknown_alert(word: str) -> bool:
    name = re.match(r"AmdGpu\w+", word)
    return name is not None and name[0] not in ALERTS


def unknown_flag(word: str) -> bool:
    flag = re.match(r"--[a-z][a-z_-]*", word)
    return flag is not None and flag[0] not in FLAGS | VERB_FLAGS | FOREIGN_FLAGS


def unknown_key(word: str) -> bool:
    """`health.mode` and the like: a key of the configuration, or a value of the chart."""
    found = re.fullmatch(r"([a-z][A-Za-z]*)(\.[A-Za-z_]+)+", word)
    if found is None or found[1] not in OUR_SECTIONS or FILE.search(word):
        return False
    key = word.removeprefix("config.")
    return not (
        key in KEYS or any(known.startswith(f"{key}.") for known in KEYS) or deeper(key) or elsewhere(key)
    )


def elsewhere(key: str) -> bool:
    first, _, second = key.partition(".")
    return in_chart(key) or second in API.get(first, {}).get("properties", {})


def deeper(key: str) -> bool:
    """Below a key that holds a mapping or a list, as `health.conditions.Hot`."""
    return any(key.startswith(f"{known}.") for known in KEYS)


def in_chart(path: str) -> bool:
    schema: Any = SCHEMA
    for part in path.split("."):
        if "$ref" in schema:
            schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
        properties = schema.get("properties", {})
        if part not in properties:
            return not properties and schema.get("additionalProperties", True) is not False
        schema = properties[part]
    return True


def verb_flags() -> set[str]:
    choices = next(action.choices for action in cli._parser()._actions if action.dest == "verb")
    assert isinstance(choices, dict)
    return {flag for parser in choices.values() for flag in parser._option_string_actions}


VERB_FLAGS = verb_flags()
KINDS = [unknown_metric, unknown_alert, unknown_flag, unknown_key]


@pytest.mark.parametrize("unknown", KINDS)
def test_what_is_named_there_is(unknown: Any) -> None:
    assert [f"{page.name}: {word}" for page in PAGES for word in words(page) if unknown(word)] == []


def test_findings_that_pages_name_there_are() -> None:
    """As in: finding `a-b`, or `c-d` or `e-f`."""
    said = re.compile(r"\b[Ff]indings?\s+((?:`[\w-]+`(?:,\s+|\s+or\s+|\s+and\s+)?)+)")
    named = [
        (page.name, name)
        for page in PAGES
        for group in said.findall(page.prose)
        for name in re.findall(r"`([\w-]+)`", group)
    ]
    assert len(named) > 20
    assert [f"{name}: {finding}" for name, finding in named if finding not in FINDINGS] == []


def test_conditions_that_pages_set_there_are() -> None:
    """Under `conditions:` of a block of YAML; tables of conditions are made of the code."""
    text = "\n".join(block.text for page in PAGES for block in page.blocks if block.language == "yaml")
    named = re.findall(r"^ +([A-Z]\w+): \{(?:effect|threshold|limit)", text, re.MULTILINE)
    assert named
    assert [name for name in named if name not in CONDITIONS] == []


def test_every_capture_is_named_in_what_was_tested() -> None:
    page = read(ROOT / "docs" / "compatibility.md")
    captures = {path.stem for path in (ROOT / "tests" / "fixtures" / "sysfs").glob("*.capture")}
    assert captures - set(page.words) == set()
    table = page.prose.split("## GPUs\n")[1].split("\n## ")[0].splitlines()
    named = {
        name for row in table if row.startswith("|") for name in re.findall("`([a-z0-9-]+-[a-z0-9-]+)`", row)
    }
    assert named - captures == set()


def test_words_to_look_for_in_the_log_are_words_of_the_code() -> None:
    sources = "".join(path.read_text() for path in sorted((ROOT / "amdgpu_plugin").rglob("*.py")))
    section = (
        (ROOT / "docs" / "operate.md")
        .read_text()
        .split("## What to look for in the log\n")[1]
        .split("\n## ")[0]
    )
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    looked_for = [words for row in rows for words in re.findall("`([^`]+)`", row)]
    assert len(looked_for) > 15
    assert [words for words in looked_for if not re.search(f'"{re.escape(words)}', sources)] == []


def test_what_is_not_there_is_noticed() -> None:
    text = (
        "`amdgpu_power_watts{gpu}` `amdgpu_powder_watts` `amdgpu_plugin_rpc_seconds_bucket` `AmdGpuHot` `AmdGpuCold` "
        "`--health-mode observe` `--heath-mode` `health.mode` `health.mood` `podMonitor.enabled` `podMonitor.on` "
        "`health.conditions.Hot` `health.md`"
    )
    page = read(Path(ROOT / "imagined.md"), text)
    assert [word for word in words(page) if any(unknown(word) for unknown in KINDS)] == [
        "amdgpu_powder_watts",
        "AmdGpuCold",
        "--heath-mode",
        "health.mood",
        "podMonitor.on",
    ]

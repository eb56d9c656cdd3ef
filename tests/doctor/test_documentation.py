"""docs/doctor.md against the table of findings and the command line."""

import json
import re
from pathlib import Path

import pytest

from amdgpu_plugin import cli
from amdgpu_plugin.control import ANSWER_SECONDS
from amdgpu_plugin.doctor.kinds import TABLE, Severity
from amdgpu_plugin.doctor.telling import NPD_LIMIT

PAGE = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()


def cell(text: str) -> str:
    return text.replace("|", "\\|")


@pytest.mark.parametrize(("title", "severity"), [("Problems", "problem"), ("Remarks", "remark")])
def test_the_tables_are_those_of_the_code(title: str, severity: Severity) -> None:
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{kind.name}` | {cell(kind.what)} | {cell(kind.evidence)} | {cell(kind.advice)} |"
        for kind in TABLE
        if kind.severity == severity
    ]


def test_advice_is_told_in_words_for_a_terminal() -> None:
    assert [kind.name for kind in TABLE if not kind.what.endswith(".") or not kind.advice.endswith(".")] == []


def test_the_detectors_configuration_is_one_that_works() -> None:
    blocks = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (configuration,) = map(json.loads, blocks)
    (rule,) = configuration["rules"]
    (condition,) = configuration["conditions"]
    limits = configuration["pluginConfig"]
    args = cli._parsed(cli._parser(), rule["args"])
    deadline = float(getattr(args, "--health-read-deadline"))
    assert (args.verb, args.npd, rule["condition"]) == ("doctor", True, condition["type"])
    assert limits["max_output_length"] == NPD_LIMIT
    assert float(limits["timeout"].removesuffix("s")) > ANSWER_SECONDS + deadline

"""The chart's rules, by Debian's promtool: they parse, and each alert fires, is quiet and resolves."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from amdgpu_plugin.exposition import reading_rows, state_rows
from amdgpu_plugin.instruments import Instruments

ROOT = Path(__file__).parents[2]
RULES_FILE = ROOT / "helm" / "amdgpu-plugin" / "files" / "rules.yaml"
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text()
CASES = sorted(Path(__file__).parent.glob("*_test.yaml"))

(GROUP,) = yaml.safe_load(RULES_FILE.read_text())["groups"]
RECORDED = {rule["record"]: rule["expr"] for rule in GROUP["rules"] if "record" in rule}
ALERTS = [rule for rule in GROUP["rules"] if "alert" in rule]
NAMES = list(dict.fromkeys(rule["alert"] for rule in ALERTS))
SEVERITIES = ["critical", "warning", "info"]
# Of Prometheus itself and of kube-state-metrics.
OF_OTHERS = {"kube_node_info", "up"}
SERIES = re.compile(r"\b((?:\w+:)?(?:amdgpu|kube)_\w+(?::\w+)?|up)\b")
PROMQL = re.compile(r"```promql\n(.*?)```", re.DOTALL)
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def promtool(*words: object) -> str:
    """What it says when it has no complaint."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed here; on Debian: apt-get install prometheus")
    ran = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False, timeout=50)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def exposed() -> set[str]:
    """The names of all metrics of the daemon."""
    rows = (row.family.name for row in (*state_rows.ROWS, *reading_rows.ROWS))
    return {*rows, *(family.name for family in Instruments().families)}


def series_of(text: str) -> set[str]:
    """Names of series in a query, or in what is queried by a template, without those in quotes."""
    return set(SERIES.findall(re.sub(r'=~?"[^"]*"', "", text)))


def queried(rule: dict[str, Any]) -> Iterator[str]:
    """All queries of an alert: its own, and those of its texts."""
    yield rule["expr"]
    for text in (*rule["labels"].values(), *rule["annotations"].values()):
        yield from (quoted for quoted in QUOTED.findall(text) if "%q" in quoted)


def looked_at(alert: str) -> list[list[bool]]:
    """For each case of an alert: whether it fires, in the order of time."""
    minutes = {"m": 1, "h": 60}
    found = []
    for path in CASES:
        for case in yaml.safe_load(path.read_text())["tests"]:
            looks = [look for look in case["alert_rule_test"] if look["alertname"] == alert]
            times = [int(look["eval_time"][:-1]) * minutes[look["eval_time"][-1]] for look in looks]
            assert times == sorted(times)
            found += [[bool(look.get("exp_alerts")) for look in looks]] if looks else []
    return found


def test_promtool_has_no_complaint() -> None:
    assert f"{len(GROUP['rules'])} rules found" in promtool("check", "rules", RULES_FILE)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_alerts_do_as_they_should(case: Path) -> None:
    promtool("test", "rules", case)


@pytest.mark.parametrize("alert", NAMES)
def test_alert_is_seen_quiet_then_firing_then_resolved(alert: str) -> None:
    looks = looked_at(alert)
    assert looks != []
    assert [case for case in looks if case[0] or not any(case) or case[-1]] == []


def test_rules_ask_for_nothing_that_is_not_exposed() -> None:
    asked = series_of(" ".join([*RECORDED.values(), *(query for rule in ALERTS for query in queried(rule))]))
    assert asked - set(RECORDED) - OF_OTHERS - exposed() == set()
    assert set(RECORDED) <= asked


def test_runbooks_ask_for_nothing_that_is_not_there() -> None:
    asked = {name for quoted in re.findall(r"`([^`]+)`", RUNBOOKS) for name in series_of(quoted)}
    asked |= series_of(" ".join(PROMQL.findall(RUNBOOKS)))
    assert "amdgpu_power_watts" in asked
    assert asked - set(RECORDED) - OF_OTHERS - exposed() == set()


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    assert re.findall(r"^## (AmdGpu\w+)$", RUNBOOKS, re.MULTILINE) == NAMES
    sections = re.split(r"^## ", RUNBOOKS, flags=re.MULTILINE)
    bodies = {text.partition("\n")[0]: text for text in sections}
    parts = ("**Means**", "**Look**", "**Do**")
    assert [(name, part) for name in NAMES for part in parts if part not in bodies[name]] == []


def test_inhibitions_speak_of_alerts_that_exist() -> None:
    (config,) = (
        yaml.safe_load(block)
        for block in re.findall(r"```yaml\n(.*?)```", RUNBOOKS, re.DOTALL)
        if "inhibit" in block
    )
    named = [
        name
        for rule in config["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
        for name in re.findall(r"AmdGpu\w+", matcher)
    ]
    assert set(named) <= set(NAMES)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_alert_says_how_bad_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in SEVERITIES
    assert list(rule["annotations"]) == ["summary", "description", "runbook_url"]
    assert rule["annotations"]["runbook_url"].endswith(f"#{rule['alert'].lower()}")
    assert rule["for"]


def test_joins_of_the_pages_give_each_holder_its_part(tmp_path: Path) -> None:
    """Two containers on one board, one on another; as promtool sees the queries that people copy."""
    board = 'job="p",instance="i",node="n"'
    holds = f'amdgpu_device_allocated{{{board},gpu="%s",device="%s",resource="r",namespace="%s",pod="%s",container="c"}}'
    series = {
        holds % ("a", "a-cpx0", "ml", "x"): 1,
        holds % ("a", "a-cpx1", "web", "y"): 1,
        holds % ("b", "b", "ml", "z"): 1,
        f'amdgpu_power_watts{{{board},gpu="a"}}': 300,
        f'amdgpu_power_watts{{{board},gpu="b"}}': 500,
        'ALERTS{alertname="AmdGpuHot",alertstate="firing",severity="critical",node="n",gpu="b",sensor="mem"}': 1,
        'ALERTS{alertname="AmdGpuHot",alertstate="firing",severity="warning",node="n",gpu="b",sensor="mem"}': 1,
    }
    power, by_namespace, hot = re.split(r"\n\n", PROMQL.findall(RUNBOOKS)[-1].strip())
    expected = {
        f"sum by (pod) ({without_comment(power)})": {'{pod="x"}': 300, '{pod="y"}': 300, '{pod="z"}': 500},
        without_comment(by_namespace): {'{namespace="ml"}': 650, '{namespace="web"}': 150},
        f"sum by (pod) ({without_comment(hot)})": {'{pod="z"}': 1},
    }
    case = {
        "input_series": [{"series": name, "values": f"{value}x3"} for name, value in series.items()],
        "promql_expr_test": [
            {
                "expr": query,
                "eval_time": "1m",
                "exp_samples": [{"labels": labels, "value": value} for labels, value in samples.items()],
            }
            for query, samples in expected.items()
        ],
    }
    file = tmp_path / "joins.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [], "tests": [{"interval": "1m"} | case]}))
    promtool("test", "rules", file)


def without_comment(query: str) -> str:
    assert query.startswith("# ")
    return query.partition("\n")[2]

"""The chart's dashboards: their shape, their links, and that all they ask for exists."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

import pytest

from amdgpu_plugin.exposition.metrics import TABLE
from amdgpu_plugin.instruments import Family, Instruments
from tests.monitoring.generate import DASHBOARDS, FOLDER, text
from tests.monitoring.grafana import Json, asked, panels, rows, used, variables

FILES = {path.stem: path for path in sorted(FOLDER.glob("*.json"))}
BOARDS: dict[str, Json] = {name: json.loads(path.read_text()) for name, path in FILES.items()}
EACH = pytest.mark.parametrize("name", BOARDS)


def each_panel(*kinds: str, of: str = "") -> pytest.MarkDecorator:
    """Each of these kinds, or of all; of that dashboard, or of all."""
    chosen = [
        (name, panel)
        for name, board in BOARDS.items()
        for panel in panels(board)
        if name.startswith(of) and (not kinds or panel["type"] in kinds)
    ]
    ids = [f"{name}-{panel['title']}" for name, panel in chosen]
    return pytest.mark.parametrize("panel", [panel for _, panel in chosen], ids=ids)


OVER_TIME = ("timeseries", "state-timeline")
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "dashboards.md").read_text()
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text()
UNITS = {
    *("short", "percentunit", "bytes", "Bps", "celsius", "watt", "s", "hertz", "rotrpm", "si:T/s"),
}
TARGET_LABELS = {"cluster", "node", "job", "instance"}
"""Given by Prometheus to all that it scrapes; `node` by the PodMonitor."""
PROCESS = Family("process", "gauge", (), "", "")
SERIES = re.compile(r"\b((?:amdgpu|process)_\w+)(?:\{([^{}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
GROUPING = re.compile(r"\b(?:by|on|ignoring|group_left|group_right)\s*\(([\w, ]*)\)")


def families() -> dict[str, Family]:
    """By the names that series bear: of a histogram, those of its parts."""
    found = {family.name: family for family in (*(row.family for row in TABLE), *Instruments().families)}
    for family in list(found.values()):
        if family.type == "histogram":
            parts = Family(family.name, family.type, (*family.labels, "le"), "", "")
            found |= {f"{family.name}_{part}": parts for part in ("bucket", "sum", "count")}
    return found | dict.fromkeys(("process_resident_memory_bytes", "process_cpu_seconds_total"), PROCESS)


FAMILIES = families()


def boxes(placed: Iterable[Json]) -> list[tuple[str, set[tuple[int, int]]]]:
    """Titles, and the cells of the grid that each takes."""
    found = []
    for panel in placed:
        at = panel["gridPos"]
        across, down = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        found.append((panel["title"], {(x, y) for x in across for y in down}))
    return found


# -- The files --


@pytest.mark.parametrize("name", DASHBOARDS)
def test_file_is_what_the_generator_writes(name: str) -> None:
    assert FILES[name].read_text() == text(DASHBOARDS[name]), "run python -m tests.monitoring.generate"


def test_there_are_no_other_files() -> None:
    assert list(FILES) == sorted(DASHBOARDS)


@EACH
def test_file_fits_into_a_configmap_that_kubectl_applies(name: str) -> None:
    """`kubectl apply` keeps all of it, as a string, in an annotation; those may have 256 KiB."""
    assert len(json.dumps(FILES[name].read_text())) < 240 * 1024


@EACH
def test_page_shows_all_rows_in_their_order(name: str) -> None:
    _, _, below = PAGE.partition({"fleet": "## Fleet\n", "node": "## Node\n", "gpu": "## GPU\n"}[name])
    sketch = below.split("```")[1]
    told = re.findall(r"^(\S.*?)(?:  +(\(folded\))?.*)$", sketch, re.MULTILINE)
    assert told == [(row["title"], "(folded)" if row["collapsed"] else "") for row in rows(BOARDS[name])]


# -- Their shape --


@EACH
def test_dashboard_can_be_provisioned_and_linked_to(name: str) -> None:
    board = BOARDS[name]
    assert not {"__inputs", "__requires", "__elements"} & set(board)
    assert {key: board[key] for key in ("id", "uid", "editable")} == {
        "id": None,
        "uid": f"amdgpu-{name}",
        "editable": True,
    }
    assert board["schemaVersion"] >= 39
    assert board["tags"] == ["amdgpu-plugin", "gpu"]
    ids = [panel["id"] for panel in (*rows(board), *panels(board))]
    assert sorted(ids) == list(range(1, len(ids) + 1))


@EACH
def test_panels_lie_in_the_grid_and_on_no_other(name: str) -> None:
    lying = boxes(BOARDS[name]["panels"])
    folded = [boxes(row["panels"]) for row in rows(BOARDS[name])]
    for group in (lying, *folded):
        assert [title for title, cells in group if any(not 0 <= x < 24 for x, _ in cells)] == []
        assert [(a[0], b[0]) for a, b in combinations(group, 2) if a[1] & b[1]] == []


@EACH
def test_titles_are_unique_and_rows_say_what_is_below(name: str) -> None:
    titles = [panel["title"] for panel in panels(BOARDS[name])]
    assert len(titles) == len(set(titles))
    assert all(row["title"] for row in rows(BOARDS[name]))


@each_panel()
def test_panel_explains_itself(panel: Json) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["description"].endswith((".", "?"))
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert [target["datasource"] for target in panel["targets"]] == [panel["datasource"]] * len(
        panel["targets"]
    )
    units = {
        defaults["unit"],
        *(each["value"] for each in properties(panel) if each["id"] == "unit"),
    }
    assert units <= UNITS
    assert defaults["noValue"]
    steps = [step["value"] for step in defaults["thresholds"]["steps"]]
    assert steps == [None, *sorted(steps[1:])]


def properties(panel: Json) -> Iterator[Json]:
    for override in panel["fieldConfig"]["overrides"]:
        yield from override["properties"]


@each_panel(*OVER_TIME, "bargauge")
def test_series_are_told_apart(panel: Json) -> None:
    legends = [target["legendFormat"] for target in panel["targets"]]
    assert len(set(legends)) == len(legends)
    assert "__auto" not in legends


@each_panel("table")
def test_table_names_all_its_columns(panel: Json) -> None:
    (organise,) = (each["options"] for each in panel["transformations"] if each["id"] == "organize")
    columns = set(organise["renameByName"].values())
    links = {
        override["matcher"]["options"]
        for override in panel["fieldConfig"]["overrides"]
        if any(each["id"] == "links" for each in override["properties"])
    }
    overridden = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
    labels = set(organise["indexByName"]) - set(organise["renameByName"])
    assert columns == overridden - links
    assert links <= labels
    assert {each["displayName"] for each in panel["options"]["sortBy"]} <= columns
    assert {f"Value #{target['refId']}" for target in panel["targets"]} <= set(organise["renameByName"])


@each_panel()
def test_runbooks_that_are_named_exist(panel: Json) -> None:
    named = re.findall(r"AmdGpu\w+", panel["description"])
    assert [alert for alert in named if f"## {alert}\n" not in RUNBOOKS] == []
    pages = re.findall(r"docs/[\w.]+\.md", panel["description"])
    assert [page for page in pages if not (ROOT / page).is_file()] == []


def test_each_alert_has_a_panel_that_names_it() -> None:
    described = " ".join(panel["description"] for board in BOARDS.values() for panel in panels(board))
    alerts = re.findall(r"^## (AmdGpu\w+)$", RUNBOOKS, re.MULTILINE)
    assert [alert for alert in alerts if alert not in described] == []


# -- Variables and links --


@EACH
def test_variables_are_all_known_and_all_used(name: str) -> None:
    board = BOARDS[name]
    known = variables(board)
    texts = [each.expr for each in asked(board)]
    later = [variable["query"]["query"] for variable in known.values() if variable["type"] == "query"]
    everything = used(json.dumps(board))
    own = {each for each in everything if each.startswith("__")}
    assert set().union(*map(used, (*texts, *later))) - own <= set(known)
    assert set(known) <= everything
    # those of links in data, and the one for rates
    assert own <= {"__rate_interval", "__url_time_range", "__data", "__field", "__value", "__all"}


@EACH
def test_a_variable_asks_only_for_what_is_chosen_before_it(name: str) -> None:
    before = set[str]()
    for variable in BOARDS[name]["templating"]["list"]:
        if variable["type"] == "query":
            assert used(variable["query"]["query"]) <= before
            assert variable["definition"] == variable["query"]["query"]
        before.add(variable["name"])


@EACH
def test_what_may_be_many_is_matched_by_an_expression_and_what_is_one_is_not(name: str) -> None:
    board = BOARDS[name]
    for expr in (each.expr for each in asked(board)):
        for operator, variable in re.findall(r'(=~|=)"\$(\w+)"', expr):
            assert (operator, variable) == ("=~" if variables(board)[variable]["multi"] else "=", variable)


def told_by(url: str) -> set[str]:
    """Variables that a link sets."""
    return {*re.findall(r"var-(\w+)=", url), *re.findall(r"\$\{(\w+):queryparam\}", url)}


def singles(board: Json) -> set[str]:
    return {each for each, variable in variables(board).items() if not variable["multi"]}


@EACH
def test_links_lead_to_dashboards_that_are_there_and_set_variables_that_they_have(name: str) -> None:
    by_uid = {board["uid"]: board for board in BOARDS.values()}
    heads = [link["url"] for link in BOARDS[name]["links"]]
    of_data = [url for url in re.findall(r'"url": "(/d/[^"]+)"', FILES[name].read_text()) if url not in heads]
    for url in (*heads, *of_data):
        _, _, uid, slug = url.partition("?")[0].split("/")
        assert slug == uid
        assert {"datasource", "cluster"} <= told_by(url) <= set(variables(by_uid[uid]))
        # a head tells what one chose here; a click on data tells of what it was on
        here = singles(BOARDS[name]) if url in heads else singles(by_uid[uid])
        assert here & singles(by_uid[uid]) <= told_by(url)
    assert len(heads) == (1 if name == "fleet" else 2)
    assert of_data or name == "gpu"


@each_panel(*OVER_TIME, of="fleet")
def test_a_fleet_is_asked_for_few_moments(panel: Json) -> None:
    """100 of 20 series for each of 20,000 boards are 40 million samples; Prometheus gives 50 to one query."""
    assert panel["maxDataPoints"] == 100


# -- Queries --


@EACH
def test_queries_ask_for_metrics_and_labels_that_there_are(name: str) -> None:
    for each in asked(BOARDS[name]):
        found = SERIES.findall(each.expr)
        assert found, each
        for metric, matchers in found:
            assert metric in FAMILIES, each
            labels = set(MATCHER.findall(matchers))
            assert labels <= {*FAMILIES[metric].labels, *TARGET_LABELS}, each
        grouped = {label.strip() for part in GROUPING.findall(each.expr) for label in part.split(",")}
        all_labels = {label for metric, _ in found for label in FAMILIES[metric].labels}
        assert grouped - {""} <= all_labels | TARGET_LABELS, each
        legend_labels = set(re.findall(r"\{\{(\w+)\}\}", each.expr))
        assert legend_labels == set()


def test_each_metric_of_the_product_is_on_a_panel() -> None:
    shown = " ".join(each.expr for board in BOARDS.values() for each in asked(board))
    every = {family.name for family in FAMILIES.values()} - {PROCESS.name}
    assert [name for name in sorted(every) if not re.search(rf"\b{name}(_bucket)?\{{", shown)] == []


@each_panel()
def test_legends_name_labels_that_are_left(panel: Json) -> None:
    for target in panel["targets"]:
        named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        grouped = {label.strip() for part in GROUPING.findall(target["expr"]) for label in part.split(",")}
        assert named <= grouped


@EACH
def test_counters_are_shown_as_rises_and_rates(name: str) -> None:
    """But for those of the driver, which tell how many there were since it was loaded."""
    for each in asked(BOARDS[name]):
        bare = set(re.findall(r"(?<![a-z_]\()\b(amdgpu_\w+_total)\{", each.expr))
        rising = re.findall(r"(?:rate|increase)\((amdgpu_\w+_total)\{", each.expr)
        assert bare - set(rising) <= {"amdgpu_ras_errors_total"}, each


@EACH
def test_a_rate_spans_what_grafana_says(name: str) -> None:
    spans = {
        (function, span)
        for each in asked(BOARDS[name])
        for function, span in re.findall(r"\b(rate|increase|\w+_over_time)\([^\[\]]*\[([^\]]+)\]", each.expr)
    }
    assert {span for function, span in spans if function == "rate"} <= {"$__rate_interval"}
    assert spans <= {
        ("rate", "$__rate_interval"),
        ("increase", "$__rate_interval"),
        ("increase", "1d"),
        ("max_over_time", "1d"),
        ("avg_over_time", "1h"),
    }

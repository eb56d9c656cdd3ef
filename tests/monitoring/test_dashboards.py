"""The chart's dashboards: whole, without a doubt about what they ask for, and with data from a real Prometheus."""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from urllib.error import HTTPError

import pytest

from amdgpu_plugin.control import ask
from amdgpu_plugin.exposition.metrics import TABLE
from amdgpu_plugin.instruments import Family, Instruments
from amdgpu_plugin.simulation.kubelet import SimulatedKubelet
from amdgpu_plugin.simulation.node import SimulatedNode
from e2e import podmonitor, prometheus
from e2e.prometheus import Prometheus
from tests.monitoring.generate import DASHBOARDS, FOLDER, text
from tests.monitoring.grafana import ALL, Asked, Json, asked, panels, put_in, rows, used, variables
from tests.monitoring.test_prometheus import chart, free_port, pod_of
from tests.processes import Running, run

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
    *("short", "percentunit", "bytes", "Bps", "celsius", "watt", "s", "hertz", "rotrpm", "T/s"),
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


# -- Data --


@dataclass(frozen=True, slots=True)
class Node:
    """A simulated node: how many devices it has, who gets how many of them, and faults by device.

    `aside`: its tree is made beside the daemon, which takes it for real.
    """

    name: str
    shape: str
    devices: int
    pods: Mapping[str, int]
    faults: tuple[tuple[str, str], ...]
    settings: str = ""
    aside: bool = False


A, B, C = "0000:05:00.0", "0000:27:00.0", "0000:47:00.0"
RADEON, APU = "0000:03:00.0", "0000:c1:00.0"
NODES = (
    Node(
        "n1",
        "mi300x:3",
        3,
        {"train": 2},
        (
            (A, "Overheated"),
            (A, "UncorrectableErrors"),
            (A, "Throttled"),
            (A, "LinkDegraded"),
            (C, "BusError"),
            (B, "unbind"),
        ),
        "devices: {expect: 4}",
    ),
    Node(
        "n2",
        "mi300x-cpx:1",
        8,
        {"few": 3, "one": 1},
        ((A, "CorrectableErrors"), (A, "PendingPages"), (A, "Wedged")),
    ),
    Node("n3", "radeon:1", 1, {}, (), "health: {mode: observe}", aside=True),
)
IN_FORCE = {
    *("Overheated", "UncorrectableErrors", "Throttled", "LinkDegraded", "BusError", "DriverUnbound"),
    *("CorrectableErrors", "PendingPages", "Wedged", "Hot"),
}
# n1 lacks one board and has lost another; n3 only observes, so its board is healthy; n4 is silent.
FLEET = {
    "Nodes": 3,
    "GPUs": 4,
    "Missing GPUs": 2,
    "Healthy devices": 1,
    "Allocated devices": 6,
    "Unhealthy devices": 11,
    "Unhealthy, in use": 6,
    "Silent nodes": 1,
}
FIRST = {
    "GPUs": 2,
    "Missing GPUs": 2,
    "Healthy devices": 0,
    "Allocated devices": 2,
    "Unhealthy devices": 3,
    "Unhealthy, in use": 2,
    "Registered": 1,
    "Age of readings": 0,
}
PARTITIONED = {"Health": 0, "Holders": 4}
GONE = Node("n4", "apu:1", 1, {}, ())
"""Its daemon ends: what it told is seen in the past only."""
THROTTLED_BY = slice(116, 117)
"""Bits 32 to 39 of the causes in gpu_metrics 1.3, which are thermal."""
WITHIN_S = 25.0
RATE_INTERVAL = "5s"
SHOWN_S, STEP = 60.0, "1s"


@asynccontextmanager
async def simulated(node: Node, folder: Path, port: int) -> AsyncIterator[tuple[SimulatedKubelet, Running]]:
    plugins, pods, state = folder / "p", folder / "r", folder / "s"
    config = folder / "c.yaml"
    config.write_text(node.settings or "{}")
    tree = ("--sysfs-root", hot_and_throttled(folder)) if node.aside else ("--simulate", node.shape)
    options = ("--device-plugins-dir", plugins, "--pod-resources-dir", pods, "--state-dir", state)
    more = ("--config", config, "--health-interval", "1", *tree)
    async with (
        SimulatedKubelet(str(plugins), pod_resources=str(pods)) as kubelet,
        run(*map(str, (*options, *more)), "--http-address", f"127.0.0.1:{port}") as daemon,
    ):
        yield kubelet, daemon


def hot_and_throttled(folder: Path) -> str:
    """A tree of a board that shuts down soon, and that tells what holds its clocks down by bits."""
    node = SimulatedNode.create(folder / "t", "radeon:1")
    node.heat(RADEON, "junction", node.limits["junction"]["emergency"] + 1)
    metrics = Path(node.path_of(RADEON)) / "gpu_metrics"
    told = bytearray(metrics.read_bytes())
    told[THROTTLED_BY] = bytes([1 << 2])
    metrics.write_bytes(told)
    return node.root


async def allocate(kubelet: SimulatedKubelet, node: Node) -> None:
    for pod, size in node.pods.items():
        await kubelet.allocate("amd.com/gpu", size, pod=pod)


async def go_wrong(node: Node, folder: Path) -> None:
    for device, what in node.faults:
        await inject(node.name, folder.parent, device, what)


async def inject(node: str, scratch: Path, device: str, what: str) -> None:
    request = {"verb": "inject", "device": device, "what": what, "seconds": None}
    await asyncio.to_thread(ask, str(scratch / node / "s"), request)


def selections(name: str, prom: Prometheus) -> Iterator[list[dict[str, str]]]:
    """Lists of what is chosen: each query is to find data in one of each list."""
    nodes = prom.label_values("node", "amdgpu_gpu_info")
    boards = [
        {"cluster": ALL, "node": node, "gpu": gpu, "namespace": ALL}
        for node in nodes
        for gpu in prom.label_values("gpu", f'amdgpu_gpu_info{{node="{node}"}}')
    ]
    if name == "fleet":
        yield [{"cluster": ALL, "node": ALL, "namespace": ALL}]
        yield [{"cluster": ALL, "node": node, "namespace": "default"} for node in nodes]
        return
    if name == "node":
        yield [{"cluster": ALL, "node": node, "gpu": ALL, "namespace": ALL} for node in nodes]
        boards = [board | {"namespace": "default"} for board in boards]
    yield boards


def has_data(prom: Prometheus, query: str, *, now: bool) -> bool:
    try:
        if now:
            values = [each["value"][1] for each in prom.query(query)]
        else:
            found = prom.query_range(query, seconds=SHOWN_S, step=STEP)
            values = [value for each in found for _, value in each["values"]]
    except HTTPError as error:
        error.add_note(f"{query}\n{error.read().decode()}")
        raise
    return any(not math.isnan(float(value)) for value in values)


def without_data(prom: Prometheus, pending: Sequence[tuple[str, Asked, int]]) -> list[tuple[str, Asked, int]]:
    """Those that find nothing in any selection of their list."""
    chosen = {name: list(selections(name, prom)) for name in BOARDS}
    return [
        (name, each, which)
        for name, each, which in pending
        if not any(
            has_data(prom, put_in(each.expr, BOARDS[name], choice, rate_interval=RATE_INTERVAL), now=each.now)
            for choice in chosen[name][which]
        )
    ]


async def all_find(prom: Prometheus) -> None:
    """Returns when all have found data in each list of selections, though not all at once."""
    lists = {"fleet": 2, "node": 2, "gpu": 1}
    pending = [
        (name, each, which)
        for name, board in BOARDS.items()
        for each in asked(board)
        for which in range(lists[name])
    ]

    def left(_: Prometheus) -> list[str]:
        pending[:] = without_data(prom, pending)
        return [f"{name}: {each.where} (selection {which})" for name, each, which in pending]

    await asyncio.to_thread(prom.until, left, lambda found: found == [], within_s=WITHIN_S)


def told(prom: Prometheus, name: str, **chosen: str) -> dict[str, float]:
    """What the first row's numbers are, by title."""
    every = dict.fromkeys(variables(BOARDS[name]), ALL)
    found = {}
    for panel in panels(BOARDS[name]):
        if panel["type"] == "stat" and panel["gridPos"]["y"] == 1:
            target = panel["targets"][0]
            query = put_in(target["expr"], BOARDS[name], every | chosen, rate_interval=RATE_INTERVAL)
            (sample,) = prom.query(query)
            found[panel["title"]] = float(sample["value"][1])
    return found


@pytest.mark.timeout(150)
@pytest.mark.skipif(
    prometheus.program() is None,
    reason="prometheus is not installed here; on Debian: apt-get install prometheus",
)
async def test_every_query_finds_data_on_simulated_nodes_with_faults(scratch: Path) -> None:
    objects, rules, found = chart(), scratch / "rules.yaml", scratch / "targets.json"
    rules.write_text("groups: []")
    ports = {node.name: free_port() for node in (*NODES, GONE)}
    pods = [pod_of(objects, port, node=name) for name, port in ports.items()]
    # As during a rollout with a surge: two pods tell of one node. No board is counted twice, no join fails.
    pods.append(pods[0] | {"status": pods[0]["status"] | {"podIP": "localhost"}})
    found.write_text(json.dumps(podmonitor.targets(pods)))
    job = podmonitor.scrape_job(objects["PodMonitor"], str(found))
    async with AsyncExitStack() as stack:
        scraping = stack.enter_context(prometheus.running(scratch, [job], rules))
        kubelets = {}
        for node in (*NODES, GONE):
            (scratch / node.name).mkdir()
            starting = simulated(node, scratch / node.name, ports[node.name])
            kubelets[node.name], last = await stack.enter_async_context(starting)
        for node in NODES:
            await kubelets[node.name].sees("amd.com/gpu", healthy=node.devices, within=WITHIN_S)
        await comes(scraping, "amdgpu_plugin_gpus", "node", set(ports))
        await comes(scraping, "amdgpu_vcn_busy_ratio", "node", {GONE.name})
        assert await last.stop() == 0
        for node in NODES:
            await allocate(kubelets[node.name], node)
            await go_wrong(node, scratch / node.name)
        await comes(scraping, "amdgpu_gpu_condition == 1", "condition", IN_FORCE)
        await flap(scraping, scratch)
        # from here on nothing new is told of n2's board and of n3's kubelet
        await inject("n2", scratch, A, "Unresponsive")
        await kubelets["n3"].stop()
        await all_find(scraping)
        assert told(scraping, "fleet") == FLEET
        assert told(scraping, "node", node="n1") | {"Age of readings": 0} == FIRST
        assert told(scraping, "gpu", node="n2", gpu=A).items() >= PARTITIONED.items()
        theirs, boards = power(scraping)
        assert theirs == pytest.approx(boards)


def power(prom: Prometheus) -> tuple[float, float]:
    """Of the namespace that holds everything that is held; and of the boards that are held, each once."""
    (panel,) = (each for each in panels(BOARDS["fleet"]) if each["title"] == "Namespaces")
    (expr,) = (each["expr"] for each in panel["targets"] if "power" in each["expr"])
    every = dict.fromkeys(variables(BOARDS["fleet"]), ALL)
    query = put_in(expr, BOARDS["fleet"], every, rate_interval=RATE_INTERVAL)
    boards = "max by (node, gpu) (amdgpu_power_watts) and on (node, gpu) amdgpu_device_allocated"
    (theirs,), (all_boards,) = prom.query(query), prom.query(f"sum({boards})")
    return float(theirs["value"][1]), float(all_boards["value"][1])


async def flap(prom: Prometheus, scratch: Path) -> None:
    """The trouble of n1's second board goes, is held, and comes back."""
    for _ in range(20):
        await inject("n1", scratch, B, "bind")
        await comes(prom, 'amdgpu_plugin_gpus{node="n1"} == 3', "node", {"n1"})
        await inject("n1", scratch, B, "unbind")
        await comes(prom, 'amdgpu_plugin_gpus{node="n1"} == 2', "node", {"n1"})
        if prom.query("amdgpu_health_flaps_total > 0"):
            return
    raise AssertionError("never counted")


async def comes(prom: Prometheus, query: str, label: str, wanted: set[str]) -> None:
    """Returns when what the query finds has at least these values of the label."""
    await asyncio.to_thread(
        prom.until,
        lambda each: {found["metric"][label] for found in each.query(query)},
        lambda found: found >= wanted,
        within_s=WITHIN_S,
    )

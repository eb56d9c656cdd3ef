from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amdgpu_plugin.exposition.kubernetes.event import event, shortened
from amdgpu_plugin.exposition.kubernetes.standing import Subject, Trouble
from amdgpu_plugin.exposition.kubernetes.story import Change, Kind
from amdgpu_plugin.health.conditions import TABLE
from tests.exposition.kubernetes.timelines import UNIX
from tests.exposition.states import A, whole

GPU = whole(A).gpu
HOT = Trouble("unhealthy", "junction 116 °C, limit 110 °C", UNIX + 0.25, (A,))
RAISED = Change(Subject(A, "Overheated"), "raised", HOT, HOT.since, HOT.since)
OVER = Change(Subject(A, "Overheated"), "cleared", None, UNIX + 300.0, HOT.since)


def message(change: Change) -> str:
    text: str = event(change, GPU, node="worker-1", number=1).body["message"]
    return text


def test_event_of_the_node() -> None:
    made = event(RAISED, GPU, node="worker-1", number=0x17A9)
    assert made.body == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "worker-1.00000000000017a9", "namespace": "default"},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": "worker-1", "uid": "worker-1"},
        "reason": "Overheated",
        "message": f"GPU {A} (AMD Instinct MI300X): Overheated: junction 116 °C, limit 110 °C. "
        f"Unhealthy, given to no new pod: {A}. Check air flow, fans, inlet temperature and heat sink.",
        "type": "Warning",
        "action": "Raised",
        "count": 1,
        "firstTimestamp": "2026-09-21T14:13:20Z",
        "lastTimestamp": "2026-09-21T14:13:20Z",
        "eventTime": "2026-09-21T14:13:20.250000Z",
        "source": {"component": "amdgpu-plugin", "host": "worker-1"},
        "reportingComponent": "amdgpu-plugin",
        "reportingInstance": "worker-1",
    }
    assert (made.namespace, made.pod) == ("default", "")


def test_simulated_gpu_is_said_to_be_one() -> None:
    made = event(RAISED, GPU, node="worker-1", number=1, simulated=True)
    assert made.body["message"] == f"Simulated: {message(RAISED)}"


def test_event_of_a_pod_waits_for_its_uid() -> None:
    change = replace(RAISED, subject=Subject(A, "Overheated", "team", "train"))
    made = event(change, GPU, node="worker-1", number=1)
    assert (made.namespace, made.pod, made.body["metadata"]["namespace"]) == ("team", "train", "team")
    assert made.about("u-1")["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "team",
        "name": "train",
        "uid": "u-1",
    }
    assert f"This pod holds {A} and is left alone." in made.body["message"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (RAISED, ("Overheated", "Warning", "Raised")),
        (OVER, ("OverheatedCleared", "Normal", "Cleared")),
        (replace(RAISED, kind="eased"), ("Overheated", "Normal", "Eased")),
        (replace(RAISED, trouble=replace(HOT, weight="inform")), ("Overheated", "Warning", "Raised")),
        (replace(RAISED, subject=Subject(A, "Retired")), ("Retired", "Normal", "Raised")),
    ],
)
def test_reason_and_type(change: Change, expected: tuple[str, str, str]) -> None:
    body = event(change, GPU, node="worker-1", number=1).body
    assert (body["reason"], body["type"], body["action"]) == expected


def test_end_says_how_long_it_was_and_what_else_there_is() -> None:
    assert message(OVER) == f"GPU {A} (AMD Instinct MI300X): Overheated is over after 5 min."
    assert message(replace(OVER, others=("Wedged",))).endswith("Devices are still unhealthy: Wedged.")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0 s"), (0.4, "0 s"), (119, "119 s"), (7199, "120 min"), (7200, "2 h"), (864000, "10 d")],
)
def test_spans(seconds: float, said: str) -> None:
    assert f"over after {said}." in message(replace(OVER, at=OVER.since + seconds))


def test_what_only_informs_says_so() -> None:
    informs = replace(RAISED, trouble=replace(HOT, weight="inform"))
    assert "Devices stay as they are." in message(informs)
    assert "It no longer makes devices unhealthy." in message(replace(informs, kind="eased"))


def test_advice_has_no_marks_of_a_page() -> None:
    informs = replace(RAISED, subject=Subject(A, "Hot"), trouble=replace(HOT, weight="inform"))
    assert message(informs).endswith("Check cooling before it becomes Overheated.")


def test_changes_that_were_not_told_are_counted() -> None:
    assert "14 changes of it before this one were not told." in message(replace(RAISED, missed=14))


def test_many_devices_are_cut_short() -> None:
    ids = tuple(f"{A}-cpx{number}" for number in range(11))
    assert f"{A}-cpx7 and 3 more." in message(replace(RAISED, trouble=replace(HOT, devices=ids)))


def test_product_that_is_not_known_is_left_out() -> None:
    gone = event(RAISED, None, node="worker-1", number=1).body["message"]
    assert gone.startswith(f"GPU {A}: Overheated: ")


@pytest.mark.parametrize("node", ["n" * 253, "n" * 235 + "." + "n" * 17])
def test_long_node_names_fit(node: str) -> None:
    body = event(RAISED, GPU, node=node, number=2**63).body
    name = body["metadata"]["name"]
    assert (len(name) <= 253, len(body["reportingInstance"])) == (True, 128)
    assert name.endswith(".8000000000000000")
    assert ".." not in name


@given(
    detail=st.text(st.characters(codec=None), max_size=2000),
    name=st.sampled_from([kind.name for kind in TABLE]),
    kind=st.sampled_from(["raised", "eased", "cleared"]),
    devices=st.lists(st.text(max_size=200), max_size=20).map(tuple),
)
def test_any_message_is_one_line_of_utf8_that_the_api_server_takes(
    detail: str, name: str, kind: Kind, devices: tuple[str, ...]
) -> None:
    trouble = None if kind == "cleared" else Trouble("unhealthy", detail, UNIX, devices)
    text = message(Change(Subject(A, name), kind, trouble, UNIX, UNIX, devices))
    assert len(text.encode()) <= 1024
    assert text.isprintable()


def test_half_a_character_and_several_lines_become_one_line() -> None:
    assert shortened("a\udcff\nb\0c\u202ed", 100) == "a? b c d"


@given(st.text(st.characters(codec=None)), st.integers(3, 40))
def test_cutting_breaks_no_character(text: str, limit: int) -> None:
    cut = shortened(text, limit)
    assert len(cut.encode()) <= limit
    assert cut.removesuffix("…") == text[: len(cut.removesuffix("…"))] or not text.isprintable()

"""Timelines: what is told when."""

from dataclasses import replace

from amdgpu_plugin.exposition.kubernetes.standing import Subject
from amdgpu_plugin.exposition.kubernetes.story import EACH, OVERALL, Story, Told
from amdgpu_plugin.node import Held, Holder, Verdict
from tests.exposition.kubernetes.timelines import UNIX, Reader, held, ill, state
from tests.exposition.states import CPX, A, B, partitioned, whole

WELL = state({})
HOT = state({A: (ill("Overheated"),)})


def test_one_for_each_transition() -> None:
    reader = Reader()
    assert reader.at(0, WELL) == []
    assert reader.at(10, HOT) == [f"{A} Overheated raised"]
    assert reader.at(20, HOT) == []
    assert reader.at(30, WELL) == [f"{A} Overheated cleared"]
    assert reader.at(40, WELL) == []


def test_what_stands_when_the_first_daemon_comes_is_told() -> None:
    assert Reader().at(0, HOT) == [f"{A} Overheated raised"]


def test_times_are_those_of_what_happened() -> None:
    reader = Reader()
    (raised,) = reader.changes(10, state({A: (ill("Overheated", at=9.5),)}))
    assert (raised.at, raised.since) == (UNIX + 9.5, UNIX + 9.5)
    (cleared,) = reader.changes(70, WELL)
    assert (cleared.at, cleared.since, cleared.trouble) == (UNIX + 70, UNIX + 9.5, None)


def test_effect_that_changes_is_told() -> None:
    reader = Reader()
    informs = state({A: (ill("Overheated", effect="inform"),)})
    assert reader.at(0, informs) == [f"{A} Overheated raised"]
    assert reader.at(1, HOT) == [f"{A} Overheated raised"]
    assert reader.at(2, informs) == [f"{A} Overheated eased"]
    assert reader.at(3, WELL) == [f"{A} Overheated cleared"]


def test_conditions_of_one_gpu_are_told_apart() -> None:
    reader = Reader()
    both = state({A: (ill("Wedged"), ill("Overheated"))})
    assert reader.at(0, both) == [f"{A} Overheated raised", f"{A} Wedged raised"]
    wedged = state({A: (ill("Wedged"),)}, holders=held(whole(A), "train"))
    (cleared, of_pod) = reader.changes(1, wedged)
    assert (cleared.kind, cleared.others) == ("cleared", ("Wedged",))
    assert (of_pod.subject.pod, of_pod.others) == ("train", ())


def test_new_detail_is_no_transition() -> None:
    reader = Reader()
    reader.at(0, HOT)
    assert reader.at(1, state({A: (ill("Overheated", detail="hotter", at=1),)})) == []


# -- Pods --


def test_pod_that_holds_it_is_told_of_what_makes_unhealthy_and_of_its_end() -> None:
    reader = Reader()
    holders = held(whole(A), "train")
    assert reader.at(0, state({A: (ill("Hot", effect="inform"),)}, holders=holders)) == [f"{A} Hot raised"]
    ill_both = state(
        {A: (ill("Overheated"), ill("Hot", effect="inform")), B: (ill("Wedged"),)}, holders=holders
    )
    assert reader.at(1, ill_both) == [
        f"{A} Overheated raised",
        f"{B} Wedged raised",
        f"team/train {A} Overheated raised",
    ]
    assert reader.at(2, state({}, holders=holders)) == [
        f"{A} Hot cleared",
        f"{A} Overheated cleared",
        f"{B} Wedged cleared",
        f"team/train {A} Overheated cleared",
    ]


def test_acknowledged_is_the_end_for_a_pod_and_no_end_for_the_node() -> None:
    reader = Reader()
    holders = held(whole(A), "train")
    reader.at(0, state({A: (ill("Wedged"),)}, holders=holders))
    known = state({A: (ill("Wedged", effect="inform"),)}, holders=holders)
    assert reader.at(1, known) == [f"{A} Wedged eased", f"team/train {A} Wedged eased"]
    assert reader.at(2, known) == []
    assert reader.at(3, state({}, holders=holders)) == [f"{A} Wedged cleared"]


def test_pod_that_ended_is_told_nothing_more() -> None:
    reader = Reader()
    reader.at(0, state({A: (ill("Overheated"),)}, holders=held(whole(A), "train")))
    assert reader.at(1, HOT) == []
    assert reader.at(2, WELL) == [f"{A} Overheated cleared"]


def test_pod_that_is_found_later_is_told_then() -> None:
    reader = Reader()
    reader.at(0, HOT)
    holders = held(whole(A), "late")
    assert reader.at(8, state({A: (ill("Overheated"),)}, holders=holders)) == [
        f"team/late {A} Overheated raised"
    ]


def test_for_a_pod_it_happened_when_it_was_found_to_hold_it() -> None:
    """The pod may be younger than the trouble."""
    reader = Reader()
    reader.at(0, HOT)
    (late,) = reader.changes(900, state({A: (ill("Overheated"),)}, holders=held(whole(A), "late")))
    assert (late.at, late.since) == (UNIX + 900, UNIX)


def test_holders_that_are_not_known_for_a_while_change_nothing_for_pods() -> None:
    reader = Reader()
    holders = held(whole(A), "train")
    reader.at(0, state({A: (ill("Overheated"),)}, holders=holders))
    assert reader.at(1, state({A: (ill("Overheated"),)}, holders=None)) == []
    assert reader.at(2, state({}, holders=None)) == [f"{A} Overheated cleared"]
    assert reader.at(3, state({}, holders=holders)) == [f"team/train {A} Overheated cleared"]


def test_partitions_are_one_gpu_and_each_pod_hears_of_its_own() -> None:
    devices = partitioned(A, 0)
    holders = {
        Held(CPX, devices[0].id): (Holder("team", "one", "main"),),
        Held(CPX, devices[3].id): (Holder("team", "two", "main"),),
        Held(CPX, devices[4].id): (Holder("team", "two", "side"),),
    }
    changes = Reader().changes(0, state({A: (ill("Overheated"),)}, devices=devices, holders=holders))
    ids = {(each.subject.pod, each.trouble.devices if each.trouble is not None else ()) for each in changes}
    assert ids == {
        ("", tuple(each.id for each in devices)),
        ("one", (devices[0].id,)),
        ("two", (devices[3].id, devices[4].id)),
    }


def test_replica_that_another_plugin_or_we_charge_is_its_device() -> None:
    holders = {Held("amd.com/gpu.shared", f"{A}::2"): (Holder("team", "shares", "main"),)}
    assert Reader().at(0, state({A: (ill("Overheated"),)}, holders=holders)) == [
        f"{A} Overheated raised",
        f"team/shares {A} Overheated raised",
    ]


# -- Facts, and what is only listed --


def test_facts_are_told_once_for_a_gpu_and_to_no_pod() -> None:
    retired = Verdict("Retired", "the compute partition mode is now SPX", UNIX)
    devices = tuple(replace(each, verdict=retired) for each in partitioned(A, 0))
    holders = held(devices[0], "train")
    reader = Reader()
    (change,) = reader.changes(0, state({}, devices=(whole(A), *devices), holders=holders))
    assert change.subject == Subject(A, "Retired")
    assert change.trouble is not None
    assert change.trouble.devices == tuple(each.id for each in devices)
    assert reader.at(600, state({}, devices=(whole(A),), holders=holders)) == [f"{A} Retired cleared"]


def test_ids_of_an_earlier_mode_are_not_among_what_a_fault_takes() -> None:
    retired = Verdict("Retired", "the compute partition mode is now SPX", UNIX)
    devices = (whole(A), *(replace(each, verdict=retired) for each in partitioned(A, 0)))
    (fault, _fact) = Reader().changes(0, state({A: (ill("Overheated"),)}, devices=devices))
    assert fault.trouble is not None
    assert fault.trouble.devices == (A,)


def test_device_that_an_earlier_daemon_listed_and_nobody_found() -> None:
    unseen = replace(whole(A), verdict=Verdict("Unresponsive", "not seen since this daemon started", UNIX))
    reader = Reader()
    assert reader.at(0, state({}, devices=(unseen,))) == [f"{A} Unresponsive raised"]
    assert reader.at(1, state({A: (ill("Unresponsive"),)}, devices=(unseen,))) == []


# -- Another daemon --


def test_what_was_told_is_not_told_again() -> None:
    told = {Subject(A, "Overheated"): Told("unhealthy", UNIX - 900)}
    reader = Reader(Story(told, settled_at=110.0))
    assert reader.at(0, WELL) == []
    assert reader.at(40, HOT) == []
    assert reader.at(100, WELL) == [f"{A} Overheated cleared"]


def test_what_ended_while_nobody_looked_is_told_when_it_would_have_been_found() -> None:
    told = {
        Subject(A, "Overheated"): Told("unhealthy", UNIX - 900),
        Subject(A, "Overheated", "team", "train"): Told("unhealthy", UNIX - 900),
        Subject(A, "Overheated", "team", "ended"): Told("unhealthy", UNIX - 900),
    }
    reader = Reader(Story(told, settled_at=110.0))
    holds = state({}, holders=held(whole(A), "train"))
    assert reader.at(0, holds) == []
    assert reader.at(109, holds) == []
    (cleared, of_pod) = reader.changes(110, holds)
    assert (cleared.since, cleared.at) == (UNIX - 900, UNIX + 110)
    assert of_pod.subject.pod == "train"
    assert reader.at(111, holds) == []


def test_what_comes_and_goes_before_that_is_told_at_once() -> None:
    reader = Reader(Story({}, settled_at=110.0))
    assert reader.at(5, HOT) == [f"{A} Overheated raised"]
    assert reader.at(9, WELL) == [f"{A} Overheated cleared"]


# -- Limits --


def test_what_flaps_is_held_back_and_told_as_it_is_in_the_end() -> None:
    reader, said = Reader(), []
    for second in range(20):
        said += reader.at(second, WELL if second % 2 else HOT)
    assert said == [f"{A} Overheated {kind}" for kind in ("raised", "cleared")] * 3
    assert reader.story.held_back == 20 - EACH[0]
    assert reader.at(200, HOT) == []
    (late,) = reader.changes(5 + EACH[1], HOT)
    assert (late.kind, late.missed) == ("raised", 14)


def test_what_was_held_back_and_is_over_needs_no_word() -> None:
    reader = Reader()
    for second in range(8):
        reader.at(second, WELL if second % 2 else HOT)
    assert reader.story.held_back == 2
    assert reader.at(1000, WELL) == []


def test_one_that_flaps_holds_up_no_other() -> None:
    reader = Reader()
    for second in range(20):
        reader.at(second, WELL if second % 2 else HOT)
    assert reader.at(20, state({B: (ill("Wedged"),)})) == [f"{B} Wedged raised"]


def test_a_whole_node_is_told_slowly_and_wholly_the_node_before_its_pods() -> None:
    devices = partitioned(A, 0) + partitioned(B, 1)
    holders = {
        Held(CPX, each.id): (Holder("team", f"pod-{number:02}", "main"),)
        for number, each in enumerate(devices)
    }
    gone = state(
        {A: (ill("DriverUnbound"), ill("Wedged")), B: (ill("DriverUnbound"),)},
        devices=devices,
        holders=holders,
    )
    reader = Reader()
    said = reader.at(0, gone)
    assert said[:3] == [f"{A} DriverUnbound raised", f"{A} Wedged raised", f"{B} DriverUnbound raised"]
    assert len(said) == OVERALL[0] == 25
    assert reader.story.held_back == 3 + 24 - 25
    assert reader.at(4, gone) == []
    later = [*reader.at(5, gone), *reader.at(10, gone), *reader.at(600, gone)]
    assert len(later) == 2
    assert len(set(said + later)) == 27


def test_nothing_is_kept_of_what_is_over() -> None:
    reader = Reader()
    reader.at(0, state({A: (ill("Overheated"),)}, holders=held(whole(A), "train")))
    reader.at(1, WELL)
    reader.at(10_000, WELL)
    assert (reader.story.told, reader.story._seen, reader.story._buckets) == ({}, {}, {})

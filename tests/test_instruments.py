from typing import get_args

from prometheus_client import REGISTRY
from prometheus_client.exposition import generate_latest

from amdgpu_plugin.exposition.kubernetes.problems import ProblemKind
from amdgpu_plugin.instruments import EVENT_RESULTS, Instruments


def samples(instruments: Instruments, prefix: str) -> dict[tuple[str, ...], float]:
    """Values by name and label values."""
    return {
        (sample.name.removeprefix("amdgpu_plugin_"), *sample.labels.values()): sample.value
        for metric in instruments.collect()
        for sample in metric.samples
        if sample.name.startswith(prefix)
    }


def test_two_daemons_in_one_process_count_apart() -> None:
    one, other = Instruments(), Instruments()
    one.starved.inc()
    counts = [samples(each, "amdgpu_plugin_starved")["starved_total",] for each in (one, other)]
    assert counts == [1.0, 0.0]


def test_nothing_is_registered_globally() -> None:
    Instruments()
    assert b"amdgpu" not in generate_latest(REGISTRY)


def test_what_is_known_beforehand_starts_at_zero() -> None:
    instruments = Instruments()
    told = samples(instruments, "amdgpu_plugin_")
    assert set(told.values()) == {0.0}
    assert {name for name, *_ in told} >= {
        "starved_total",
        "uevents_total",
        "uevent_overruns_total",
        "uevents_dropped_total",
        "pod_resources_failures_total",
        "health_push_seconds_count",
        "probe_seconds_count",
        "rpc_seconds_count",
    }


def test_a_resource_starts_at_zero() -> None:
    instruments = Instruments()
    instruments.serve("amd.com/gpu")
    told = [key for key in samples(instruments, "amdgpu_plugin_") if "amd.com/gpu" in key]
    assert sorted(told) == [
        ("allocations_total", "amd.com/gpu", "granted"),
        ("allocations_total", "amd.com/gpu", "refused"),
        ("registrations_total", "amd.com/gpu", "accepted"),
        ("registrations_total", "amd.com/gpu", "refused"),
        ("streams_lost_total", "amd.com/gpu"),
        ("streams_opened_total", "amd.com/gpu"),
    ]


def test_events_of_odd_names_do_not_make_new_series() -> None:
    instruments = Instruments()
    before = samples(instruments, "amdgpu_plugin_uevents_total").keys()
    for number in range(100):
        instruments.heard(f"action{number}", f"subsystem{number}")
        instruments.heard("add", f"subsystem{number}")
    after = samples(instruments, "amdgpu_plugin_uevents_total")
    assert after.keys() - before == {("uevents_total", "other", "other"), ("uevents_total", "add", "other")}
    assert after["uevents_total", "other", "other"] == 100.0


def test_events_of_gpus_count_by_their_names() -> None:
    instruments = Instruments()
    instruments.heard("unbind", "pci")
    instruments.heard("change", "drm")
    counted = {
        key: value for key, value in samples(instruments, "amdgpu_plugin_uevents_total").items() if value
    }
    assert counted == {("uevents_total", "unbind", "pci"): 1.0, ("uevents_total", "change", "drm"): 1.0}


def test_no_sample_tells_when_its_counter_was_made() -> None:
    instruments = Instruments()
    instruments.serve("amd.com/gpu")
    assert [key for key in samples(instruments, "") if key[0].endswith("_created")] == []


def test_families_name_what_is_collected() -> None:
    instruments = Instruments()
    collected = {metric.name: metric.type for metric in instruments.collect() if "amdgpu" in metric.name}
    assert collected == {family.name.removesuffix("_total"): family.type for family in instruments.families}


def test_what_is_told_to_kubernetes_starts_at_zero_where_it_is_told() -> None:
    instruments = Instruments()
    assert samples(instruments, "amdgpu_plugin_kubernetes") == {}
    instruments.tell_kubernetes()
    told = samples(instruments, "amdgpu_plugin_kubernetes")
    assert set(told.values()) == {0.0}
    assert {key[1] for key in told if key[0] == "kubernetes_errors_total"} == set(get_args(ProblemKind))
    assert {key[1] for key in told if key[0] == "kubernetes_events_total"} == set(EVENT_RESULTS)

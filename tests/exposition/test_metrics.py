"""What Prometheus sees of a node, by what prometheus-client's own parsers make of the page."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_classic

from amdgpu_plugin.exposition.metrics import TABLE
from amdgpu_plugin.exposition.reference import BUDGET, metrics_page
from amdgpu_plugin.exposition.rendering import exposed, node_metrics
from amdgpu_plugin.exposition.snapshot import NOT_STARTED, Registration, Snapshot
from amdgpu_plugin.health.conditions import CONDITIONS
from amdgpu_plugin.instruments import Instruments
from amdgpu_plugin.node import Condition, GpuStatus, Held, Holder, Verdict
from amdgpu_plugin.telemetry.readings import (
    MetricsFormat,
    RasCounts,
    Readings,
    Temperature,
)
from tests.exposition.states import (
    ABOUT,
    CPX,
    GPU,
    MI300X,
    UNBOUND,
    A,
    B,
    largest,
    node,
    partitioned,
    shot,
    whole,
    without_gpu,
)

Labels = frozenset[tuple[str, str]]
Series = Mapping[tuple[str, Labels], float]
METRICS_MD = Path(__file__).parents[2] / "docs" / "metrics.md"


def openmetrics(snapshot: Snapshot) -> Series:
    """The samples of the other format, whose parser is strict."""
    text = exposed(node_metrics(snapshot), "openmetrics").decode() + "# EOF\n"
    families = parse_openmetrics(text)  # type: ignore[no-untyped-call]
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def page(snapshot: Snapshot) -> str:
    return exposed(node_metrics(snapshot), "classic").decode()


def series(snapshot: Snapshot) -> Series:
    """All samples; two of the same name and labels are a fault."""
    samples = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in parse_classic(page(snapshot))
        for sample in family.samples
    ]
    assert len(dict(samples)) == len(samples)
    return dict(samples)


def named(snapshot: Snapshot, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one metric, by the values of its labels in the table's order."""
    labels = next(row.family.labels for row in TABLE if row.family.name == name)
    return {
        tuple(dict(found).get(label, "") for label in labels): value
        for (sample, found), value in series(snapshot).items()
        if sample == name
    }


def names(snapshot: Snapshot) -> set[str]:
    return {name for name, _ in series(snapshot)}


# -- The table --


def test_page_of_the_whole_node_has_every_metric_of_the_table_but_two() -> None:
    missing = {row.family.name for row in TABLE} - names(largest())
    # no MI300X has a fan or says in the old way what throttles it
    assert missing == {"amdgpu_fan_speed_rpm", "amdgpu_throttle_active"}


def test_metrics_have_the_names_and_labels_that_others_depend_on() -> None:
    table = {row.family.name: row.family.labels for row in TABLE}
    own = {family.name: family.labels for family in Instruments().families}
    promised = {
        "amdgpu_device_healthy": ("gpu", "device"),
        "amdgpu_device_would_be_healthy": ("gpu", "device"),
        "amdgpu_gpu_condition": ("gpu", "condition"),
        "amdgpu_device_allocated": ("gpu", "device", "resource", "namespace", "pod", "container"),
        "amdgpu_temperature_celsius": ("gpu", "sensor"),
        "amdgpu_vram_used_bytes": ("gpu",),
        "amdgpu_ras_errors_total": ("gpu", "block", "severity"),
        "amdgpu_resets_total": ("gpu",),
        "amdgpu_last_reading_timestamp_seconds": ("gpu",),
        "amdgpu_plugin_registered": ("resource",),
        "amdgpu_plugin_kfd_readable": (),
        "amdgpu_plugin_conflict": (),
        "amdgpu_plugin_simulated": (),
        "amdgpu_plugin_expected_gpus": (),
        "amdgpu_plugin_health_guard_active": (),
        "amdgpu_plugin_uevents_total": ("action", "subsystem"),
        "amdgpu_plugin_uevent_overruns_total": (),
        "amdgpu_plugin_health_push_seconds": (),
        "amdgpu_plugin_rpc_seconds": ("method",),
    }
    assert {name: (table | own).get(name) for name in promised} == promised
    assert table["amdgpu_gpu_info"][0] == "gpu"
    assert table["amdgpu_device_info"][:3] == ("gpu", "device", "resource")


def test_no_name_stands_twice() -> None:
    families = [row.family for row in TABLE] + list(Instruments().families)
    assert [name for name, times in Counter(family.name for family in families).items() if times > 1] == []


def test_reference_page_is_that_of_the_table() -> None:
    remake = "python -m amdgpu_plugin.exposition > docs/metrics.md"
    assert METRICS_MD.read_text() == metrics_page(), remake


def test_series_stay_within_the_documented_budget() -> None:
    snapshot = largest()
    whole_node = series(snapshot)
    held = named(snapshot, "amdgpu_device_allocated")
    of_devices = sum("device" in dict(labels) for _, labels in whole_node) - len(held)
    of_resources = sum("resource" in dict(labels) and "gpu" not in dict(labels) for _, labels in whole_node)
    of_boards = sum("gpu" in dict(labels) and "device" not in dict(labels) for _, labels in whole_node)
    assert of_boards <= 8 * BUDGET.board
    assert of_devices <= 64 * BUDGET.device
    assert len(held) == 64 * BUDGET.container
    own, served = Instruments(), Instruments()
    for each in (own, served):
        each.tell_kubernetes()
    served.serve(CPX)
    counts = [sum(len(metric.samples) for metric in instruments.collect()) for instruments in (own, served)]
    assert of_resources + counts[1] - counts[0] <= BUDGET.resource
    assert len(whole_node) - of_boards - of_devices - len(held) - of_resources + counts[0] <= BUDGET.daemon


def test_openmetrics_says_the_same_and_is_valid() -> None:
    snapshot = largest()
    assert openmetrics(snapshot) == series(snapshot)


# -- Readings --


def test_board_readings_are_told_once_for_the_board() -> None:
    snapshot = shot(node(*partitioned(A, 0), readings={A: MI300X}))
    assert named(snapshot, "amdgpu_power_watts") == {(A,): 140.0}
    assert named(snapshot, "amdgpu_temperature_celsius") == {(A, "junction"): 61.0, (A, "mem"): 52.0}
    assert named(snapshot, "amdgpu_last_reading_timestamp_seconds") == {(A,): 2000.5}


def test_partitions_have_their_own_busy_ratio_where_it_is_known() -> None:
    snapshot = shot(node(*partitioned(A, 0), readings={A: MI300X}))
    assert named(snapshot, "amdgpu_device_gfx_busy_ratio") == {
        (A, f"{A}-cpx{number}"): (number + 1) / 10 for number in range(7)
    }


def test_what_was_not_read_has_no_sample() -> None:
    with_nothing = names(shot(node(whole(), readings={A: Readings(taken_at=1.0)})))
    without = names(shot(node(whole())))
    assert with_nothing - without == {"amdgpu_last_reading_timestamp_seconds", "amdgpu_asleep"}


def test_zeros_that_were_read_are_samples() -> None:
    zeros = Readings(
        taken_at=1.0,
        gfx_busy_ratio=0.0,
        clocks_hertz={"sclk": 0.0},
        fan_rpm=0,
        pcie_replays=0,
        ras={"umc": RasCounts(0, 0)},
    )
    snapshot = shot(node(whole(), readings={A: zeros}))
    assert named(snapshot, "amdgpu_gfx_busy_ratio") == {(A,): 0.0}
    assert named(snapshot, "amdgpu_clock_hertz") == {(A, "sclk"): 0.0}
    assert named(snapshot, "amdgpu_fan_speed_rpm") == {(A,): 0.0}
    assert named(snapshot, "amdgpu_pcie_replays_total") == {(A,): 0.0}
    # older kernels have no deferred errors
    assert named(snapshot, "amdgpu_ras_errors_total") == {
        (A, "umc", "correctable"): 0.0,
        (A, "umc", "uncorrectable"): 0.0,
    }


def test_limits_that_a_sensor_lacks_have_no_sample() -> None:
    readings = Readings(taken_at=1.0, temperatures=(Temperature("edge", 40.0, None, None),))
    snapshot = shot(node(whole(), readings={A: readings}))
    assert named(snapshot, "amdgpu_temperature_celsius") == {(A, "edge"): 40.0}
    assert "amdgpu_temperature_critical" not in page(snapshot)
    assert "amdgpu_temperature_emergency" not in page(snapshot)


@pytest.mark.parametrize(
    ("readings", "known"),
    [
        (Readings(taken_at=1.0, metrics_format=MetricsFormat(96, 1, 1)), {(A,): 1.0}),
        (Readings(taken_at=1.0, unknown_metrics=MetricsFormat(9999, 7, 7)), {(A,): 0.0}),
        (Readings(taken_at=1.0), {}),
    ],
)
def test_gpu_metrics_of_unknown_version_is_told(
    readings: Readings, known: dict[tuple[str, ...], float]
) -> None:
    assert named(shot(node(whole(), readings={A: readings})), "amdgpu_gpu_metrics_known") == known


def test_causes_of_throttling_now_are_told() -> None:
    readings = Readings(taken_at=1.0, throttled_by=("power", "thermal"))
    snapshot = shot(node(whole(), readings={A: readings}))
    assert named(snapshot, "amdgpu_throttle_active") == {(A, "power"): 1.0, (A, "thermal"): 1.0}


def test_counter_that_jumped_back_is_told_as_it_reads() -> None:
    for joules in (10.0, 3.0):
        snapshot = shot(node(whole(), readings={A: Readings(taken_at=1.0, energy_joules=joules)}))
        assert named(snapshot, "amdgpu_energy_joules_total") == {(A,): joules}


# -- Health --


def test_health_is_what_the_kubelet_is_told_of_each_device() -> None:
    ill = replace(whole(B), verdict=UNBOUND)
    assert named(shot(node(whole(A), ill)), "amdgpu_device_healthy") == {(A, A): 1.0, (B, B): 0.0}


def test_would_be_health_is_told_only_while_observed() -> None:
    status = {A: GpuStatus(would_be=Verdict("Overheated", "junction", 1.0))}
    state = node(whole(A), replace(whole(B), verdict=UNBOUND), statuses=status)
    observed = shot(replace(state, policy={"mode": "observe"}))
    assert named(observed, "amdgpu_device_would_be_healthy") == {(A, A): 0.0, (B, B): 0.0}
    assert named(observed, "amdgpu_device_healthy") == {(A, A): 1.0, (B, B): 0.0}
    assert named(shot(state), "amdgpu_device_would_be_healthy") == {}


def test_every_condition_of_a_board_is_0_or_1() -> None:
    hot = Condition("Hot", "junction 101 °C", "readings", 1.0, "inform")
    found = named(shot(node(*partitioned(A, 0), statuses={A: GpuStatus((hot,))})), "amdgpu_gpu_condition")
    assert found == {(A, name): float(name == "Hot") for name in CONDITIONS if name != "Retired"}


def test_a_devices_own_verdict_counts_for_its_board() -> None:
    held = Verdict("HeldElsewhere", "held as amdgpu_xcp_3", 1.0)
    first, *others = partitioned(A, 0)
    found = named(shot(node(replace(first, verdict=held), *others)), "amdgpu_gpu_condition")
    assert {condition for (_, condition), value in found.items() if value} == {"HeldElsewhere"}


def test_retired_devices_are_in_no_metric_but_the_allocation() -> None:
    retired = replace(whole(A), verdict=Verdict("Retired", "an ID of SPX", 1.0))
    snapshot = shot(
        node(
            retired,
            *partitioned(A, 0),
            holders={Held(GPU, A): (Holder("team", "old", "main"),)},
        )
    )
    with_device = {name for name, labels in series(snapshot) if dict(labels).get("device") == A}
    assert with_device == {"amdgpu_device_allocated"}
    conditions = named(snapshot, "amdgpu_gpu_condition")
    assert set(conditions.values()) == {0.0}


@pytest.mark.parametrize("condition", ["DriverUnbound", "DeviceLost"])
def test_a_lost_board_keeps_its_health_and_loses_its_readings(condition: str) -> None:
    gone = replace(whole(A), verdict=Verdict(condition, "gone", 1.0))
    state = node(gone, whole(B), readings={A: MI300X, B: MI300X})
    # told before the scan, and after it
    for snapshot in (shot(state), shot(without_gpu(state, A))):
        assert named(snapshot, "amdgpu_power_watts") == {(B,): 140.0}
        assert named(snapshot, "amdgpu_last_reading_timestamp_seconds") == {(B,): 2000.5}
        assert named(snapshot, "amdgpu_device_healthy") == {(A, A): 0.0, (B, B): 1.0}
        assert named(snapshot, "amdgpu_gpu_condition")[A, condition] == 1.0
        assert {gpu for gpu, *_ in named(snapshot, "amdgpu_gpu_info")} == {A, B}
    assert named(shot(without_gpu(state, A)), "amdgpu_plugin_gpus") == {(): 1.0}


def test_a_board_that_hangs_keeps_its_last_readings_and_their_age() -> None:
    hung = replace(whole(A), verdict=Verdict("Unresponsive", "no answer in 20 s", 1.0))
    snapshot = shot(node(hung, readings={A: MI300X}))
    assert named(snapshot, "amdgpu_last_reading_timestamp_seconds") == {(A,): 2000.5}


def test_a_board_that_discovery_finds_no_more_has_no_readings() -> None:
    hung = replace(whole(A), verdict=Verdict("Unresponsive", "no answer in 20 s", 1.0))
    snapshot = shot(without_gpu(node(hung, readings={A: MI300X}), A))
    assert named(snapshot, "amdgpu_power_watts") == {}


def test_resets_flaps_and_core_dumps_start_at_zero() -> None:
    snapshot = shot(node(whole(A), whole(B), statuses={B: GpuStatus(resets=3, flaps=2, core_dumps=1)}))
    assert named(snapshot, "amdgpu_resets_total") == {(A,): 0.0, (B,): 3.0}
    assert named(snapshot, "amdgpu_health_flaps_total") == {(A,): 0.0, (B,): 2.0}
    assert named(snapshot, "amdgpu_core_dumps_total") == {(A,): 0.0, (B,): 1.0}


# -- Who holds what --


def test_each_holder_has_one_series() -> None:
    first, second, *others = partitioned(A, 0)
    team, other = Holder("team", "train", "main"), Holder("other", "notebook", "shell")
    snapshot = shot(
        node(
            *(first, second, *others),
            holders={
                Held(CPX, first.id): (team, other),
                Held(CPX, second.id): (team,),
                Held("amd.com/gpu", "amdgpu_xcp_3"): (team,),
                Held("vendor.io/nic", "0000:99:00.0"): (team,),
            },
        )
    )
    assert named(snapshot, "amdgpu_device_allocated") == {
        (A, first.id, CPX, "team", "train", "main"): 1.0,
        (A, first.id, CPX, "other", "notebook", "shell"): 1.0,
        (A, second.id, CPX, "team", "train", "main"): 1.0,
    }
    assert named(snapshot, "amdgpu_plugin_holders_known") == {(): 1.0}


def test_a_container_with_two_replicas_of_a_device_holds_it_once() -> None:
    team = Holder("team", "train", "main")
    snapshot = shot(node(whole(A), holders={Held(GPU, f"{A}::0"): (team,), Held(GPU, f"{A}::1"): (team,)}))
    assert named(snapshot, "amdgpu_device_allocated") == {(A, A, GPU, "team", "train", "main"): 1.0}


def test_without_pod_resources_all_else_is_told() -> None:
    known, unknown = largest(), largest()
    unknown = replace(unknown, state=replace(unknown.state, holders=None))
    assert names(known) - names(unknown) == {"amdgpu_device_allocated"}
    assert named(unknown, "amdgpu_plugin_holders_known") == {(): 0.0}


# -- The daemon --


@pytest.mark.parametrize(
    ("registration", "registered"),
    [
        (Registration(registered=True, streams=1, phase=""), 1.0),
        (Registration(registered=True, streams=0, phase=""), 0.0),
        (Registration(registered=False, streams=1, phase=""), 0.0),
        (NOT_STARTED, 0.0),
    ],
)
def test_registered_needs_a_live_stream(registration: Registration, registered: float) -> None:
    snapshot = shot(node(whole()), registrations={GPU: registration})
    assert named(snapshot, "amdgpu_plugin_registered") == {(GPU,): registered}


def test_a_resource_without_registration_yet_is_there_and_0() -> None:
    snapshot = shot(node(whole()), registrations={})
    assert named(snapshot, "amdgpu_plugin_registered") == {(GPU,): 0.0}


def test_a_conflict_of_one_resource_is_one_of_the_node() -> None:
    waiting = Registration(registered=False, streams=0, phase="waiting", conflict=True)
    both = node(whole(A), *partitioned(B, 1))
    found = named(shot(both, registrations={GPU: waiting, CPX: NOT_STARTED}), "amdgpu_plugin_conflict")
    assert (found, named(shot(both), "amdgpu_plugin_conflict")) == ({(): 1.0}, {(): 0.0})


def test_expected_gpus_are_told_where_the_operator_said_how_many() -> None:
    about = replace(ABOUT, expected_gpus=8)
    assert named(shot(node(), about=about), "amdgpu_plugin_expected_gpus") == {(): 8.0}
    assert named(shot(node(), about=about), "amdgpu_plugin_gpus") == {(): 0.0}
    assert named(shot(node()), "amdgpu_plugin_expected_gpus") == {}


@pytest.mark.parametrize(("kfd", "readable"), [("readable", 1.0), ("denied", 0.0), ("absent", 0.0)])
def test_kfd_is_readable_or_not(kfd: str, readable: float) -> None:
    state = node(whole())
    driver = replace(state.inventory.driver, kfd=kfd)  # type: ignore[arg-type]
    changed = replace(state, inventory=replace(state.inventory, driver=driver))
    assert named(shot(changed), "amdgpu_plugin_kfd_readable") == {(): readable}


def test_the_interval_in_force_is_told() -> None:
    snapshot = shot(node(whole(), policy={"mode": "enforce", "interval_seconds": 10.0}))
    assert named(snapshot, "amdgpu_plugin_health_interval_seconds") == {(): 10.0}


def test_guard_and_simulation_are_told() -> None:
    snapshot = shot(node(whole(), guard_active=True), about=replace(ABOUT, simulated=True))
    assert named(snapshot, "amdgpu_plugin_health_guard_active") == {(): 1.0}
    assert named(snapshot, "amdgpu_plugin_simulated") == {(): 1.0}


# -- Odd values --


@pytest.mark.parametrize(
    "product",
    ['quo"ted', "back\\slash", "two\nlines", "<b>&amp;</b>", '{a="b"} 1', "naïve ™ 显卡", "", "\\n", "#"],
)
def test_odd_product_names_come_through(product: str) -> None:
    snapshot = shot(node(whole(product=product)))
    assert [product] == [values[1] for values in named(snapshot, "amdgpu_gpu_info")]
    found = [dict(labels)["product"] for name, labels in openmetrics(snapshot) if name == "amdgpu_gpu_info"]
    assert found == [product]


def test_a_name_that_is_no_unicode_costs_one_letter_and_not_the_page() -> None:
    snapshot = shot(node(whole(product="odd \udcff name")))
    assert [values[1] for values in named(snapshot, "amdgpu_gpu_info")] == ["odd ? name"]


def test_what_is_not_known_of_a_board_is_an_empty_label() -> None:
    snapshot = shot(node(whole(product=None, numa_node=None, integrated=None)))
    labels = next(row.family.labels for row in TABLE if row.family.name == "amdgpu_gpu_info")
    [values] = named(snapshot, "amdgpu_gpu_info")
    told = dict(zip(labels, values, strict=True))
    assert (told["product"], told["numa_node"], told["integrated"]) == ("", "", "")


def test_a_node_without_gpus_tells_of_the_daemon() -> None:
    assert names(shot(node())) == {
        "amdgpu_plugin_info",
        "amdgpu_plugin_conflict",
        "amdgpu_plugin_gpus",
        "amdgpu_plugin_kfd_readable",
        "amdgpu_plugin_holders_known",
        "amdgpu_plugin_health_guard_active",
        "amdgpu_plugin_simulated",
    }

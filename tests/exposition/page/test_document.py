"""The status page of whole and of odd nodes, read back."""

import re
from dataclasses import replace

import pytest

from amdgpu_plugin.discovery.inventory import Driver, Skipped
from amdgpu_plugin.exposition.page.document import status_page
from amdgpu_plugin.exposition.snapshot import Registration, Snapshot
from amdgpu_plugin.health.conditions import CONDITIONS
from amdgpu_plugin.node import Condition, GpuStatus, Held, Holder, NodeState, Verdict
from amdgpu_plugin.telemetry.readings import Readings
from tests.exposition.reading_pages import Node, read_page
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

HOT = Condition("Hot", "junction 101 °C", "readings", 7.0, "inform")
POD = Holder("team", "train-0", "main")


def page(state: NodeState | Snapshot) -> Node:
    return read_page(status_page(shot(state) if isinstance(state, NodeState) else state))


def headline(shown: Node) -> tuple[str, str | None]:
    (verdict,) = shown.all("div", "verdict")
    (head,) = verdict.all("h1")
    return head.text, verdict.attributes["class"]


def wrong(shown: Node) -> list[str]:
    return [each.text for part in shown.all("section", "troubles") for each in part.all("li")]


def notes(shown: Node) -> list[str]:
    return [each.text for part in shown.all("ul", "notes") for each in part.all("li")]


def row(shown: Node, address: str = A) -> list[str]:
    (body,) = [each for each in shown.all("tbody") if each.attributes.get("id") == f"gpu-{address}"]
    first = body.all("tr")[0]
    return [cell.text for cell in first.children if isinstance(cell, Node)]


def standing(shown: Node) -> dict[str, str | None]:
    """How each GPU is drawn, which is also how its rows are marked."""
    rows = {
        each.attributes["id"]: each.attributes["class"]
        for each in shown.all("tbody")
        if "id" in each.attributes
    }
    drawn = {
        str(each.attributes["data-gpu"]): (each.attributes["class"] or "").split()[1]
        for each in shown.all("g")
        if "data-gpu" in each.attributes
    }
    assert rows == {f"gpu-{address}": level for address, level in drawn.items()}
    return dict(drawn)


def detail(shown: Node, term: str) -> list[str]:
    return [
        pair.all("dd")[0].text for pair in shown.all("div") if [dt.text for dt in pair.all("dt")] == [term]
    ]


def test_all_is_well_at_one_glance() -> None:
    shown = page(node(whole(), whole(B), readings={A: MI300X, B: MI300X}, holders={}))
    assert headline(shown) == ("All 2 devices healthy", "verdict good")
    assert (wrong(shown), notes(shown)) == ([], [])
    assert row(shown) == [f"{A} NUMA 0", "Healthy", "free", "61 °C", "140 of 750 W", "0.3 of 192 GiB", "87 %"]
    assert shown.all("title")[0].text == "All 2 devices healthy · amdgpu-plugin"


def test_an_unhealthy_device_comes_first_with_reason_since_holder_and_advice() -> None:
    ill = replace(whole(B), verdict=UNBOUND)
    shown = page(node(whole(A), ill, holders={Held(GPU, B): (POD,)}))
    assert headline(shown) == ("1 of 2 devices unhealthy", "verdict bad")
    advice = CONDITIONS["DriverUnbound"].advice.replace("`", "")
    (told,) = wrong(shown)
    assert told == (
        f"DriverUnbound {B} since 1970-01-01 00:00:05 UTC no driver is bound Held by: team/train-0 "
        f"What to do: {advice}"
    )
    assert row(shown, B) == [f"{B} NUMA 0", "Unhealthy", "team/train-0 main", "no readings"]
    (reasons,) = shown.all("tr", "reasons")
    assert reasons.text == "DriverUnbound: no driver is bound, since 1970-01-01 00:00:05 UTC"


def test_partitions_stand_under_their_gpu_and_are_one_trouble() -> None:
    parts = tuple(replace(part, verdict=UNBOUND) for part in partitioned(A, 0))
    held = {Held(CPX, f"{A}-cpx2"): (POD,)}
    shown = page(node(*parts, *partitioned(B, 1), holders=held))
    assert headline(shown) == ("8 of 16 devices unhealthy", "verdict bad")
    assert [text.partition(" since")[0] for text in wrong(shown)] == [f"DriverUnbound {A} (8 devices)"]
    assert row(shown, A)[:3] == [f"{A} NUMA 0 · CPX/NPS1", "0 of 8 healthy", "1 of 8"]
    chips = [each.text for each in shown.all("ul", "parts")[0].all("li")]
    assert chips[2:4] == ["cpx2 DriverUnbound team/train-0", "cpx3 DriverUnbound free"]
    assert shown.all("ul", "parts")[1].all("li")[0].text == "cpx0 healthy free"


def test_what_informs_is_looked_at_and_nothing_is_unhealthy() -> None:
    shown = page(node(whole(), statuses={A: GpuStatus((HOT,))}))
    assert headline(shown) == ("The one device is healthy; 1 thing to look at", "verdict warn")
    assert [text.partition(" since")[0] for text in wrong(shown)] == [f"Hot {A}"]
    assert standing(shown) == {A: "warn"}


def test_what_is_bad_comes_before_what_informs() -> None:
    shown = page(node(whole(A), replace(whole(B), verdict=UNBOUND), statuses={A: GpuStatus((HOT,))}))
    assert [text.partition(" since")[0] for text in wrong(shown)] == [f"DriverUnbound {B}", f"Hot {A}"]
    assert standing(shown) == {A: "warn", B: "bad"}


def test_a_gpu_stands_as_its_worst_partition() -> None:
    elsewhere = Verdict("HeldElsewhere", "held by team/train-0 as amdgpu_xcp_3", 5.0)
    first, *rest = partitioned(A, 0)
    shown = page(node(replace(first, verdict=elsewhere), *rest))
    assert standing(shown) == {A: "bad"}
    assert row(shown)[1:3] == ["7 of 8 healthy", "not known"]
    assert [each.attributes["class"] for each in shown.all("ul", "parts")[0].all("li")] == ["bad"] + [
        "good"
    ] * 7


def test_what_else_an_ill_gpu_has_is_told_with_it() -> None:
    ill = replace(whole(), verdict=UNBOUND)
    shown = page(node(ill, statuses={A: GpuStatus((HOT,), verdict=UNBOUND)}))
    assert len(wrong(shown)) == 1
    assert "Also Hot: junction 101 °C" in wrong(shown)[0]


def test_a_condition_that_waits_for_its_hold_says_so() -> None:
    held = Condition("DriverUnbound", "no driver is bound", "presence", 5.0, "unhealthy", held=True)
    shown = page(node(replace(whole(), verdict=UNBOUND), statuses={A: GpuStatus((held,), verdict=UNBOUND)}))
    assert "Its cause is gone; it ends with the recovery hold." in wrong(shown)[0]
    assert "Also" not in wrong(shown)[0]


def test_observe_mode_is_said_and_what_it_keeps_back() -> None:
    hot = replace(HOT, name="Overheated")
    status = GpuStatus((hot,), would_be=Verdict("Overheated", "junction 107 °C", 7.0))
    shown = page(node(whole(), statuses={A: status}, policy={"mode": "observe", "interval_seconds": 30.0}))
    assert headline(shown) == ("The one device is healthy; 1 thing to look at", "verdict warn")
    assert "Kept from the kubelet by observe mode." in wrong(shown)[0]
    assert notes(shown)[0].startswith("Observe mode Only DriverUnbound and DeviceLost reach the kubelet")


@pytest.mark.parametrize(
    ("registration", "told"),
    [
        (
            Registration(
                registered=False, streams=0, phase="waiting for the kubelet", detail="no kubelet.sock"
            ),
            "Waiting for the kubelet: no kubelet.sock.",
        ),
        (Registration(registered=True, streams=0, phase="registered"), "Registered, but no stream is open."),
        (
            Registration(registered=False, streams=0, phase="conflict", detail="amd.com_gpu", conflict=True),
            "Conflict: amd.com_gpu. What to do: Another device plugin serves it: remove one of the two.",
        ),
    ],
)
def test_a_resource_the_kubelet_does_not_hear_of_is_wrong(registration: Registration, told: str) -> None:
    shown = page(shot(node(whole()), registrations={GPU: registration}))
    said = "the kubelet does not hear of amd.com/gpu"
    assert headline(shown) == (f"The one device is healthy, but {said}", "verdict bad")
    assert wrong(shown)[0].startswith(f"The kubelet does not hear of amd.com/gpu {told}")


def test_missing_gpus_are_wrong_where_the_operator_expects_them() -> None:
    shown = page(shot(node(whole()), about=replace(ABOUT, expected_gpus=8)))
    assert headline(shown) == ("The one device is healthy, but 1 of 8 GPUs are there", "verdict bad")
    none = page(shot(node(), about=replace(ABOUT, expected_gpus=8)))
    assert headline(none) == ("0 of 8 GPUs are there", "verdict bad")


def test_a_node_without_a_gpu_says_so_and_what_was_skipped() -> None:
    state = node()
    skipped = (Skipped("class/drm/card0", "not an amdgpu device (vendor 0x1a03)"),)
    shown = page(replace(state, inventory=replace(state.inventory, skipped=skipped)))
    assert headline(shown) == ("No GPU to serve", "verdict none")
    assert "Nothing is served: no device was found to offer." in shown.text
    assert "class/drm/card0 not an amdgpu device (vendor 0x1a03)" in shown.text
    assert shown.all("figure") == []


def test_what_is_not_known_says_so_and_is_never_0() -> None:
    nothing = whole(product=None, pci_id=None, numa_node=None, compute_partition=None, memory_partition=None)
    shown = page(node(nothing, readings={A: Readings(taken_at=1.0)}))
    assert row(shown)[1:] == ["Healthy", "not known", "not known", "not known", "not known", "not known"]
    assert row(shown)[0] == f"{A} NUMA not known"
    for term in ("Product", "Power", "VRAM", "GTT", "PCIe link", "Bad pages", "PCIe replays"):
        assert set(detail(shown, term)) == {"not known"}, term
    assert detail(shown, "Busy") == ["graphics not known, memory not known, video not known"]
    assert notes(shown) == ["Holders not known The kubelet's pod-resources cannot be asked who holds what."]


def test_a_gpu_asleep_is_not_woken_for_the_page() -> None:
    shown = page(node(whole(), readings={A: Readings(taken_at=1.0, asleep=True)}))
    assert row(shown)[3:] == ["asleep, and not woken to be read"]


def test_denied_kfd_is_told() -> None:
    state = node(whole())
    shown = page(replace(state, inventory=replace(state.inventory, driver=Driver("amdgpu", None, "denied"))))
    assert notes(shown)[0].startswith("KFD denied Weights of links are not known")
    assert "amdgpu (version not told), KFD denied" in shown.text


def test_a_gpu_that_left_the_bus_is_still_there_drawn_as_gone() -> None:
    lost = Verdict("DeviceLost", "removed from the bus", 5.0)
    shown = page(without_gpu(node(replace(whole(), verdict=lost), whole(B), readings={A: MI300X}), A))
    assert row(shown) == [f"{A} NUMA 0", "Unhealthy", "not known", "no readings"]
    (drawn,) = [each for each in shown.all("g") if each.attributes.get("data-gpu") == A]
    assert drawn.attributes["class"] == "gpu bad gone"


def test_retired_ids_count_for_nothing_and_are_told() -> None:
    retired = Verdict("Retired", "the compute partition mode is now SPX", 5.0)
    state = node(whole(), *(replace(part, verdict=retired) for part in partitioned(B, 1)))
    shown = page(state)
    assert headline(shown) == ("The one device is healthy", "verdict good")
    assert row(shown, B)[1] == "No device"
    chip = shown.all("ul", "parts")[0].all("li")[0]
    assert (chip.text, chip.attributes["class"]) == ("cpx0 Retired not known", "none")
    only = page(node(*(replace(part, verdict=retired) for part in partitioned(B, 1))))
    assert headline(only) == ("No GPU to serve", "verdict none")


def test_a_gpu_left_out_says_why() -> None:
    gpu = whole(left_out="devices.exclude names 1002:74a1").gpu
    state = node(whole(B))
    shown = page(
        replace(
            state, inventory=replace(state.inventory, gpus=(replace(gpu, devices=()), *state.inventory.gpus))
        )
    )
    assert row(shown)[1:3] == ["Not offered devices.exclude names 1002:74a1", "–"]


def test_a_shared_device_names_all_who_hold_it() -> None:
    listed = replace(whole(), device=replace(whole().device, replicas=4))
    other = Holder("team", "notebook", "jupyter")
    shown = page(node(listed, holders={Held(GPU, f"{A}::0"): (POD,), Held(GPU, f"{A}::3"): (other,)}))
    assert row(shown)[2] == "team/notebook jupyter team/train-0 main"
    assert len(shown.all("td", "held")[0].all("span", "holder")) == 2


def test_guard_and_simulation_are_told() -> None:
    shown = page(shot(node(whole(), guard_active=True), about=replace(ABOUT, simulated=True)))
    assert wrong(shown)[0].startswith("Every GPU has the same trouble at once")
    assert notes(shown)[0].startswith("Simulated These GPUs are not real")


@pytest.mark.parametrize("odd", ["<b onclick=x>", "\udcff\ud800", "a\x00\x1b[31mb\x85", "]]>", "&lt;\"'"])
def test_whatever_a_node_says_is_text(odd: str) -> None:
    """In every place where a node, a pod or a detail gives a word."""
    device = replace(whole().device, id=odd, resource=odd, render_node=odd, card_node=odd)
    gpu = replace(
        whole().gpu, product=odd, pci_id=odd, unique_id=odd, xgmi_hive=odd, devices=(device,), left_out=odd
    )
    ill = replace(whole(), device=device, gpu=gpu, verdict=Verdict(odd, odd, 5.0))
    condition = Condition(odd, odd, odd, 7.0, "inform")
    state = node(
        ill,
        holders={Held(odd, odd): (Holder(odd, odd, odd),)},
        statuses={A: GpuStatus((condition,))},
        readings={A: replace(MI300X, throttled_by=(odd,), ras_unknown=(odd,), clocks_hertz={odd: 1.0})},
    )
    state = replace(state, inventory=replace(state.inventory, skipped=(Skipped(odd, odd),)))
    made = status_page(shot(state, about=replace(ABOUT, node=odd, version=odd)))
    shown = read_page(made)
    assert shown.all("b", None) == [each for each in shown.all("b") if each.attributes == {}]
    assert re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", made) is None
    expected = re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", "\ufffd", odd)
    assert shown.text.count(re.sub(r"\s+", " ", expected).strip()) >= 20


def test_no_code_and_no_style_stand_in_the_page() -> None:
    shown = page(largest())

    def every(inside: Node) -> list[Node]:
        inner = [child for child in inside.children if isinstance(child, Node)]
        return inner + [each for child in inner for each in every(child)]

    nodes = every(shown)
    names = {name for each in nodes for name in each.attributes}
    assert [name for name in names if name.startswith("on") or name == "style"] == []
    assert [each.tag for each in nodes if each.tag == "style"] == []
    assert [(each.attributes, each.children) for each in nodes if each.tag == "script"] == [
        ({"src": "page.js", "defer": ""}, [])
    ]
    ids = [each.attributes["id"] for each in nodes if "id" in each.attributes]
    assert len(set(ids)) == len(ids)


def test_the_same_snapshot_gives_the_same_bytes() -> None:
    assert status_page(largest()) == status_page(largest())


def test_times_that_are_none_do_not_end_the_page() -> None:
    for absurd in (float("nan"), float("inf"), -1e300, 1e300):
        shown = page(node(replace(whole(), verdict=replace(UNBOUND, since=absurd))))
        assert "since not known" in wrong(shown)[0]

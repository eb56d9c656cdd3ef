from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amdgpu_plugin.discovery.inventory import Driver, Gpu, Inventory, Skipped
from amdgpu_plugin.discovery.naming import name_resources
from amdgpu_plugin.discovery.offering import Offering, has_discrete, offered, remarks
from tests.discovery.trees import mi300x

CARD, OTHER = (replace(mi300x(index), integrated=False) for index in (0, 1))
APU = replace(
    mi300x(2), product="AMD Radeon 780M", pci_id="1002:15bf", compute_partition=None, integrated=True
)
UNKNOWN = replace(mi300x(3), product=None, pci_id=None, integrated=None)
GONE = Skipped("class/drm/card0", "not an amdgpu device (vendor 0x1a03)")
NOT_NAMED = "left out: not named by devices.include"
BESIDE = "left out by devices.integrated: auto, and it is an APU beside discrete cards"


def inventory(*gpus: Gpu) -> Inventory:
    return Inventory(Driver("amdgpu", None, "readable"), gpus, (), (GONE,))


def reasons(gpus: Sequence[Gpu], offering: Offering, *, beside_discrete: bool = False) -> list[str | None]:
    found = offered(inventory(*gpus), offering, beside_discrete=beside_discrete)
    return [gpu.left_out for gpu in found.gpus]


def test_a_gpu_left_out_keeps_its_entry_without_devices_and_a_line_says_why() -> None:
    reason = f"left out by devices.exclude: {OTHER.pci_address}"
    found = offered(inventory(CARD, OTHER), Offering(exclude=(OTHER.pci_address,)))
    assert found == replace(
        inventory(CARD, replace(OTHER, devices=(), left_out=reason)),
        skipped=(Skipped(f"bus/pci/devices/{OTHER.pci_address}", reason), GONE),
    )


def test_by_default_nothing_discrete_is_left_out() -> None:
    assert offered(inventory(CARD, OTHER, UNKNOWN), Offering()) == inventory(CARD, OTHER, UNKNOWN)


@pytest.mark.parametrize(
    "selector", ["0000:47:00.0", "1002:15bf", "1002:15BF", "AMD Radeon 780M", "amd radeon 780m"]
)
def test_address_id_and_product_name_a_gpu(selector: str) -> None:
    gpus = [CARD, APU]
    assert reasons(gpus, Offering(include=(selector,))) == [NOT_NAMED, None]
    assert reasons(gpus, Offering(exclude=(selector,))) == [None, f"left out by devices.exclude: {selector}"]


def test_exclude_goes_over_include() -> None:
    offering = Offering(include=("1002:74a1",), exclude=(CARD.pci_address,))
    assert reasons([CARD, OTHER, APU], offering) == [
        f"left out by devices.exclude: {CARD.pci_address}",
        None,
        NOT_NAMED,
    ]


@pytest.mark.parametrize(
    ("gpus", "offering", "expected"),
    [
        ([CARD, APU], Offering(), [None, BESIDE]),
        ([UNKNOWN, APU], Offering(), [None, BESIDE]),
        ([APU], Offering(), [None]),
        ([CARD, APU], Offering(integrated="always"), [None, None]),
        ([APU], Offering(integrated="never"), ["left out by devices.integrated: never, and it is an APU"]),
        ([CARD, APU], Offering(include=("1002:74a1", "1002:15bf")), [None, None]),
        (
            [CARD, APU],
            Offering(exclude=("1002:74a1",)),
            ["left out by devices.exclude: 1002:74a1", None],
        ),
    ],
    ids=["beside", "beside unknown", "alone", "always", "never", "named", "the card excluded"],
)
def test_an_apu_beside_discrete_cards_is_left_out(
    gpus: list[Gpu], offering: Offering, expected: list[str | None]
) -> None:
    assert reasons(gpus, offering) == expected


def test_an_apu_takes_not_the_place_of_a_card_that_failed() -> None:
    assert reasons([APU], Offering(), beside_discrete=True) == [BESIDE]


def test_cards_left_out_are_no_discrete_ones_to_be_beside() -> None:
    assert has_discrete(offered(inventory(CARD, APU), Offering()))
    assert not has_discrete(offered(inventory(CARD, APU), Offering(exclude=(CARD.pci_address,))))


def test_selectors_that_name_nothing_are_told() -> None:
    offering = Offering(include=("1002:74a1", "AMD Instinct MI210"), exclude=("0000:ff:00.0",))
    assert remarks(inventory(CARD), offering) == (
        "devices.include: AMD Instinct MI210 names no GPU of this node",
        "devices.exclude: 0000:ff:00.0 names no GPU of this node",
    )
    assert remarks(inventory(), offering) == ()


def sized(gpu: Gpu, gib: float) -> Gpu:
    return replace(gpu, vram_bytes=int(gib * 1024**3))


def test_one_name_for_devices_of_very_different_size_is_told() -> None:
    node = inventory(sized(CARD, 16), sized(OTHER, 33))
    assert remarks(node, Offering()) == (
        "amd.com/gpu covers devices with 16.0 GiB and with 33.0 GiB of VRAM: a pod may get either",
    )


@pytest.mark.parametrize(
    "gpus",
    [
        [sized(CARD, 16), sized(OTHER, 32)],
        [sized(CARD, 16), replace(OTHER, vram_bytes=None)],
        [sized(CARD, 16), replace(sized(OTHER, 192), devices=())],
        [sized(CARD, 192), sized(mi300x(1, "CPX", resource="amd.com/cpx_nps1"), 192)],
        [sized(CARD, 24), sized(mi300x(1, "CPX"), 192)],
    ],
    ids=["twofold", "not known", "not served", "another name", "slices as large"],
)
def test_sizes_that_differ_little_or_not_under_one_name_are_not(gpus: list[Gpu]) -> None:
    assert remarks(inventory(*gpus), Offering()) == ()


SELECTORS = st.sampled_from([CARD.pci_address, "1002:74a1", "1002:15bf", "AMD Radeon 780M", "nothing"])


@given(
    st.lists(SELECTORS, max_size=3),
    st.lists(SELECTORS, max_size=3),
    st.sampled_from(["auto", "always", "never"]),
    st.sets(st.sampled_from([CARD, OTHER, APU, UNKNOWN])),
)
def test_every_gpu_is_offered_whole_or_left_out_with_a_line(
    include: list[str], exclude: list[str], integrated: str, gpus: set[Gpu]
) -> None:
    before = inventory(*sorted(gpus, key=lambda gpu: gpu.pci_address))
    offering = Offering(tuple(include), tuple(exclude), integrated)  # type: ignore[arg-type]
    after = name_resources(offered(before, offering), "single")
    told = {skipped.path.rpartition("/")[2] for skipped in after.skipped if skipped != GONE}
    assert {gpu.pci_address for gpu in after.gpus if gpu.left_out} == told
    for was, now in zip(before.gpus, after.gpus, strict=True):
        assert now == (replace(was, devices=(), left_out=now.left_out) if now.left_out else was)

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amdgpu_plugin.discovery.inventory import Driver, Gpu, Inventory, device_of, is_replica
from amdgpu_plugin.discovery.naming import Naming, Shares, Sharing, name_resources, names_of, style_of
from tests.discovery.trees import mi300x

SPX, DPX, CPX = (mi300x(index, mode) for index, mode in enumerate(("SPX", "DPX", "CPX")))
CPX_NPS4 = replace(CPX, memory_partition="NPS4")
CPX_UNKNOWN = replace(mi300x(4, "CPX"), memory_partition=None)
NEVER = replace(SPX, compute_partition=None, memory_partition=None)
NONE_YET = replace(DPX, devices=())


def inventory(gpus: Sequence[Gpu]) -> Inventory:
    """GPUs whose devices are not yet named."""
    unnamed = (
        replace(gpu, devices=tuple(replace(device, resource="") for device in gpu.devices)) for gpu in gpus
    )
    return Inventory(Driver("amdgpu", None, "readable"), tuple(unnamed), (), ())


def resources(gpus: Sequence[Gpu], naming: Naming, kept: dict[str, str] | None = None) -> list[set[str]]:
    named = name_resources(inventory(gpus), naming, kept)
    return [{device.resource for device in gpu.devices} for gpu in named.gpus]


@pytest.mark.parametrize(
    ("gpu", "style"),
    [(SPX, None), (NEVER, None), (DPX, "dpx_nps1"), (CPX_NPS4, "cpx_nps4"), (CPX_UNKNOWN, "cpx")],
)
def test_style_is_the_size_of_a_partition(gpu: Gpu, style: str | None) -> None:
    assert style_of(gpu) == style


@pytest.mark.parametrize("gpu", [SPX, NEVER, DPX, CPX, CPX_NPS4, CPX_UNKNOWN])
def test_single_gives_one_name_where_all_are_alike(gpu: Gpu) -> None:
    assert resources([gpu, gpu], "single") == [{"amd.com/gpu"}] * 2


def test_single_keeps_the_name_for_whole_gpus_where_styles_differ() -> None:
    assert resources([SPX, NEVER, DPX, CPX, CPX_NPS4], "single") == [
        {"amd.com/gpu"},
        {"amd.com/gpu"},
        {"amd.com/dpx_nps1"},
        {"amd.com/cpx_nps1"},
        {"amd.com/cpx_nps4"},
    ]


def test_single_never_gives_two_sizes_one_name() -> None:
    assert resources([CPX, DPX], "single") == [{"amd.com/cpx_nps1"}, {"amd.com/dpx_nps1"}]


def test_gpu_without_devices_does_not_count() -> None:
    assert resources([CPX, NONE_YET], "single") == [{"amd.com/gpu"}, set()]


def test_style_not_wholly_known_renames_no_other() -> None:
    assert resources([CPX, CPX_UNKNOWN, CPX], "single") == [
        {"amd.com/gpu"},
        {"amd.com/cpx"},
        {"amd.com/gpu"},
    ]
    assert resources([SPX, CPX_UNKNOWN], "single") == [{"amd.com/gpu"}, {"amd.com/cpx"}]


@pytest.mark.parametrize(
    ("gpu", "resource"),
    [
        (NEVER, "amd.com/gpu"),
        (SPX, "amd.com/spx_nps1"),
        (DPX, "amd.com/dpx_nps1"),
        (CPX_NPS4, "amd.com/cpx_nps4"),
        (CPX_UNKNOWN, "amd.com/cpx"),
    ],
)
def test_mixed_names_every_partitionable_gpu_by_its_style(gpu: Gpu, resource: str) -> None:
    assert resources([gpu, NEVER], "mixed") == [{resource}, {"amd.com/gpu"}]


def test_single_keeps_the_name_a_style_first_got() -> None:
    kept = names_of(name_resources(inventory([CPX]), "single"))
    assert kept == {"cpx_nps1": "amd.com/gpu"}
    assert resources([CPX, DPX], "single", kept) == [{"amd.com/gpu"}, {"amd.com/dpx_nps1"}]


def test_name_kept_for_one_style_is_given_to_no_other() -> None:
    # the last CPX GPU has become DPX while its old IDs are still listed
    assert resources([DPX], "single", {"cpx_nps1": "amd.com/gpu"}) == [{"amd.com/dpx_nps1"}]
    assert resources([CPX], "single", {"": "amd.com/gpu"}) == [{"amd.com/cpx_nps1"}]


def test_whole_gpus_do_not_join_partitions_under_one_name() -> None:
    # all were CPX and have the name; the one that is whole now must not be taken for one of them
    kept = {"cpx_nps1": "amd.com/gpu"}
    assert resources([SPX, CPX], "single", kept) == [{"amd.com/spx_nps1"}, {"amd.com/gpu"}]


def test_whole_gpus_keep_the_name_they_first_got() -> None:
    assert resources([SPX, CPX], "single", {"": "amd.com/gpu"}) == [
        {"amd.com/gpu"},
        {"amd.com/cpx_nps1"},
    ]
    assert resources([SPX], "single", {"": "amd.com/spx_nps1"}) == [{"amd.com/spx_nps1"}]


def test_gpu_that_is_never_partitioned_has_one_name_only() -> None:
    assert resources([NEVER], "single", {"cpx_nps1": "amd.com/gpu"}) == [{"amd.com/gpu"}]


def test_names_are_told_by_style() -> None:
    named = name_resources(inventory([SPX, CPX, NONE_YET]), "single")
    assert names_of(named) == {"": "amd.com/gpu", "cpx_nps1": "amd.com/cpx_nps1"}


def test_naming_changes_nothing_but_resources() -> None:
    named = name_resources(inventory([SPX, DPX]), "single")
    assert inventory(named.gpus) == inventory([SPX, DPX])


def served(
    gpus: Sequence[Gpu], sharing: Sharing, kept: dict[str, str] | None = None
) -> list[tuple[str, int]]:
    named = name_resources(inventory(gpus), "single", kept, sharing)
    return [(gpu.devices[0].resource, gpu.devices[0].replicas) for gpu in named.gpus]


@pytest.mark.parametrize(
    ("sharing", "expected"),
    [
        (Sharing(), [("amd.com/gpu", 1), ("amd.com/cpx_nps1", 1)]),
        (Sharing(Shares(4)), [("amd.com/gpu", 4), ("amd.com/cpx_nps1", 4)]),
        (Sharing(Shares(4, rename=True)), [("amd.com/gpu.shared", 4), ("amd.com/cpx_nps1.shared", 4)]),
        (Sharing(Shares(1, rename=True)), [("amd.com/gpu", 1), ("amd.com/cpx_nps1", 1)]),
        (
            Sharing(Shares(4, rename=True), {"amd.com/gpu": Shares(1, rename=True)}),
            [("amd.com/gpu", 1), ("amd.com/cpx_nps1.shared", 4)],
        ),
        (
            Sharing(resources={"amd.com/cpx_nps1": Shares(2, rename=True)}),
            [("amd.com/gpu", 1), ("amd.com/cpx_nps1.shared", 2)],
        ),
    ],
    ids=["not", "all", "renamed", "renamed, but not shared", "one not", "one only"],
)
def test_shared_resources_have_replicas_and_may_say_so(
    sharing: Sharing, expected: list[tuple[str, int]]
) -> None:
    assert served([SPX, CPX], sharing) == expected


def test_kept_names_are_the_same_whether_shared_or_not() -> None:
    renamed = Sharing(Shares(2, rename=True))
    named = name_resources(inventory([CPX]), "single", None, renamed)
    assert names_of(named) == {"cpx_nps1": "amd.com/gpu"}
    assert served([CPX, DPX], renamed, names_of(named)) == [
        ("amd.com/gpu.shared", 2),
        ("amd.com/dpx_nps1.shared", 2),
    ]


def test_a_device_listed_under_an_earlier_name_is_served_as_shared_now() -> None:
    device = SPX.devices[0]
    shared = replace(device, resource="amd.com/gpu.shared", replicas=2)
    assert Sharing(Shares(2, rename=True)).served(device, "amd.com/gpu") == shared
    assert Sharing(Shares(2, rename=True)).served(device, "amd.com/gpu.shared") == shared
    assert Sharing().served(shared, "amd.com/gpu.shared") == replace(device, resource="amd.com/gpu")


@given(
    st.lists(st.sampled_from(["SPX", "DPX", "QPX", "CPX"]), min_size=1, max_size=8),
    st.sampled_from(["single", "mixed"]),
    st.builds(Shares, st.integers(1, 5), st.booleans()),
    st.dictionaries(
        st.sampled_from(["amd.com/gpu", "amd.com/cpx_nps1", "amd.com/spx_nps1"]),
        st.builds(Shares, st.integers(1, 5), st.booleans()),
    ),
)
def test_no_id_is_served_twice_whatever_the_resource(
    modes: list[str], naming: Naming, default: Shares, by_resource: dict[str, Shares]
) -> None:
    gpus = [mi300x(index, mode) for index, mode in enumerate(modes)]
    named = name_resources(inventory(gpus), naming, None, Sharing(default, by_resource))
    devices = [device for gpu in named.gpus for device in gpu.devices]
    served_ids = [served_id for device in devices for served_id in device.served_ids]
    assert len(set(served_ids)) == len(served_ids) == sum(device.replicas for device in devices)
    for device in devices:
        assert {device_of(served_id) for served_id in device.served_ids} == {device.id}
        assert {is_replica(served_id) for served_id in device.served_ids} == {device.replicas > 1}

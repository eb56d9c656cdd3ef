from dataclasses import replace

import pytest

from amdgpu_plugin.discovery.inventory import Gpu, Link
from amdgpu_plugin.discovery.kfd import KfdLink, KfdNode
from amdgpu_plugin.discovery.links import link_graph
from tests.discovery.trees import ADDRESSES, HIVE, mi300x

A, B, C = ADDRESSES[:3]
WHOLE = tuple(mi300x(index) for index in range(3))
CPU_LINK, HYPERTRANSPORT, PCIE, XGMI = KfdLink(0, 2, 20, 64000), 1, 2, 11


def node(number: int, *links: KfdLink) -> KfdNode:
    return KfdNode(
        number=number,
        render_minor=128 + number,
        domain=0,
        location_id=0,
        hive_id=HIVE,
        unique_id=0,
        num_xcc=8,
        vram_bytes=None,
        links=links,
        skipped=(),
    )


def test_links_between_gpus_are_kfds_and_links_to_cpus_are_none() -> None:
    owners = {
        A: (node(2, CPU_LINK, KfdLink(3, XGMI, 15, 64000), KfdLink(4, PCIE, 52, 32000)),),
        B: (node(3, CPU_LINK, KfdLink(2, XGMI, 15, 64000)),),
        C: (node(4, CPU_LINK, KfdLink(2, PCIE, 52, 32000)),),
    }
    assert link_graph(WHOLE, owners) == (Link(A, B, "xgmi", 15, 64000), Link(A, C, "pcie", 52, 32000))


def test_link_told_by_one_end_alone_is_a_link() -> None:
    owners = {A: (node(2),), B: (node(3, KfdLink(2, XGMI, 15, 64000)),)}
    assert link_graph(WHOLE[:2], owners) == (Link(A, B, "xgmi", 15, 64000),)


@pytest.mark.parametrize(
    ("links", "best"),
    [
        ([KfdLink(3, XGMI, 30, 100), KfdLink(3, XGMI, 15, 50)], Link(A, B, "xgmi", 15, 50)),
        ([KfdLink(3, PCIE, 40, 100), KfdLink(3, XGMI, 15, 0)], Link(A, B, "xgmi", 15, None)),
        ([KfdLink(3, XGMI, 15, 50), KfdLink(3, XGMI, 15, 100)], Link(A, B, "xgmi", 15, 100)),
        ([KfdLink(3, XGMI, None, 100), KfdLink(3, PCIE, 52, 0)], Link(A, B, "pcie", 52, None)),
        ([KfdLink(3, XGMI, None, None)], Link(A, B, "xgmi", None, None)),
        ([KfdLink(3, XGMI, 0, 100), KfdLink(3, XGMI, 15, 100)], Link(A, B, "xgmi", 0, 100)),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_of_several_links_the_lightest_and_then_the_widest_counts(
    links: list[KfdLink], best: Link, *, turned: bool
) -> None:
    told = links[::-1] if turned else links
    assert link_graph(WHOLE[:2], {A: (node(2, *told),), B: (node(3),)}) == (best,)


def test_link_of_another_type_is_none_of_ours() -> None:
    owners = {A: (node(2, KfdLink(3, HYPERTRANSPORT, 32, 0)),), B: (node(3),)}
    assert link_graph(WHOLE[:2], owners) == ()


def test_gpus_that_kfd_joins_by_nothing_have_no_link() -> None:
    assert link_graph(WHOLE[:2], {A: (node(2, CPU_LINK),), B: (node(3, CPU_LINK),)}) == ()


def test_partitions_of_a_gpu_are_linked_internally_once() -> None:
    partitioned = (mi300x(0, "DPX"), mi300x(1, "DPX"))
    owners = {
        A: (
            node(2, KfdLink(3, XGMI, 13, 819200), KfdLink(4, XGMI, 41, 0)),
            node(3, KfdLink(2, XGMI, 13, 819200), KfdLink(5, XGMI, 28, 0)),
        ),
        B: (node(4, KfdLink(5, XGMI, 13, 819200)), node(5, KfdLink(4, XGMI, 13, 819200))),
    }
    assert link_graph(partitioned, owners) == (
        Link(A, A, "internal", 13, 819200),
        Link(A, B, "xgmi", 28, None),
        Link(B, B, "internal", 13, 819200),
    )


@pytest.mark.parametrize(
    ("hives", "kind"),
    [((HIVE, HIVE), "xgmi"), ((HIVE, 7), "pcie"), ((None, None), "pcie"), ((HIVE, None), "pcie")],
)
def test_without_kfd_the_hive_tells_the_kind_and_nothing_the_weight(
    hives: tuple[int | None, int | None], kind: str
) -> None:
    gpus = tuple(
        replace(gpu, xgmi_hive=None if hive is None else str(hive))
        for gpu, hive in zip(WHOLE, hives, strict=False)
    )
    assert [(link.kind, link.weight, link.bandwidth_mb_s) for link in link_graph(gpus, {})] == [
        (kind, None, None)
    ]


def test_without_kfd_partitions_are_linked_internally() -> None:
    gpus = (mi300x(0, "DPX", kfd=False), mi300x(1, kfd=False))
    assert link_graph(gpus, {}) == (Link(A, A, "internal", None, None), Link(A, B, "xgmi", None, None))


def test_gpu_that_kfd_does_not_show_is_linked_by_its_hive_alone() -> None:
    owners = {A: (node(2, KfdLink(3, XGMI, 15, 64000)),), B: (node(3),)}
    assert link_graph(WHOLE, owners) == (
        Link(A, B, "xgmi", 15, 64000),
        Link(A, C, "xgmi", None, None),
        Link(B, C, "xgmi", None, None),
    )


def test_links_go_by_address_as_a_number() -> None:
    wide = "10000:01:00.0"
    gpus: tuple[Gpu, ...] = (WHOLE[0], replace(WHOLE[1], pci_address=wide))
    owners = {wide: (node(3, KfdLink(2, XGMI, 15, 1)),), A: (node(2),)}
    assert link_graph(gpus, owners) == (Link(A, wide, "xgmi", 15, 1),)

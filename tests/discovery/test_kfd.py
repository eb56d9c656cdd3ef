import errno
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amdgpu_plugin.capture_file import Entry, Folder
from amdgpu_plugin.discovery.inventory import Skipped
from amdgpu_plugin.discovery.kfd import (
    Denied,
    KfdLink,
    KfdNode,
    NodeAnswer,
    NotAGpu,
    list_nodes,
    parse_link,
    parse_properties,
    read_node,
)
from amdgpu_plugin.sysfs import Absent, Blob, Garbled, Refused
from tests.discovery.trees import (
    ADDRESSES,
    HIVE,
    KFD,
    NODES,
    VRAM_BYTES,
    Tree,
    gone,
    in_memory,
    lines,
    put,
    put_kfd_cpus,
    put_kfd_gpu,
    unique_id,
)

WANTED = frozenset({"location_id", "hive_id"})
BOTH = {"location_id": 1280, "hive_id": HIVE}
NODE = KfdNode(
    number=2,
    render_minor=128,
    domain=0,
    location_id=0x0500,
    hive_id=HIVE,
    unique_id=unique_id(ADDRESSES[0]),
    num_xcc=8,
    vram_bytes=VRAM_BYTES,
    links=(KfdLink(0, 2, 20, 64000), KfdLink(3, 11, 15, 64000)),
    skipped=(),
)


def tree_of_one(**changed: Any) -> Tree:
    """KFD with a GPU as node 2; node 3 is told of, but not there to be read."""
    tree: Tree = {}
    put_kfd_cpus(tree)
    put_kfd_gpu(tree, 2, ADDRESSES[0], render=128, links=[(0, 2, 20, 64000), (3, 11, 15, 64000)], **changed)
    return tree


def answer_to(tree: Mapping[str, Entry], number: int = 2) -> NodeAnswer:
    return read_node(in_memory(dict(tree)), number, frozenset({0, 1, 2, 3}))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("location_id 1280\nhive_id 15188982192727901047\n", BOTH),
        ("simd_count 1216\nlocation_id 1280\nodd\nhive_id 15188982192727901047\nname ip discovery\n", BOTH),
        ("location_id 1280\n", {"location_id": 1280}),
        ("simd_count 1216\n", {}),
        ("\n", {}),
        ("location_id 18446744073709551615\n", {"location_id": 2**64 - 1}),
        ("location_id 1280\nhive_id 0\n\0\0\0", {"location_id": 1280, "hive_id": 0}),
        ("odd line here\nlocation_id 7\nodd\n", {"location_id": 7}),
        ("location_id 1\nlocation_id 2\n", {"location_id": 2}),
    ],
)
def test_wanted_properties_are_told(text: str, values: dict[str, int]) -> None:
    assert parse_properties(text, WANTED) == values


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("\0\0\0\0", "empty"),
        ("location_id 12", "cut short: its last line has no end"),
        ("location_id 1280\nhive_id", "cut short: its last line has no end"),
        ("location_id 12\0\0", "cut short: its last line has no end"),
        ("location_id -1\nhive_id 1\n", "location_id is not a number: '-1'"),
        ("location_id 0x500\n", "location_id is not a number: '0x500'"),
        ("location_id  1280\n", "location_id is not a number: ' 1280'"),
        ("location_id 1_280\n", "location_id is not a number: '1_280'"),
        ("location_id ١٢\n", "location_id is not a number: '١٢'"),
        ("location_id ²\n", "location_id is not a number: '²'"),
        ("location_id\nhive_id 1\n", "location_id is not a number: ''"),
        ("location_id 12 80\n", "location_id is not a number: '12 80'"),
        ("hive_id 18446744073709551616\n", "hive_id is not a number: '18446744073709551616'"),
        ("hive_id " + "9" * 5000 + "\n", f"hive_id is not a number: {'9' * 40!r}"),
        ("hive_id " + "9" * 5000 + "\nlocation_id 1\n", f"hive_id is not a number: {'9' * 40!r}"),
    ],
)
def test_text_that_cannot_be_trusted_is_refused_whole(text: str, reason: str) -> None:
    assert parse_properties(text, WANTED) == reason


KEYS = st.sampled_from(["location_id", "hive_id", "simd_count", ""])
VALUES = st.one_of(st.integers().map(str), st.text(max_size=5), st.sampled_from(["9" * 5000, "0" * 5000]))
LINES = st.lists(st.tuples(KEYS, st.sampled_from([" ", "  ", "\t", ""]), VALUES).map("".join))


@given(st.one_of(st.text(), LINES.map("\n".join), LINES.map(lambda each: "".join(f"{x}\n" for x in each))))
@example("location_id " + "9" * 5000 + "\n")
@example("location_id " + "9" * 5000 + "\nhive_id 1\n")
def test_any_text_gives_numbers_of_64_bits_or_a_reason(text: str) -> None:
    answer = parse_properties(text, WANTED)
    if not isinstance(answer, str):
        assert answer.keys() <= WANTED
        assert all(0 <= value < 2**64 for value in answer.values())


@given(
    values=st.dictionaries(st.sampled_from(["location_id", "hive_id", "domain"]), st.integers(0, 2**64 - 1))
)
def test_what_kfd_prints_is_read_back(values: dict[str, int]) -> None:
    text = lines(values)
    expected = {key: value for key, value in values.items() if key in WANTED}
    assert parse_properties(text, WANTED) == (expected if text else "empty")


@given(cut=st.integers(1, 200))
def test_text_cut_anywhere_gives_the_true_values_or_none(cut: int) -> None:
    text = lines({"simd_count": 1216, "location_id": 1280, "domain": 0, "hive_id": HIVE, "num_xcc": 8})
    answer = parse_properties(text[: len(text) - cut], WANTED)
    assert isinstance(answer, str) or answer.items() <= BOTH.items()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("type 11\nnode_to 3\nweight 15\nmax_bandwidth 64000\n", KfdLink(3, 11, 15, 64000)),
        ("type 2\nnode_to 0\n", KfdLink(0, 2, None, None)),
        ("type 2\nnode_to 0\nweight 20\nmax_bandwidth 0\n", KfdLink(0, 2, 20, 0)),
        ("type 2\nnode_to 7\nweight 20\n", "a link to node 7, which does not exist"),
        ("type 2\nweight 20\n", "no node_to or no type"),
        ("node_to 3\nweight 20\n", "no node_to or no type"),
        ("", "empty"),
        ("type 11\nnode_to 3\nweight 1", "cut short: its last line has no end"),
        ("type 11\nnode_to three\n", "node_to is not a number: 'three'"),
    ],
)
def test_link_is_understood_or_dropped_with_a_reason(text: str, answer: KfdLink | str) -> None:
    assert parse_link(text, frozenset({0, 3})) == answer


def test_nodes_are_listed_by_number() -> None:
    tree: Tree = {}
    for number in (10, 9, 0):
        put(tree, f"{NODES}/{number}", {"gpu_id": "0\n"})
    put(tree, f"{NODES}/odd", {"gpu_id": "0\n"})
    tree["class/kfd/kfd"] = tree.pop("class/kfd/kfd", tree_of_one()["class/kfd/kfd"])
    assert list_nodes(in_memory(tree)) == (0, 9, 10)


@pytest.mark.parametrize(
    ("listing", "answer"),
    [
        (Absent(), Absent()),
        (Blob(b"odd"), Absent()),
        (Folder(errno.EACCES), Refused(errno.EACCES)),
        (Folder(errno.EPERM), Refused(errno.EPERM)),
    ],
)
def test_listing_that_fails_says_how(listing: Entry, answer: Absent | Refused) -> None:
    tree: Tree = {}
    put_kfd_cpus(tree)
    tree = gone(tree, NODES)
    tree[NODES] = listing
    assert list_nodes(in_memory(tree)) == answer


def test_gpu_is_read_whole() -> None:
    assert answer_to(tree_of_one()) == NODE


def test_cpu_is_no_gpu() -> None:
    assert answer_to(tree_of_one(), 0) == NotAGpu()


@pytest.mark.parametrize("file", ["gpu_id", "properties"])
@pytest.mark.parametrize("code", [errno.EPERM, errno.EACCES])
def test_node_whose_files_are_denied_is_denied(file: str, code: int) -> None:
    assert answer_to(tree_of_one() | {f"{NODES}/2/{file}": Refused(code)}) == Denied()


@pytest.mark.parametrize("gpu_id", [Absent(), Blob(b""), Blob(b"\xff"), Blob(b"none\n"), Refused(errno.EIO)])
def test_without_a_usable_gpu_id_the_simds_tell(gpu_id: Entry) -> None:
    assert answer_to(tree_of_one() | {f"{NODES}/2/gpu_id": gpu_id}) == NODE
    assert answer_to(tree_of_one(simd_count=0) | {f"{NODES}/2/gpu_id": gpu_id}) == NotAGpu()


def test_gpu_id_of_5000_digits_is_not_usable_either() -> None:
    assert answer_to(tree_of_one() | {f"{NODES}/2/gpu_id": Blob(b"9" * 5000)}) == NODE


def test_gpu_with_cpu_cores_on_its_node_is_a_gpu() -> None:
    # old kernels with ACPI CRAT have nodes that are both
    assert answer_to(tree_of_one(cpu_cores_count=48)) == NODE


def test_old_kernels_missing_keys_get_defaults() -> None:
    old = tree_of_one(domain=None, hive_id=None, unique_id=None, num_xcc=None, gfx_target_version=None)
    assert answer_to(old) == replace(NODE, domain=None, hive_id=0, unique_id=0, num_xcc=None)


@pytest.mark.parametrize("key", ["drm_render_minor", "location_id"])
def test_node_without_what_ties_it_to_a_gpu_is_skipped(key: str) -> None:
    assert answer_to(tree_of_one(**{key: None})) == Skipped(f"{KFD}/2/properties", f"no {key}")


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        (Absent(), "vanished"),
        (Refused(errno.EIO), "EIO"),
        (Garbled("longer than 65536 bytes"), "longer than 65536 bytes"),
        (Blob(b""), "empty"),
    ],
)
def test_node_whose_properties_say_nothing_is_skipped(properties: Entry, reason: str) -> None:
    answer = answer_to(tree_of_one() | {f"{NODES}/2/properties": properties})
    assert answer == Skipped(f"{KFD}/2/properties", reason)


@pytest.mark.parametrize(
    ("banks", "vram_bytes"),
    [
        ([(1, 100)], 100),
        ([(2, 100)], 100),
        ([(1, 100), (2, 50)], 150),
        ([(0, 100)], None),
        ([(0, 100), (1, 7)], 7),
        ([(1, 0)], None),
        ([], None),
    ],
)
def test_vram_is_the_sum_of_its_banks(banks: list[tuple[int, int]], vram_bytes: int | None) -> None:
    tree = gone(tree_of_one(), f"{NODES}/2/mem_banks")
    for index, (heap, size) in enumerate(banks):
        properties = lines({"heap_type": heap, "size_in_bytes": size})
        put(tree, f"{NODES}/2/mem_banks/{index}", {"properties": properties})
    assert answer_to(tree) == replace(NODE, vram_bytes=vram_bytes)


@pytest.mark.parametrize("bank", [Blob(b""), Blob(b"heap_type 1\nsize_in_bytes 1"), Refused(errno.EIO)])
def test_vram_with_a_bank_that_cannot_be_read_is_not_known(bank: Entry) -> None:
    tree = tree_of_one()
    put(tree, f"{NODES}/2/mem_banks/1", {"properties": ""})
    tree[f"{NODES}/2/mem_banks/1/properties"] = bank
    assert answer_to(tree) == replace(NODE, vram_bytes=None)


def test_vram_of_an_old_kernel_is_its_local_mem_size() -> None:
    tree = gone(tree_of_one(local_mem_size=4096), f"{NODES}/2/mem_banks")
    assert answer_to(tree) == replace(NODE, vram_bytes=4096)


def test_direct_and_summed_links_are_both_read() -> None:
    tree = tree_of_one()
    put(tree, f"{NODES}/2/p2p_links/0", {"properties": lines({"type": 2, "node_to": 1, "weight": 52})})
    assert answer_to(tree) == replace(NODE, links=(*NODE.links, KfdLink(1, 2, 52, None)))


@pytest.mark.parametrize("silent", [Absent(), Refused(errno.EPERM), Refused(errno.EACCES)])
def test_link_that_is_gone_or_denied_is_no_news(silent: Entry) -> None:
    tree = tree_of_one() | {f"{NODES}/2/io_links/1/properties": silent}
    assert answer_to(tree) == replace(NODE, links=NODE.links[:1])


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (Blob(b""), "empty"),
        (Blob(b"\xff"), "not UTF-8 text"),
        (Refused(errno.EIO), "EIO"),
        (Blob(b"type 11\nnode_to 8\n"), "a link to node 8, which does not exist"),
    ],
)
def test_odd_link_is_dropped_and_said(odd: Entry, reason: str) -> None:
    file = "2/io_links/1/properties"
    assert answer_to(tree_of_one() | {f"{NODES}/{file}": odd}) == replace(
        NODE, links=NODE.links[:1], skipped=(Skipped(f"{KFD}/{file}", reason),)
    )

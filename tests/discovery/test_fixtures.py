"""What discovery must say of each real node in tests/fixtures/sysfs.

The numbers are those of the sources: PCI ids, addresses (KFD's location_id), node numbers, hives and link
weights as `grep` finds them there. Where a source is silent the fixture's own header tells what was derived.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import pytest

from amdgpu_plugin.capture_file import CaptureSysfs, format_capture, load_capture, parse_capture
from amdgpu_plugin.discovery import discover
from amdgpu_plugin.discovery.inventory import (
    ComputeDevice,
    Driver,
    Gpu,
    Inventory,
    KfdAccess,
    Link,
    LinkKind,
)
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.product_names import ProductNames
from amdgpu_plugin.sysfs import DirectorySysfs, Sysfs
from tests.fixtures.trees import write_tree

FOLDER = Path(__file__).parents[1] / "fixtures" / "sysfs"
NAMES = sorted(file.stem for file in FOLDER.glob("*.capture"))


@dataclass(frozen=True, slots=True)
class Expected:
    """An inventory; `skipped` holds a part of each path with a part of its reason, in the order of paths."""

    gpus: tuple[Gpu, ...]
    links: tuple[Link, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    kfd: KfdAccess = "absent"
    version: str | None = None


def whole(
    address: str,
    pci_id: str,
    render: int,
    card: int,
    numa: int | None,
    *,
    kfd_node: int | None = None,
    hive: str | None = None,
    vram: int | None = None,
    unique_id: str | None = None,
    mode: str | None = None,
    integrated: bool | None = None,
) -> Gpu:
    """An unpartitioned GPU; `mode` is SPX where it could be partitioned, and its memory is NPS1 then."""
    device = ComputeDevice(address, "amd.com/gpu", None, f"renderD{render}", f"card{card}", kfd_node)
    return Gpu(
        pci_address=address,
        product=None,
        pci_id=pci_id,
        unique_id=unique_id,
        numa_node=numa,
        vram_bytes=vram,
        compute_partition=mode,
        memory_partition=None if mode is None else "NPS1",
        xgmi_hive=hive,
        devices=(device,),
        integrated=integrated,
    )


def partitioned(gpu: Gpu, mode: str, count: int, *, first_kfd_node: int | None = None) -> Gpu:
    """`gpu` in another mode: `count` partitions whose minors follow one another."""
    (own,) = gpu.devices
    render, card = int(own.render_node[7:]), int((own.card_node or "")[4:])
    devices = tuple(
        ComputeDevice(
            f"{gpu.pci_address}-{mode.lower()}{number}",
            own.resource,
            number,
            f"renderD{render + number}",
            f"card{card + number}",
            None if first_kfd_node is None else first_kfd_node + number,
        )
        for number in range(count)
    )
    return replace(gpu, compute_partition=mode, devices=devices)


def mesh(
    addresses: Iterable[str], kind: LinkKind, weight: int | None = None, bandwidth: int | None = None
) -> tuple[Link, ...]:
    """Every two of them, linked alike."""
    return tuple(Link(a, b, kind, weight, bandwidth) for a, b in combinations(addresses, 2))


def between(
    here: Sequence[str], there: Sequence[str], kind: LinkKind, weight: int | None = None
) -> tuple[Link, ...]:
    """Each of the ones with each of the others."""
    return tuple(Link(min(a, b), max(a, b), kind, weight, None) for a in here for b in there)


def by_pair(links: Iterable[Link]) -> tuple[Link, ...]:
    return tuple(sorted(links, key=lambda link: (link.a, link.b)))


def pci(*buses: str) -> tuple[str, ...]:
    return tuple(f"0000:{bus}:00.0" for bus in buses)


def of_addresses(
    pci_id: str, numa_nodes: dict[str, int], *, step: int = 1, mode: str | None = None
) -> tuple[Gpu, ...]:
    """GPUs whose minors were given out in the order of their addresses, `step` each."""
    return tuple(
        whole(address, pci_id, 128 + step * place, step * place, numa, mode=mode)
        for place, (address, numa) in enumerate(sorted(numa_nodes.items()))
    )


def on_nodes(**buses: str) -> dict[str, int]:
    """NUMA node by address, from `n0="05 27"`."""
    return {address: int(node[1:]) for node, listed in buses.items() for address in pci(*listed.split())}


def hives(gpus: tuple[Gpu, ...], *groups: str) -> Expected:
    """Without KFD: XGMI within each hive, PCIe else. Hive ids were derived, one a group."""
    hive_of = {
        address: f"1000000000000000000{number}"
        for number, group in enumerate(groups, 1)
        for address in (group.split() if ":" in group else pci(*group.split()))
    }
    gpus = tuple(replace(gpu, xgmi_hive=hive_of.get(gpu.pci_address)) for gpu in gpus)
    links = tuple(
        Link(
            a.pci_address,
            b.pci_address,
            "xgmi" if a.xgmi_hive is not None and a.xgmi_hive == b.xgmi_hive else "pcie",
            None,
            None,
        )
        for a, b in combinations(gpus, 2)
    )
    return Expected(gpus, links)


# --- KFD topologies

BMC = ("class/drm/card0", "not an amdgpu device (vendor 0x1a03)")

# bus, first KFD node, partitions, NUMA node, unique_id
MI300X_CPX = (
    ("05", 2, 8, 0, "e3aa140f9a5f9e31"),
    ("27", 10, 8, 0, "2250f807caf2231a"),
    ("47", 18, 8, 0, "d802d560d4ba851d"),
    ("65", 26, 8, 0, "a70757a01276547a"),
    ("85", 34, 8, 1, "d465af38bcaa89bd"),
    ("a7", 42, 8, 1, "bd5b5286da906cea"),
    ("c7", 50, 8, 1, "b8f159dcba049de9"),
    ("e5", 58, 7, 1, "dd197ad1b50577f6"),
)
MI300X_CPX_ADDRESSES = pci(*(bus for bus, *_ in MI300X_CPX))
# KFD node n has renderD(n+126), and the BMC moves cards up by one.
MI300X_CPX_63 = Expected(
    gpus=tuple(
        partitioned(
            whole(
                f"0000:{bus}:00.0",
                "1002:74a1",
                node + 126,
                node - 1,
                numa,
                hive="15188982192727901047",
                vram=206141652992,
                unique_id=unique_id,
                mode="SPX",
            ),
            "CPX",
            count,
            first_kfd_node=node,
        )
        for bus, node, count, numa, unique_id in MI300X_CPX
    ),
    links=by_pair(
        (
            *mesh(MI300X_CPX_ADDRESSES, "xgmi", 41),
            *(Link(address, address, "internal", 13, 819200) for address in MI300X_CPX_ADDRESSES),
        )
    ),
    skipped=(BMC,),
    kfd="readable",
)

MI210_HIVES = {0: "12609507387757274807", 1: "18091350218769748594"}  # by NUMA node
MI210_2HIVES = Expected(
    gpus=tuple(
        whole(
            f"0000:{bus}:00.0",
            "1002:740f",
            node + 126,
            node - 2,
            numa,
            kfd_node=node,
            hive=MI210_HIVES[numa],
            vram=68702699520,
            unique_id=unique_id,
        )
        for bus, node, numa, unique_id in (
            ("03", 4, 0, "93bb3629c01aea1c"),
            ("26", 5, 0, "4344e78b718814cd"),
            ("43", 3, 0, "51276ac12ce05db3"),
            ("63", 2, 0, "1901ead3a2ecd4a6"),
            ("83", 8, 1, "f83f06efb714e6cf"),
            ("a3", 9, 1, "c34ec50444dd0a6d"),
            ("c3", 7, 1, "a3781b5a10fcf54a"),
            ("e3", 6, 1, "aea834aa2723eb57"),
        )
    ),
    links=by_pair(
        (
            *mesh(pci("03", "26", "43", "63"), "xgmi", 15, 50000),
            *mesh(pci("83", "a3", "c3", "e3"), "xgmi", 15, 50000),
            *between(pci("03", "26", "43", "63"), pci("83", "a3", "c3", "e3"), "pcie", 72),
        )
    ),
    kfd="readable",
)

MI300A_SPX = Expected(
    gpus=tuple(
        whole(
            f"000{socket}:02:00.0",
            "1002:74a0",
            128 + 8 * socket,
            8 * socket,
            socket,
            kfd_node=4 + socket,
            hive="9034655720432782706",
            unique_id=unique_id,
            mode="SPX",
        )
        for socket, unique_id in enumerate(
            ("6cdb410c2f219ac0", "a5b43667c73cac87", "655f5d89689c7f67", "5f8fb5cf1f014be1")
        )
    ),
    links=mesh([f"000{socket}:02:00.0" for socket in range(4)], "xgmi", 15),
    kfd="readable",
)

VEGA10_OLD_KERNEL = Expected(
    gpus=(
        whole(
            "0000:19:00.0",
            "1002:6860",
            128,
            0,
            0,
            kfd_node=1,
            vram=17163091968,
            unique_id="c34ec50444dd0a6c",
        ),
    ),
    kfd="readable",
)

# --- desktops


def desktop(
    bus: str,
    device: str,
    card: int,
    *,
    vram: int | None = None,
    unique_id: str | None = None,
    integrated: bool | None = None,
) -> Expected:
    """One GPU without KFD, on a machine whose PCI bus knows no NUMA node."""
    gpu = whole(
        f"0000:{bus}:00.0",
        f"1002:{device}",
        128,
        card,
        None,
        vram=vram,
        unique_id=unique_id,
        integrated=integrated,
    )
    return Expected((gpu,))


LACT = {
    "lact-hd7870": Expected(
        (),
        skipped=(
            ("bus/pci/drivers/amdgpu", "no GPU is bound to amdgpu"),
            ("class/drm/card0", "on driver radeon"),
        ),
    ),
    "lact-phoenix": Expected(
        (whole("0000:64:00.0", "1002:15bf", 128, 1, None, kfd_node=1, vram=4294967296, integrated=True),),
        kfd="readable",
    ),
    # its KFD's CPU node is not in the snapshot; VRAM is what KFD's memory bank tells
    "lact-vangogh": Expected(
        (whole("0000:04:00.0", "1002:163f", 128, 0, None, kfd_node=1, vram=8589934592),),
        skipped=(("class/kfd/kfd/topology/nodes/1/io_links/0", "node 0, which does not exist"),),
        kfd="readable",
    ),
    "lact-rx580": desktop("09", "67df", 0, vram=4294967296),
    "lact-rx6600": desktop("12", "73ff", 1),
    "lact-rx6900xt": desktop(
        "0c", "73bf", 0, vram=17163091968, unique_id="946d7e1ef9b172dd", integrated=False
    ),
    "lact-rx7600s": desktop("03", "7480", 1, integrated=False),
    "lact-rx7900xtx": desktop("03", "744c", 0),
    "lact-rx9070": desktop("03", "7550", 1, integrated=False),
    "lact-vega56": desktop("0b", "687f", 0, vram=8573157376),
}

# --- RCCL's models: which GPUs are linked by XGMI is the models' own, per pair

MI300X_VF = {
    f"00{domain}1:00:00.0": numa for numa, domains in enumerate(("1234", "5678")) for domain in domains
}
RCCL = {
    "rccl-16p1h": hives(
        of_addresses(
            "1002:740c",
            on_nodes(n0="4e 51 56 59", n1="0e 11 16 19", n2="cf d2 d7 da", n3="8f 92 97 9a"),
        ),
        "0e 11 16 19 4e 51 56 59 8f 92 97 9a cf d2 d7 da",
    ),
    "rccl-4p-940": hives(
        of_addresses("1002:74a0", on_nodes(n0="02", n1="42", n2="82", n3="c2"), step=8, mode="SPX"),
        "02 42 82 c2",
    ),
    "rccl-4p2h": hives(
        of_addresses("1002:66a1", on_nodes(n0="1d 20 23 26 3f 43 46 49")), "1d 20 23 26", "3f 43 46 49"
    ),
    "rccl-4p4h": hives(
        of_addresses("1002:738c", on_nodes(n1="cf d0 d1 d2 d3 d4 d5 d6 f0 f1 f2 f3 f4 f5 f6 f7")),
        "cf d4 d5 d6",
        "d0 d1 d2 d3",
        "f0 f1 f2 f3",
        "f4 f5 f6 f7",
    ),
    "rccl-8p-90a": hives(
        of_addresses("1002:7408", on_nodes(n0="c1 c5 c9 cd d1 d5 d9 dd")), "c1 c5 c9 cd d1 d5 d9 dd"
    ),
    "rccl-8p-90a-1": hives(
        of_addresses("1002:7408", on_nodes(n0="d1 d6 d9 de", n1="c9 ce", n3="c1 c6")),
        "c1 c6 c9 ce d1 d6 d9 de",
    ),
    "rccl-8p-940": hives(
        of_addresses("1002:74a1", on_nodes(n0="0c 15 1e 69", n1="9f af bf df"), step=8, mode="SPX"),
        "0c 15 1e 69 9f af bf df",
    ),
    "rccl-8p-940vm": hives(of_addresses("1002:74b5", MI300X_VF, step=8, mode="SPX"), " ".join(MI300X_VF)),
    "rccl-8p-pcie": hives(of_addresses("1002:66a1", on_nodes(n0="1d 20 23 26 3f 43 46 49"))),
    "rccl-8p-rome": hives(
        of_addresses("1002:66a1", on_nodes(n0="03 23 26 43", n1="83 a3 c3 c6")), "03 26 43 c6", "23 83 a3 c3"
    ),
}

# --- Corona: its BMC has card0 and no render node

CORONA11_GPUS = tuple(
    whole(f"0000:{bus}:00.0", "1002:6860", 127 + card, card, numa)
    for card, (bus, numa) in enumerate((("13", 1), ("23", 2), ("53", 5), ("73", 7)), 1)
)
CORONA240_GPUS = tuple(
    whole(f"0000:{bus}:00.0", "1002:66a1", 127 + card, card, numa, vram=33538048 * 1024, unique_id=unique_id)
    for card, (bus, numa, unique_id) in enumerate(
        (
            ("03", 0, "fd6649217326b1e1"),
            ("27", 0, "760e404172df8890"),
            ("43", 0, "7784814173497dd4"),
            ("63", 0, "3ccc310173497dfb"),
            ("83", 1, "3cc440e173497dfb"),
            ("a3", 1, "c604110172e626c4"),
            ("c3", 1, "fd6a89217326b1e1"),
            ("e3", 1, "fd6060417326b1e1"),
        ),
        1,
    )
)
HWLOC = {
    "hwloc-corona11": replace(hives(CORONA11_GPUS), skipped=(BMC,)),
    "hwloc-corona240": replace(hives(CORONA240_GPUS), skipped=(BMC,)),
}

# --- excerpts

MI300A_TPX_DENIED = Expected(
    gpus=(partitioned(whole("0000:01:00.0", "1002:74a0", 128, 1, 0, mode="SPX"), "TPX", 3),),
    links=(Link("0000:01:00.0", "0000:01:00.0", "internal", None, None),),
    skipped=(BMC, *((f"class/kfd/kfd/topology/nodes/{node}", "denied") for node in (1, 2, 3))),
    kfd="denied",
)
MI350X = replace(
    whole("0000:05:00.0", "1002:75a0", 128, 0, 0, mode="SPX"),
    product="AMD Instinct MI350 OAM",
    memory_partition=None,
)
MI350X_DPX = Expected(
    gpus=(partitioned(MI350X, "DPX", 2),),
    links=(Link("0000:05:00.0", "0000:05:00.0", "internal", None, None),),
    version="6.18.3",
)

EXPECTED = {
    "mi300x-cpx-63": MI300X_CPX_63,
    "mi210-2hives": MI210_2HIVES,
    "mi300a-spx": MI300A_SPX,
    "vega10-old-kernel": VEGA10_OLD_KERNEL,
    **LACT,
    **RCCL,
    **HWLOC,
    "mi300a-tpx-denied": MI300A_TPX_DENIED,
    "mi300x-lspci": hives(
        of_addresses("1002:74a1", on_nodes(n0="05 2b 5b 65"), step=8, mode="SPX"), "05 2b 5b 65"
    ),
    "mi350x-dpx": MI350X_DPX,
}


async def inventory(sysfs: Sysfs) -> Inventory:
    return await discover(sysfs, Lanes(), names=ProductNames(amdgpu_ids=None, pci_ids=None))


def load(name: str) -> CaptureSysfs:
    return load_capture(str(FOLDER / f"{name}.capture"))


def test_every_fixture_has_its_expectation() -> None:
    assert sorted(EXPECTED) == NAMES


@pytest.mark.parametrize("name", NAMES)
async def test_inventory_of_a_real_node(name: str) -> None:
    expected = EXPECTED[name]
    found = await inventory(load(name))
    assert found.driver == Driver("amdgpu", expected.version, expected.kfd)
    assert found.gpus == expected.gpus
    assert found.links == expected.links
    surplus = [
        skipped
        for skipped in found.skipped
        if not any(path in skipped.path and reason in skipped.reason for path, reason in expected.skipped)
    ]
    assert surplus == []
    assert len(found.skipped) == len(expected.skipped), found.skipped


@pytest.mark.parametrize("name", ["mi210-2hives", "mi300a-spx", "lact-phoenix", "hwloc-corona11"])
async def test_a_node_is_the_same_from_its_capture_and_from_a_directory(name: str, tmp_path: Path) -> None:
    capture = parse_capture((FOLDER / f"{name}.capture").read_text())
    assert await inventory(DirectorySysfs(str(write_tree(capture, tmp_path)))) == await inventory(load(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_fixture_is_written_as_captures_are(name: str) -> None:
    text = (FOLDER / f"{name}.capture").read_text()
    comments = [
        line.removeprefix("#").removeprefix(" ") for line in text.splitlines() if line.startswith("#")
    ]
    assert format_capture(parse_capture(text), comments) == text
    for told in ("source: ", "real: ", "derived: "):
        assert any(comment.startswith(told) for comment in comments)

import os
from pathlib import Path

import pytest

from amdgpu_plugin.simulation.node import SimulatedNode, SimulationError
from amdgpu_plugin.simulation.shapes import SHAPE_NAMES
from tests.simulation.trees import difference, headlines, outside_kfd, snapshot

# Node 2 and its links to nodes 0, 3 and 10 on a node of eight MI300X in CPX, by an in-tree 6.x kernel:
# ROCm/k8s-device-plugin, testdata/topo-mi300-cpx.
REAL_CPX_NODE = """\
cpu_cores_count 0
simd_count 152
mem_banks_count 1
caches_count 80
io_links_count 63
p2p_links_count 1
cpu_core_id_base 0
simd_id_base 2147488064
max_waves_per_simd 8
lds_size_in_kb 64
gds_size_in_kb 0
num_gws 64
wave_front_size 64
array_count 4
simd_arrays_per_engine 1
cu_per_simd_array 10
simd_per_cu 4
max_slots_scratch_cu 32
gfx_target_version 90402
vendor_id 4098
device_id 29857
location_id 1280
domain 0
drm_render_minor 128
hive_id 15188982192727901047
num_sdma_engines 2
num_sdma_xgmi_engines 0
num_sdma_queues_per_engine 8
num_cp_queues 24
max_engine_clk_fcompute 2100
local_mem_size 0
fw_version 177
capability 2893521536
debug_prop 1511
sdma_fw_version 24
unique_id 16404946649897475633
num_xcc 1
max_engine_clk_ccompute 2750
"""
REAL_CPX_LINK = """\
type 11
version_major 0
version_minor 0
node_from 2
node_to 3
weight 13
min_latency 0
max_latency 0
min_bandwidth 819200
max_bandwidth 819200
recommended_transfer_size 0
recommended_sdma_engine_id_mask 3
flags 1
"""
# to, type, weight, min and max bandwidth, SDMA mask, flags; same source, testdata/topo-mi210-xgmi-pcie
REAL_MI210_IO_LINKS = {
    0: [(1, 1, 32, 0, 0, 0, 0)] + [(to, 2, 20, 312, 32000, 3, 3) for to in (2, 3, 4, 5)],
    2: [(0, 2, 20, 312, 32000, 3, 1)] + [(to, 11, 15, 50000, 50000, 28, 1) for to in (3, 4, 5)],
    9: [(1, 2, 20, 312, 32000, 3, 1)] + [(to, 11, 15, 50000, 50000, 28, 1) for to in (6, 7, 8)],
}
REAL_MI210_P2P_LINKS = {
    0: [(to, 2, 52, 0, 0, 0, 3) for to in (6, 7, 8, 9)],
    2: [(1, 2, 52, 0, 0, 0, 1)] + [(to, 2, 72, 0, 0, 0, 3) for to in (6, 7, 8, 9)],
    9: [(0, 2, 52, 0, 0, 0, 1)] + [(to, 2, 72, 0, 0, 3, 3) for to in (2, 3, 4, 5)],
}

TOPOLOGY = "devices/virtual/kfd/kfd/topology"
FIRST = "0000:05:00.0"
SECOND = "0000:27:00.0"
FIRST_PATH = f"devices/pci0000:00/0000:00:01.1/0000:01:00.0/0000:02:00.0/0000:03:00.0/0000:04:00.0/{FIRST}"


@pytest.fixture
def directory(scratch: Path) -> str:
    return str(scratch)


def read(node: SimulatedNode, path: str) -> str:
    return (Path(node.root) / path).read_text()


def properties(node: SimulatedNode, number: int | str) -> dict[str, int]:
    lines = read(node, f"{TOPOLOGY}/nodes/{number}/properties").splitlines()
    return {key: int(value) for key, value in (line.split() for line in lines)}


def links(node: SimulatedNode, number: int, kind: str) -> list[tuple[int, ...]]:
    folder = Path(node.root) / TOPOLOGY / "nodes" / str(number) / kind
    keys = (
        "node_to",
        "type",
        "weight",
        "min_bandwidth",
        "max_bandwidth",
        "recommended_sdma_engine_id_mask",
        "flags",
    )
    found = []
    for index in sorted(os.listdir(folder), key=int):
        values = dict(line.split() for line in (folder / index / "properties").read_text().splitlines())
        assert values["node_from"] == str(number)
        found.append(tuple(int(values[key]) for key in keys))
    return found


def locations(node: SimulatedNode) -> list[int]:
    """location_id of every KFD node by number; 0 is a CPU."""
    numbers = sorted(os.listdir(Path(node.root) / TOPOLOGY / "nodes"), key=int)
    assert numbers == [str(number) for number in range(len(numbers))]
    return [properties(node, number)["location_id"] for number in numbers]


def generation(node: SimulatedNode) -> int:
    return int(read(node, "class/kfd/kfd/topology/generation_id"))


def test_kernel_before_6_12_gives_the_topology_captured_on_a_real_node(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300x-cpx", extended_minors=False)
    assert read(node, f"{TOPOLOGY}/nodes/2/properties") == REAL_CPX_NODE
    assert read(node, f"{TOPOLOGY}/nodes/2/io_links/1/properties") == REAL_CPX_LINK
    assert links(node, 2, "io_links")[0] == (0, 2, 20, 0, 64000, 3, 1)
    assert links(node, 2, "io_links")[8] == (10, 11, 41, 0, 0, 3, 1)
    # the management display has taken one of 64 cards: the last GPU is left with seven partitions
    full = [
        bus << 8 | partition for bus in (0x05, 0x27, 0x47, 0x65, 0x85, 0xA7, 0xC7) for partition in range(8)
    ]
    assert locations(node) == [0, 0, *full, *(0xE500 | partition for partition in range(7))]
    assert generation(node) == 80
    assert properties(node, 64)["drm_render_minor"] == 190
    assert len(os.listdir(f"{node.root}/bus/platform/devices")) == 55


def test_kernel_since_6_12_goes_on_at_minor_192(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300x-cpx")
    assert len(locations(node)) == 2 + 64
    assert properties(node, 65)["drm_render_minor"] == 191
    last = "devices/platform/amdgpu_xcp_55/drm"
    assert sorted(os.listdir(f"{node.root}/{last}")) == ["card192", "renderD191"]
    assert read(node, f"{last}/card192/dev") == "226:192\n"


def test_mi210_links_are_those_of_a_real_node(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi210")
    for number, expected in REAL_MI210_IO_LINKS.items():
        assert links(node, number, "io_links") == expected
    for number, expected in REAL_MI210_P2P_LINKS.items():
        assert links(node, number, "p2p_links") == expected


def test_mi250x_dies_are_one_or_two_hops_apart(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi250x")
    first = links(node, 4, "io_links")
    # the first row of `rocm-smi --showtopo` on such a node
    assert [weight for _, _, weight, *_ in first[1:]] == [15, 15, 30, 30, 30, 15, 30]
    assert [most for _, _, _, _, most, *_ in first[1:3]] == [200000, 50000]
    assert read(node, f"{node.path_of('0000:c1:00.0')}/xgmi_num_hops") == "00 01 01 02 02 02 01 02 \n"


def test_mi300a_gpus_are_in_four_domains_beside_four_cpu_nodes(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300a")
    assert node.addresses == ("0000:02:00.0", "0001:02:00.0", "0002:02:00.0", "0003:02:00.0")
    rows = [properties(node, number) for number in range(8)]
    assert [row["cpu_cores_count"] for row in rows] == [48] * 4 + [0] * 4
    assert [row["simd_count"] for row in rows] == [0] * 4 + [912] * 4
    assert [row["domain"] for row in rows[4:]] == [0, 1, 2, 3]
    assert [row["drm_render_minor"] for row in rows[4:]] == [128, 136, 144, 152]
    assert links(node, 4, "io_links")[0] == (0, 11, 13, 819200, 819200, 3, 1)


@pytest.mark.parametrize(("mode", "siblings"), [("SPX", 1), ("DPX", 2), ("QPX", 4), ("CPX", 8)])
def test_partitions_share_out_the_gpu(directory: str, mode: str, siblings: int) -> None:
    node = SimulatedNode.create(directory, "mi300x:1")
    node.repartition(FIRST, mode)
    rows = [properties(node, 2 + partition) for partition in range(siblings)]
    assert [row["location_id"] for row in rows] == [0x500 + partition for partition in range(siblings)]
    assert [row["drm_render_minor"] for row in rows] == [128 + partition for partition in range(siblings)]
    assert sum(row["simd_count"] for row in rows) == 1216
    assert sum(row["num_xcc"] for row in rows) == 8
    banks = [
        read(node, f"{TOPOLOGY}/nodes/{2 + partition}/mem_banks/0/properties")
        for partition in range(siblings)
    ]
    assert sum(int(bank.splitlines()[1].split()[1]) for bank in banks) == 206141652992
    assert read(node, f"{FIRST_PATH}/current_compute_partition") == f"{mode}\n"


def test_every_partitionable_gpu_has_seven_xcp_devices_in_spx(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300x")
    assert len(os.listdir(f"{node.root}/bus/platform/devices")) == 8 * 7
    assert len(locations(node)) == 2 + 8
    # a GPU's own minor, then its seven
    assert sorted(os.listdir(f"{node.path_of(SECOND)}/drm")) == ["card9", "controlD73", "renderD136"]
    assert sorted(os.listdir(f"{node.root}/devices/platform/amdgpu_xcp_7/drm")) == ["card10", "renderD137"]
    assert set(os.listdir(f"{node.root}/devices/platform/amdgpu_xcp_7")).isdisjoint(
        {"vendor", "driver", "numa_node"}
    )


def test_management_display_has_a_card_and_no_render_node(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi210:1")
    assert sorted(os.listdir(f"{node.root}/class/drm")) == [
        "card0",
        "card0-VGA-1",
        "card1",
        "renderD128",
        "version",
    ]
    assert read(node, "class/drm/card0/device/vendor") == "0x1a03\n"
    assert os.path.basename(os.path.realpath(f"{node.root}/class/drm/card0/device/driver")) == "ast"


def test_desktop_has_no_management_display(directory: str) -> None:
    node = SimulatedNode.create(directory, "radeon")
    names = ["card0", "card0-DP-1", "card0-HDMI-A-1", "renderD128", "version"]
    assert sorted(os.listdir(f"{node.root}/class/drm")) == names
    assert not os.path.exists(f"{node.path_of('0000:03:00.0')}/product_name")


def test_apu_knows_little_of_itself(directory: str) -> None:
    node = SimulatedNode.create(directory, "apu")
    path = Path(node.path_of("0000:64:00.0"))
    assert (path / "unique_id").read_bytes() == b""
    assert (path / "numa_node").read_text() == "-1\n"
    assert (path / "mem_info_vram_total").read_text() == f"{512 << 20}\n"
    assert not (path / "serial_number").exists()
    assert not (path / "current_compute_partition").exists()
    assert (path / "gpu_metrics").read_bytes()[:4] == b"\x78\x00\x02\x01"
    assert properties(node, 1)["unique_id"] == 0


def test_server_gpu_tells_what_it_is(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300x:2")
    path = Path(node.path_of(FIRST))
    assert path == Path(node.root) / FIRST_PATH
    names = ("vendor", "device", "class", "numa_node", "unique_id", "product_name", "mem_info_vram_total")
    assert [(path / name).read_text().strip() for name in names] == [
        "0x1002",
        "0x74a1",
        "0x120000",
        "0",
        "e3aa140f9a5f9e31",
        "AMD Instinct MI300X",
        "206141652992",
    ]
    assert (path / "config").read_bytes()[:4] == b"\x02\x10\xa1\x74"
    assert len((path / "config").read_bytes()) == 64
    assert (path / "uevent").read_text() == (
        "DRIVER=amdgpu\nPCI_CLASS=120000\nPCI_ID=1002:74A1\nPCI_SUBSYS_ID=1002:74A1\nPCI_SLOT_NAME=0000:05:00.0\n"
        "MODALIAS=pci:v00001002d000074A1sv00001002sd000074A1bc12sc00i00\n"
    )
    assert (path / "ras/umc_err_count").read_text() == "ue: 0\nce: 0\nde: 0\n"
    assert sorted(os.listdir(path / "hwmon")) == ["hwmon0"]


def test_links_are_spelled_as_the_kernel_spells_them(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300x:1")
    assert os.readlink(f"{node.root}/class/drm/renderD128") == f"../../{FIRST_PATH}/drm/renderD128"
    assert os.readlink(f"{node.root}/{FIRST_PATH}/drm/card1/device") == f"../../../{FIRST}"
    assert os.readlink(f"{node.root}/class/kfd/kfd") == "../../devices/virtual/kfd/kfd"
    assert os.readlink(f"{node.root}/class/drm/card2") == "../../devices/platform/amdgpu_xcp_0/drm/card2"


@pytest.mark.parametrize("shape", [f"{name}:2" if name != "apu" else name for name in SHAPE_NAMES])
def test_no_link_leads_nowhere_and_kfd_counts_agree(directory: str, shape: str) -> None:
    node = SimulatedNode.create(directory, shape)
    dangling = [
        path
        for path, content in snapshot(node.root).items()
        if isinstance(content, str) and not os.path.exists(f"{node.root}/{path}")
    ]
    assert dangling == []
    count = len(locations(node))
    for number in range(count):
        row, direct, summed = (
            properties(node, number),
            links(node, number, "io_links"),
            links(node, number, "p2p_links"),
        )
        assert (row["io_links_count"], row["p2p_links_count"]) == (len(direct), len(summed))
        assert {to for to, *_ in direct + summed} == set(range(count)) - {number}
    gpu_ids = [int(read(node, f"{TOPOLOGY}/nodes/{number}/gpu_id")) for number in range(count)]
    assert len(set(gpu_ids) - {0}) == sum(location != 0 for location in locations(node))


def test_gpus_on_one_cpu_reach_each_other_over_pcie(directory: str) -> None:
    node = SimulatedNode.create(directory, "radeon:2")
    assert links(node, 1, "p2p_links") == [(2, 2, 40, 0, 32000, 0, 3)]


def test_unbound_gpu_stays_on_the_bus_with_what_the_pci_core_shows(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300x:2")
    node.unbind(SECOND)
    assert sorted(os.listdir(node.path_of(SECOND))) == [
        "aer_dev_correctable",
        "aer_dev_fatal",
        "aer_dev_nonfatal",
        "class",
        "config",
        "current_link_speed",
        "current_link_width",
        "device",
        "enable",
        "local_cpulist",
        "max_link_speed",
        "max_link_width",
        "modalias",
        "numa_node",
        "power",
        "power_state",
        "revision",
        "subsystem",
        "subsystem_device",
        "subsystem_vendor",
        "uevent",
        "vendor",
    ]
    assert (Path(node.path_of(SECOND)) / "uevent").read_text().startswith("PCI_CLASS=120000\n")
    assert sorted(os.listdir(f"{node.root}/bus/pci/drivers/amdgpu")) == [FIRST, "module"]
    assert len(os.listdir(f"{node.root}/bus/platform/devices")) == 7
    assert len(os.listdir(f"{node.root}/devices/platform")) == 7
    assert os.listdir(f"{node.root}/class/hwmon") == ["hwmon0"]
    assert f"renderD{128 + 8}" not in os.listdir(f"{node.root}/class/drm")
    assert SECOND in os.listdir(f"{node.root}/bus/pci/devices")


def test_unbind_shifts_the_numbers_of_later_kfd_nodes(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300x-dpx:3")
    assert locations(node) == [0, 0, 0x500, 0x501, 0x2700, 0x2701, 0x4700, 0x4701]
    assert generation(node) == 1 + 3 + 3 + 6
    node.unbind(SECOND)
    assert locations(node) == [0, 0, 0x500, 0x501, 0x4700, 0x4701]
    assert generation(node) == 13 + 2
    assert [to for to, *_ in links(node, 4, "io_links")] == [0, 2, 3, 5]
    node.bind(SECOND)
    assert locations(node) == [0, 0, 0x500, 0x501, 0x4700, 0x4701, 0x2700, 0x2701]
    assert generation(node) == 15 + 2


@pytest.mark.parametrize(("down", "up"), [("unbind", "bind"), ("remove", "add")])
def test_gpu_comes_back_as_it_was(directory: str, down: str, up: str) -> None:
    node = SimulatedNode.create(directory, "mi300x:2")
    before = snapshot(node.root)
    getattr(node, down)(SECOND)
    getattr(node, up)(SECOND)
    # simd_id_base goes on counting
    changed = {f"{TOPOLOGY}/generation_id", f"{TOPOLOGY}/nodes/3/properties"}
    assert difference(before, snapshot(node.root)) == changed
    assert generation(node) == 3 + 2


def test_removed_gpu_leaves_nothing_behind(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300x:2")
    node.remove(SECOND)
    assert [path for path in snapshot(node.root) if SECOND in path] == []
    assert not os.path.exists(node.path_of(SECOND))
    assert os.path.exists(os.path.dirname(node.path_of(SECOND)))


def test_freed_minors_go_to_whoever_binds_next(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300x:2")
    node.unbind(FIRST)
    node.unbind(SECOND)
    node.bind(SECOND)
    assert sorted(os.listdir(f"{node.path_of(SECOND)}/drm")) == ["card1", "controlD65", "renderD128"]
    assert properties(node, 2)["drm_render_minor"] == 128


def test_repartition_touches_kfd_the_mode_and_gpu_metrics_alone_and_sends_nothing(directory: str) -> None:
    events: list[bytes] = []
    node = SimulatedNode.create(directory, "mi300x:2", on_uevent=events.append)
    before = outside_kfd(snapshot(node.root))
    node.repartition(FIRST, "CPX")
    assert difference(before, outside_kfd(snapshot(node.root))) == {
        f"{FIRST_PATH}/current_compute_partition",
        f"{FIRST_PATH}/gpu_metrics",
    }
    assert locations(node) == [0, 0, 0x2700, *range(0x500, 0x508)]
    assert generation(node) == 3 + 1 + 8
    assert events == []
    node.repartition(FIRST, "CPX")
    assert generation(node) == 12


def test_link_weight_is_the_word_of_the_node_added_last(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300x:2")
    assert links(node, 2, "io_links")[1][:3] == (3, 11, 15)
    node.repartition(SECOND, "DPX")
    assert [link[:3] for link in links(node, 2, "io_links")[1:]] == [(3, 11, 41), (4, 11, 41)]
    assert [link[:3] for link in links(node, 3, "io_links")[1:]] == [(2, 11, 41), (4, 11, 13)]


def test_file_being_read_while_it_changes_is_old_or_new_and_never_between(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300x:1")
    mode = Path(node.path_of(FIRST)) / "current_compute_partition"
    with mode.open() as held, (Path(node.root) / TOPOLOGY / "nodes/2/properties").open() as held_node:
        node.repartition(FIRST, "CPX")
        assert held.read() == "SPX\n"
        assert "num_xcc 8\n" in held_node.read()
    assert mode.read_text() == "CPX\n"


def test_hive_folder_is_the_first_gpus_and_the_others_link_to_it(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300x:3")
    hive = f"{node.path_of(FIRST)}/xgmi_hive_info"
    assert sorted(os.listdir(hive)) == ["node1", "node2", "node3", "xgmi_hive_id"]
    assert os.path.realpath(f"{node.path_of(SECOND)}/xgmi_hive_info") == hive
    assert os.path.realpath(f"{hive}/node2") == node.path_of(SECOND)
    node.unbind(SECOND)
    assert sorted(os.listdir(hive)) == ["node1", "node3", "xgmi_hive_id"]
    assert not os.path.lexists(f"{node.path_of(SECOND)}/xgmi_hive_info")
    node.unbind(FIRST)
    assert sorted(os.listdir(hive)) == ["node3", "xgmi_hive_id"]
    node.remove(FIRST)
    node.bind(SECOND)
    assert not os.path.exists(hive)
    node.add(FIRST)
    assert sorted(os.listdir(hive)) == ["node1", "node2", "node3", "xgmi_hive_id"]
    for address in node.addresses:
        node.unbind(address)
    assert not os.path.exists(hive)


def test_unbind_tells_xcps_then_minors_then_the_device(directory: str) -> None:
    events: list[bytes] = []
    node = SimulatedNode.create(directory, "mi300x:1", on_uevent=events.append)
    assert events == []
    node.unbind(FIRST)
    xcps = [
        f"remove@{name}"
        for number in range(7)
        for name in (f"card{number + 2}", f"renderD{number + 129}", f"amdgpu_xcp_{number}")
    ]
    assert headlines(events) == [*xcps, "remove@card1", "remove@renderD128", f"unbind@{FIRST}"]
    assert events[-1].decode().split("\0") == [
        f"unbind@/{FIRST_PATH}",
        "ACTION=unbind",
        f"DEVPATH=/{FIRST_PATH}",
        "SUBSYSTEM=pci",
        "PCI_CLASS=120000",
        "PCI_ID=1002:74A1",
        "PCI_SUBSYS_ID=1002:74A1",
        "PCI_SLOT_NAME=0000:05:00.0",
        f"SEQNUM={5000 + len(events)}",
        "",
    ]


def test_bind_tells_the_device_last(directory: str) -> None:
    events: list[bytes] = []
    node = SimulatedNode.create(directory, "mi300x:1", on_uevent=events.append)
    node.unbind(FIRST)
    events.clear()
    node.bind(FIRST)
    platform = [f"add@amdgpu_xcp_{number}" for number in range(7)]
    minors = [
        f"add@{name}" for number in range(8) for name in (f"renderD{number + 128}", f"card{number + 1}")
    ]
    assert headlines(events) == [*platform, *minors, f"bind@{FIRST}"]
    assert events[7].decode().split("\0")[:-2] == [
        f"add@/{FIRST_PATH}/drm/renderD128",
        "ACTION=add",
        f"DEVPATH=/{FIRST_PATH}/drm/renderD128",
        "SUBSYSTEM=drm",
        "MAJOR=226",
        "MINOR=128",
        "DEVNAME=dri/renderD128",
        "DEVTYPE=drm_minor",
    ]
    assert "DRIVER=amdgpu" in events[-1].decode().split("\0")


def test_remove_and_add_frame_unbind_and_bind(directory: str) -> None:
    events: list[bytes] = []
    node = SimulatedNode.create(directory, "mi210:1", on_uevent=events.append)
    node.remove("0000:63:00.0")
    node.add("0000:63:00.0")
    assert headlines(events) == [
        "remove@card1",
        "remove@renderD128",
        "unbind@0000:63:00.0",
        "remove@0000:63:00.0",
        "add@0000:63:00.0",
        "add@renderD128",
        "add@card1",
        "bind@0000:63:00.0",
    ]


def test_uevent_comes_after_its_change(directory: str) -> None:
    seen: dict[str, bool] = {}

    def look(event: bytes) -> None:
        path = event.decode().split("\0")[0].partition("@")[2]
        seen[headlines([event])[0]] = os.path.exists(f"{directory}/node/sys{path}")

    node = SimulatedNode.create(f"{directory}/node", "mi210:1", on_uevent=look)
    node.remove("0000:63:00.0")
    node.add("0000:63:00.0")
    assert seen == {
        "remove@card1": False,
        "remove@renderD128": False,
        "unbind@0000:63:00.0": True,
        "remove@0000:63:00.0": False,
        "add@0000:63:00.0": True,
        "add@renderD128": True,
        "add@card1": True,
        "bind@0000:63:00.0": True,
    }


def test_clear_undoes_every_verb(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300x-dpx:4")
    first, second, third, fourth = node.addresses
    before = outside_kfd(snapshot(node.root))
    node.remove(first)
    node.unbind(second)
    node.bind(second)  # with the minors of the first
    node.repartition(third, "CPX")
    node.repartition(fourth, "CPX")
    node.unbind(fourth)
    assert outside_kfd(snapshot(node.root)) != before
    node.clear()
    assert outside_kfd(snapshot(node.root)) == before
    buses = (0x05, 0x27, 0x47, 0x65)
    assert sorted(locations(node)) == [0, 0, *(bus << 8 | partition for bus in buses for partition in (0, 1))]


def test_clear_of_an_untouched_node_changes_nothing(directory: str) -> None:
    events: list[bytes] = []
    node = SimulatedNode.create(directory, "mixed:2", on_uevent=events.append)
    before = snapshot(node.root)
    node.clear()
    assert snapshot(node.root) == before
    assert events == []


def test_unknown_address_names_the_known_ones(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300x:2")
    for verb in (node.unbind, node.bind, node.remove, node.add, node.path_of):
        with pytest.raises(
            SimulationError, match=r"'0000:ff:00.0' in mi300x:2; there are 0000:05:00.0, 0000:27:00.0"
        ):
            verb("0000:ff:00.0")


def test_verb_out_of_place_says_what_to_do_first(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi300x:1")
    with pytest.raises(SimulationError, match="bound to amdgpu already"):
        node.bind(FIRST)
    with pytest.raises(SimulationError, match="on the bus already"):
        node.add(FIRST)
    with pytest.raises(SimulationError, match=r"mode 'TPX': it has SPX, DPX, QPX, CPX"):
        node.repartition(FIRST, "TPX")
    node.unbind(FIRST)
    with pytest.raises(SimulationError, match="has no driver: bind it first"):
        node.unbind(FIRST)
    with pytest.raises(SimulationError, match="has no driver: bind it first"):
        node.repartition(FIRST, "CPX")
    node.remove(FIRST)
    for gone in (node.remove, node.unbind, node.bind):
        with pytest.raises(SimulationError, match="not on the bus: add it first"):
            gone(FIRST)


def test_gpu_without_partitions_says_so(directory: str) -> None:
    node = SimulatedNode.create(directory, "mi210:1")
    with pytest.raises(SimulationError, match="it cannot be partitioned"):
        node.repartition("0000:63:00.0", "CPX")


def test_directory_of_another_node_is_refused(directory: str) -> None:
    SimulatedNode.create(directory, "apu")
    with pytest.raises(FileExistsError):
        SimulatedNode.create(directory, "apu")

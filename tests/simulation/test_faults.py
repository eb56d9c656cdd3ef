"""What each fault of a simulated node leaves behind, in whole: files, answers, uevents."""

import threading
from collections.abc import Callable
from errno import EIO, EPERM
from pathlib import Path

import pytest

from amdgpu_plugin.simulation.node import SimulatedNode, SimulationError
from amdgpu_plugin.sysfs import Absent, Blob, DirectorySysfs, Names, Refused, Text, Unreadable
from amdgpu_plugin.sysfs import Path as Real
from tests.simulation.trees import Snapshot, difference, fields, headlines, outside_kfd, snapshot

MI300X, MI300X_OTHER = "0000:05:00.0", "0000:27:00.0"
MI300X_PATH = f"devices/pci0000:00/0000:00:01.1/0000:01:00.0/0000:02:00.0/0000:03:00.0/0000:04:00.0/{MI300X}"
MI300X_PAIRS = [
    "DRIVER=amdgpu",
    "PCI_CLASS=120000",
    "PCI_ID=1002:74A1",
    "PCI_SUBSYS_ID=1002:74A1",
    f"PCI_SLOT_NAME={MI300X}",
    "MODALIAS=pci:v00001002d000074A1sv00001002sd000074A1bc12sc00i00",
]
RADEON, APU = "0000:03:00.0", "0000:64:00.0"
GUARD_SECONDS = 20
NO_ANSWER_SECONDS = 0.02
"""A read that should hang and does not has answered by then."""
SENTENCE = Text("Query currently inaccessible\n")


class World:
    """A simulated node, what it was at first, and what its kernel said since."""

    def __init__(self, folder: Path, shape: str) -> None:
        self.events: list[bytes] = []
        self.node = SimulatedNode.create(folder, shape, on_uevent=self.events.append)
        self.before = snapshot(self.node.root)

    @property
    def now(self) -> Snapshot:
        return snapshot(self.node.root)

    def changed(self, path: str) -> dict[str, bytes | str | None]:
        """What is different from the beginning below a device, by name there."""
        now = self.now
        found = difference(self.before, now)
        assert {name for name in found if not name.startswith(f"{path}/")} == set()
        return {name.removeprefix(f"{path}/"): now.get(name) for name in found}


@pytest.fixture
def world(scratch: Path) -> World:
    return World(scratch / "node", "mi300x:2")


def answers_of(node: SimulatedNode, path: str) -> dict[str, Text | Unreadable]:
    """Every file below a device, as its readers get it."""
    names = (name for name in snapshot(node.root) if name.startswith(f"{path}/"))
    plain = (name for name in names if not Path(node.root, name).is_symlink())
    return {name.removeprefix(f"{path}/"): node.sysfs.read(name) for name in plain}


def refused(node: SimulatedNode, path: str, errno: int) -> set[str]:
    return {name for name, answer in answers_of(node, path).items() if answer == Refused(errno)}


# -- What the kernel says --


def test_wedge_is_told_by_the_card(world: World) -> None:
    world.node.wedge(MI300X, "rebind,bus-reset")
    world.node.wedge(MI300X_OTHER, "none")
    card = f"{MI300X_PATH}/drm/card1"
    assert fields(world.events[0]) == [
        "ACTION=change",
        f"DEVPATH=/{card}",
        "SUBSYSTEM=drm",
        "WEDGED=rebind,bus-reset",
        "MAJOR=226",
        "MINOR=1",
        "DEVNAME=dri/card1",
        "DEVTYPE=drm_minor",
    ]
    assert fields(world.events[1])[3] == "WEDGED=none"
    assert world.now == world.before


def test_gpu_that_recovered_by_itself_is_not_bound_anew(world: World) -> None:
    world.node.wedge(MI300X, "none")
    world.events.clear()
    world.node.clear()
    assert world.events == []


def test_recovery_of_the_bus_is_told_by_the_gpu_and_counted_once(world: World) -> None:
    for phase in ("begin", "failed", "recovered"):
        world.node.bus_error(MI300X, phase)
    said = [
        ["ERROR_EVENT=BEGIN_RECOVERY", "DEVICE_ONLINE=0"],
        ["ERROR_EVENT=FAILED_RECOVERY", "DEVICE_ONLINE=0"],
        ["ERROR_EVENT=SUCCESSFUL_RECOVERY", "DEVICE_ONLINE=1"],
    ]
    head = ["ACTION=change", f"DEVPATH=/{MI300X_PATH}", "SUBSYSTEM=pci"]
    assert [fields(event) for event in world.events] == [[*head, *pairs, *MI300X_PAIRS] for pairs in said]
    zeros = world.before[f"{MI300X_PATH}/aer_dev_fatal"]
    assert isinstance(zeros, bytes)
    ones = zeros.replace(b"DLP 0", b"DLP 1").replace(b"TOTAL_ERR_FATAL 0", b"TOTAL_ERR_FATAL 1")
    assert world.changed(MI300X_PATH) == {"aer_dev_fatal": ones}


@pytest.mark.parametrize("end", ["recovered", "bound anew"])
def test_gpu_whose_bus_failed_is_not_answered_for(world: World, end: str) -> None:
    world.node.bus_error(MI300X, "begin")
    assert refused(world.node, MI300X_PATH, EIO) == set()
    world.node.bus_error(MI300X, "failed")
    asked = ("freq1_input", "freq2_input", "power1_cap", "power1_input", "temp2_input", "temp3_input")
    assert refused(world.node, MI300X_PATH, EIO) == {
        *(f"hwmon/hwmon0/{name}" for name in asked),
        "gpu_busy_percent",
        "gpu_metrics",
        "mem_busy_percent",
    }
    if end == "recovered":
        world.node.bus_error(MI300X, "recovered")
    else:
        world.node.reload(MI300X)
    assert refused(world.node, MI300X_PATH, EIO) == set()


def test_recovery_may_be_told_by_the_bridge_above(world: World) -> None:
    world.node.bus_error(MI300X, "failed", at_bridge=True)
    bridge = MI300X_PATH.rpartition("/")[0]
    assert fields(world.events[0]) == [
        "ACTION=change",
        f"DEVPATH=/{bridge}",
        "SUBSYSTEM=pci",
        "ERROR_EVENT=FAILED_RECOVERY",
        "DEVICE_ONLINE=0",
        "PCI_CLASS=60400",
        "PCI_ID=1022:1500",
        "PCI_SUBSYS_ID=1022:1500",
        "PCI_SLOT_NAME=0000:04:00.0",
        "MODALIAS=pci:v00001022d00001500sv00001022sd00001500bc06sc04i00",
    ]


def test_core_dump_names_its_gpu(world: World) -> None:
    world.node.core_dump(MI300X)
    path = "devices/virtual/devcoredump/devcd1"
    assert fields(world.events[0]) == ["ACTION=add", f"DEVPATH=/{path}", "SUBSYSTEM=devcoredump"]
    assert world.node.sysfs.resolve(f"{path}/failing_device") == Real(MI300X_PATH)
    assert world.node.sysfs.resolve("class/devcoredump/devcd1") == Real(path)
    world.node.clear(MI300X)
    assert headlines(world.events) == ["add@devcd1", "remove@devcd1"]
    assert world.now == world.before


# -- What files say --


def test_ras_errors_add_up_in_their_block(world: World) -> None:
    world.node.ras_errors(MI300X, ue=5, de=2)
    world.node.ras_errors(MI300X, ue=1)
    world.node.ras_errors(MI300X, "gfx", ce=3)
    assert world.changed(MI300X_PATH) == {
        "ras/umc_err_count": b"ue: 6\nce: 0\nde: 2\n",
        "ras/gfx_err_count": b"ue: 0\nce: 3\n",
    }
    assert world.events == []


def test_bad_pages_are_listed_by_state_and_retired_by_the_next_load(world: World) -> None:
    world.node.bad_pages(MI300X, retired=1, pending=1, unreservable=1)
    pages = ["0x0001f000 : 0x00001000 : ", "0x0001f001 : 0x00001000 : ", "0x0001f002 : 0x00001000 : "]

    def listed(states: str) -> bytes:
        return "".join(f"{page}{state}\n" for page, state in zip(pages, states, strict=True)).encode()

    assert world.changed(MI300X_PATH) == {"ras/gpu_vram_bad_pages": listed("RPF")}
    world.node.reload(MI300X)
    assert world.now[f"{MI300X_PATH}/ras/gpu_vram_bad_pages"] == listed("RRF")
    assert world.now["module/amdgpu/parameters/bad_page_threshold"] == b"100\n"


def test_heat_shows_in_hwmon_and_gpu_metrics(world: World) -> None:
    world.node.heat(MI300X, "junction", 101.5)
    changed = world.changed(MI300X_PATH)
    metrics = changed.pop("gpu_metrics")
    assert changed == {"hwmon/hwmon0/temp2_input": b"101500\n"}
    assert isinstance(metrics, bytes)
    assert metrics[4:6] == (102).to_bytes(2, "little")
    world.node.heat(MI300X, "junction", None)
    assert world.now == world.before


@pytest.mark.parametrize(
    ("shape", "address", "ends"),
    [
        ("mi300x:1", MI300X, (MI300X_PATH, MI300X_PATH.rpartition("/")[0])),
        # the card has a switch of its own: below it the link is the card's inner one
        (
            "radeon",
            RADEON,
            ("devices/pci0000:00/0000:00:01.1/0000:01:00.0", "devices/pci0000:00/0000:00:01.1"),
        ),
    ],
)
def test_degraded_link_shows_at_both_ends_of_the_slot(
    scratch: Path, shape: str, address: str, ends: tuple[str, str]
) -> None:
    world = World(scratch / "node", shape)
    world.node.degrade_link(address, lanes=8, gigatransfers=2.5, busy_percent=90)
    now = world.now
    changed = {name: now[name] for name in difference(world.before, now) if "_link_" in name}
    speed, width = b"2.5 GT/s PCIe\n", b"8\n"
    assert changed == {
        f"{end}/current_link_{name}": value
        for end in ends
        for name, value in (("speed", speed), ("width", width))
    }
    assert (Path(world.node.path_of(address)) / "gpu_busy_percent").read_text() == "90\n"
    world.node.degrade_link(address)
    assert world.now == world.before


def test_gpu_found_anew_has_a_good_link_and_no_errors_counted(world: World) -> None:
    world.node.degrade_link(MI300X, lanes=4)
    world.node.bus_error(MI300X, "failed")
    world.node.fall_silent(MI300X)
    world.node.remove(MI300X)
    world.node.add(MI300X)
    assert difference(outside_kfd(world.before), outside_kfd(world.now)) == set()


def test_silent_gpu_reads_all_ones_and_is_where_it_was(world: World) -> None:
    world.node.fall_silent(MI300X)
    assert world.changed(MI300X_PATH) == {
        "config": b"\xff" * 64,
        "current_link_speed": b"Unknown\n",
        "current_link_width": b"63\n",
    }
    world.node.fall_silent(MI300X, on=False)
    assert world.now == world.before


def test_memory_in_use_is_told(world: World) -> None:
    world.node.use_memory(MI300X, 5 << 30)
    used = b"5368709120\n"
    assert world.changed(MI300X_PATH) == {"mem_info_vram_used": used, "mem_info_vis_vram_used": used}
    world.node.reload(MI300X)
    assert world.node.sysfs.read(f"{MI300X_PATH}/mem_info_vram_used") == Text("297504768\n")


def test_lost_render_node_leaves_the_card_and_the_driver(world: World) -> None:
    world.node.lose_render_node(MI300X)
    render = f"{MI300X_PATH}/drm/renderD128"
    gone = difference(world.before, world.now)
    assert gone == {"class/drm/renderD128", *(name for name in world.before if name.startswith(f"{render}/"))}
    world.node.lose_render_node(MI300X)
    world.node.lose_render_node(MI300X, on=False)
    assert headlines(world.events) == ["remove@renderD128", "add@renderD128"]
    assert world.now == world.before


def test_unbinding_tells_nothing_of_a_render_node_that_was_lost(world: World) -> None:
    world.node.lose_render_node(MI300X)
    world.events.clear()
    world.node.reload(MI300X)
    assert headlines(world.events).count("remove@renderD128") == 0
    assert headlines(world.events).count("add@renderD128") == 1


# -- What readers get that no plain file can give --


def test_busy_gpu_refuses_what_it_would_be_asked_for(world: World) -> None:
    world.node.busy(MI300X)
    assert refused(world.node, MI300X_PATH, EPERM) == {
        "current_compute_partition",
        "gpu_busy_percent",
        "gpu_metrics",
        "hwmon/hwmon0/freq1_input",
        "hwmon/hwmon0/freq2_input",
        "hwmon/hwmon0/power1_cap",
        "hwmon/hwmon0/power1_input",
        "hwmon/hwmon0/temp2_input",
        "hwmon/hwmon0/temp3_input",
        "mem_busy_percent",
        "unique_id",
    }
    counts = {name for name, answer in answers_of(world.node, MI300X_PATH).items() if answer == SENTENCE}
    assert counts == {f"ras/{block}_err_count" for block in ("umc", "sdma", "gfx", "mmhub", "xgmi_wafl")}
    assert (
        refused(world.node, world.node.path_of(MI300X_OTHER).removeprefix(f"{world.node.root}/"), EPERM)
        == set()
    )
    world.node.busy(MI300X, on=False)
    assert refused(world.node, MI300X_PATH, EPERM) == set()
    assert world.node.sysfs.read(f"{MI300X_PATH}/ras/gfx_err_count") == Text("ue: 0\nce: 0\n")


def test_failing_reads_are_those_amdgpu_asks_the_gpu_for(world: World) -> None:
    world.node.fail_reads(MI300X)
    assert refused(world.node, MI300X_PATH, EIO) == {
        *(f"hwmon/hwmon0/{name}_input" for name in ("freq1", "freq2", "power1", "temp2", "temp3")),
        *(f"mem_info_{kind}_{what}" for kind in ("vram", "vis_vram", "gtt") for what in ("total", "used")),
        *(f"ras/{block}_err_count" for block in ("umc", "sdma", "gfx", "mmhub", "xgmi_wafl")),
        "gpu_busy_percent",
        "gpu_metrics",
        "hwmon/hwmon0/power1_cap",
        "mem_busy_percent",
        "pcie_replay_count",
        "ras/gpu_vram_bad_pages",
    }
    world.node.fail_reads(MI300X, on=False)
    assert refused(world.node, MI300X_PATH, EIO) == set()


def test_a_fault_holds_by_whatever_link_the_file_is_read(world: World) -> None:
    world.node.busy(MI300X)
    for path in (
        "class/drm/renderD128/device/gpu_busy_percent",
        f"bus/pci/devices/{MI300X}/gpu_busy_percent",
        "class/hwmon/hwmon0/temp2_input",
    ):
        assert world.node.sysfs.read(path) == Refused(EPERM)


def in_a_lane(job: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """As the daemon's lanes read: a daemon thread, and where its answer will be."""
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(job()), daemon=True)
    thread.start()
    thread.join(NO_ANSWER_SECONDS)
    return thread, answers


@pytest.mark.parametrize("release", ["undone", "cleared", "cleared with all", "closed", "laid anew"])
def test_hanging_read_comes_back_when_it_is_released(world: World, release: str) -> None:
    world.node.hang(MI300X)
    reader, answers = in_a_lane(lambda: world.node.sysfs.read(f"{MI300X_PATH}/hwmon/hwmon0/temp2_input"))
    # what the PCI core and KFD answer needs no driver
    assert world.node.sysfs.read(f"{MI300X_PATH}/vendor") == Text("0x1002\n")
    assert world.node.sysfs.list(f"{MI300X_PATH}/hwmon") == Names(("hwmon0",))
    assert isinstance(world.node.sysfs.read("class/kfd/kfd/topology/nodes/2/properties"), Text)
    assert reader.is_alive()
    match release:
        case "undone":
            world.node.hang(MI300X, on=False)
        case "cleared":
            world.node.clear(MI300X)
        case "cleared with all":
            world.node.clear()
        case "closed":
            world.node.close()
        case _:
            world.node.hang(MI300X)
            world.node.hang(MI300X, on=False)
    reader.join(GUARD_SECONDS)
    assert answers == [Text("41000\n")]


def test_hang_ends_though_the_gpu_has_left_meanwhile(world: World) -> None:
    world.node.hang(MI300X)
    reader, answers = in_a_lane(lambda: world.node.sysfs.read(f"{MI300X_PATH}/unique_id"))
    assert reader.is_alive()
    world.node.remove(MI300X)
    world.node.hang(MI300X, on=False)
    reader.join(GUARD_SECONDS)
    assert answers == [Absent()]


def test_starved_node_answers_nothing_until_it_is_fed(world: World) -> None:
    world.node.starve()
    sysfs = world.node.sysfs
    asked = [
        in_a_lane(job)
        for job in (
            lambda: sysfs.read("class/drm/version"),
            lambda: sysfs.list("class/hwmon"),
            lambda: sysfs.resolve(f"bus/pci/devices/{MI300X}"),
            lambda: sysfs.link("class/drm/renderD128"),
        )
    ]
    assert [answers for _, answers in asked] == [[], [], [], []]
    world.node.clear(MI300X)
    for reader, _ in asked:
        reader.join(GUARD_SECONDS)
    assert [answers for _, answers in asked] == [
        [Text("drm 1.1.0 20060810\n")],
        [Names(("hwmon0", "hwmon1"))],
        [Real(MI300X_PATH)],
        [Text(f"../../{MI300X_PATH}/drm/renderD128")],
    ]


def test_time_passes_with_every_read_of_gpu_metrics_throttled_or_not(world: World) -> None:
    def counters() -> tuple[int, ...]:
        answer = world.node.sysfs.read_bytes(f"{MI300X_PATH}/gpu_metrics")
        assert isinstance(answer, Blob)
        return tuple(int.from_bytes(answer.value[at : at + 4], "little") for at in range(32, 56, 4))

    assert [counters(), counters()] == [(3_601_000, 0, 0, 0, 0, 0), (3_602_000, 0, 0, 0, 0, 0)]
    world.node.throttle(MI300X)
    assert [counters(), counters()] == [(3_603_000, 0, 0, 900, 0, 0), (3_604_000, 0, 0, 1800, 0, 0)]
    assert world.node.sysfs.read(f"{MI300X_PATH}/gpu_busy_percent") == Text("100\n")
    world.node.throttle(MI300X, on=False)
    assert counters() == (3_605_000, 0, 0, 1800, 0, 0)
    assert world.now == world.before


def test_suspended_gpu_is_woken_by_who_asks_it_for_something(world: World) -> None:
    status = f"{MI300X_PATH}/power/runtime_status"
    for waking in (
        "hwmon/hwmon0/temp2_input",
        "gpu_metrics",
        "ras/umc_err_count",
        "config",
        "current_link_width",
    ):
        world.node.suspend(MI300X)
        assert world.changed(MI300X_PATH) == {
            "power/runtime_status": b"suspended\n",
            "power_state": b"D3cold\n",
        }
        for harmless in ("vendor", "aer_dev_fatal", "unique_id", "mem_info_vram_total", "hwmon/hwmon0/name"):
            world.node.sysfs.read(f"{MI300X_PATH}/{harmless}")
        assert world.node.sysfs.read(status) == Text("suspended\n")
        world.node.sysfs.read_bytes(f"{MI300X_PATH}/{waking}")
        assert world.node.sysfs.read(status) == Text("active\n")
        world.node.suspend(MI300X, on=False)
        assert world.now == world.before


def test_healthy_node_reads_as_its_directory(world: World) -> None:
    assert_reads_as_its_directory(world)


def assert_reads_as_its_directory(world: World) -> None:
    directory = DirectorySysfs(world.node.root)
    for name in world.before:
        if not name.endswith("/gpu_metrics"):  # time passes there
            assert world.node.sysfs.read_bytes(name) == directory.read_bytes(name)


# -- The module --


def test_unloaded_module_leaves_the_bus_and_nothing_of_its_own(world: World) -> None:
    world.node.unload()
    left = world.now
    assert [name for name in left if "amdgpu" in name or "kfd" in name or "renderD" in name] == []
    assert world.node.sysfs.list("bus/pci/devices") == Names(
        tuple(sorted(name.rpartition("/")[2] for name in world.before if name.startswith("bus/pci/devices/")))
    )
    gpu = [f"remove@{name}" for name in ("card9", "renderD136")]
    said = headlines(world.events)
    assert said[:2] == ["remove@kfd", "remove@kfd"]
    assert [line for line in said if line in {*gpu, f"unbind@{MI300X}", f"unbind@{MI300X_OTHER}"}] == [
        *gpu,
        f"unbind@{MI300X_OTHER}",
        f"unbind@{MI300X}",
    ]
    assert [fields(event) for event in world.events[-2:]] == [
        ["ACTION=remove", "DEVPATH=/bus/pci/drivers/amdgpu", "SUBSYSTEM=drivers"],
        ["ACTION=remove", "DEVPATH=/module/amdgpu", "SUBSYSTEM=module"],
    ]


def test_loaded_module_brings_kfd_first_and_tells_of_itself_last(world: World) -> None:
    world.node.unload()
    world.node.remove(MI300X_OTHER)
    world.events.clear()
    world.node.load()
    assert [fields(event) for event in world.events[:2]] == [
        ["ACTION=add", "DEVPATH=/class/kfd", "SUBSYSTEM=class"],
        [
            "ACTION=add",
            "DEVPATH=/devices/virtual/kfd/kfd",
            "SUBSYSTEM=kfd",
            "MAJOR=237",
            "MINOR=0",
            "DEVNAME=kfd",
        ],
    ]
    assert headlines(world.events)[-3:] == [f"bind@{MI300X}", "add@amdgpu", "add@amdgpu"]
    assert fields(world.events[-1])[1:] == ["DEVPATH=/module/amdgpu", "SUBSYSTEM=module"]
    world.node.add(MI300X_OTHER)
    assert world.now == world.before


def test_nothing_is_bound_without_the_module(world: World) -> None:
    world.node.unload()
    for verb in (world.node.unload, lambda: world.node.bind(MI300X)):
        with pytest.raises(SimulationError, match="amdgpu is not loaded: load it first"):
            verb()
    world.node.remove(MI300X)
    world.node.add(MI300X)
    assert world.node.sysfs.link(f"{MI300X_PATH}/driver") == Absent()
    world.node.clear(MI300X)
    assert world.now == world.before
    with pytest.raises(SimulationError, match="loaded already"):
        world.node.load()


def test_a_memory_mode_comes_with_a_reload_of_the_driver_and_stays(world: World) -> None:
    world.node.repartition_memory(MI300X, "NPS4")
    assert [line for line in headlines(world.events) if line.endswith(f"bind@{MI300X}")] == [
        f"unbind@{MI300X}",
        f"bind@{MI300X}",
    ]
    world.node.reload(MI300X)
    assert world.node.sysfs.read(f"{MI300X_PATH}/current_memory_partition") == Text("NPS4\n")
    with pytest.raises(SimulationError, match="no memory partition mode 'NPS2': it has NPS1, NPS4"):
        world.node.repartition_memory(MI300X, "NPS2")


# -- How it ends --


@pytest.mark.parametrize("stubborn", ["wedge", "bus_error", "ras_errors", "repartition_memory"])
def test_clear_binds_anew_what_nothing_else_mends(world: World, stubborn: str) -> None:
    node = world.node
    {
        "wedge": lambda: node.wedge(MI300X),
        "bus_error": lambda: node.bus_error(MI300X, "begin"),
        "ras_errors": lambda: node.ras_errors(MI300X, ce=1),
        "repartition_memory": lambda: node.repartition_memory(MI300X, "NPS4"),
    }[stubborn]()
    world.events.clear()
    node.clear(MI300X)
    assert headlines(world.events)[-1] == f"bind@{MI300X}"
    assert f"unbind@{MI300X}" in headlines(world.events)
    world.events.clear()
    node.clear(MI300X)
    assert world.events == []


def test_clear_ends_every_fault_at_once_and_leaves_other_gpus_ill(world: World) -> None:
    node = world.node
    for address in (MI300X, MI300X_OTHER):
        node.bad_pages(address, retired=3)
        node.heat(address, "mem", 120)
        node.busy(address)
        node.fail_reads(address)
        node.fall_silent(address)
        node.degrade_link(address, lanes=1)
        node.throttle(address)
        node.use_memory(address, 1 << 35)
        node.lose_render_node(address)
        node.core_dump(address)
        node.suspend(address)
    node.clear(MI300X)
    other = node.path_of(MI300X_OTHER).removeprefix(f"{node.root}/")
    assert refused(node, MI300X_PATH, EPERM) == set()
    assert difference(world.before, world.now) & {name for name in world.before if MI300X in name} == set()
    assert node.sysfs.read(f"{other}/gpu_busy_percent") == Refused(EPERM)
    node.clear()
    assert world.now == world.before
    assert_reads_as_its_directory(world)


# -- What cannot be --


@pytest.mark.parametrize(
    ("shape", "address", "verb", "said"),
    [
        ("radeon", RADEON, lambda n, a: n.ras_errors(a, ue=1), "no RAS block 'umc': its driver counts none"),
        (
            "mi300x:1",
            MI300X,
            lambda n, a: n.ras_errors(a, "vcn", ue=1),
            "it has umc, sdma, gfx, mmhub, xgmi_wafl",
        ),
        ("radeon", RADEON, lambda n, a: n.bad_pages(a, retired=1), "keeps no list of bad pages"),
        ("apu", APU, lambda n, a: n.heat(a, "junction", 90), "no sensor 'junction'; it has edge"),
        ("radeon", RADEON, lambda n, a: n.throttle(a), "does not count how long it is throttled"),
        ("apu", APU, lambda n, a: n.use_memory(a, 1 << 30), "it has 536870912"),
    ],
)
def test_fault_the_product_cannot_have_is_refused_with_what_it_has(
    scratch: Path, shape: str, address: str, verb: Callable[[SimulatedNode, str], None], said: str
) -> None:
    node = SimulatedNode.create(scratch / "node", shape)
    with pytest.raises(SimulationError, match=said):
        verb(node, address)


def test_faults_of_a_driver_need_one(world: World) -> None:
    node = world.node
    node.unbind(MI300X)
    for verb in (
        node.wedge,
        node.ras_errors,
        node.ras_inaccessible,
        node.bad_pages,
        node.busy,
        node.hang,
        node.fail_reads,
        node.lose_render_node,
        node.throttle,
        node.suspend,
        node.core_dump,
    ):
        with pytest.raises(SimulationError, match="has no driver: bind it first"):
            verb(MI300X)
    for ends in (node.busy, node.hang, node.fail_reads, node.throttle, node.suspend, node.ras_inaccessible):
        ends(MI300X, on=False)

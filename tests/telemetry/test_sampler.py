import errno

import pytest

from amdgpu_plugin.capture_file import Entry, Folder
from amdgpu_plugin.sysfs import Absent, Garbled, Refused, Text, Unreadable
from amdgpu_plugin.telemetry.readings import (
    AerCounters,
    BadPages,
    Memory,
    MetricsFormat,
    PcieLink,
    RasCounts,
    Readings,
    Tally,
    Temperature,
    Throttling,
    XgmiTraffic,
)
from amdgpu_plugin.telemetry.sampler import read_gpu_readings
from tests.telemetry.metrics_blobs import structure
from tests.telemetry.trees import (
    ADDRESS,
    FILES,
    GPU,
    GUARDED,
    NOW,
    PORT,
    RecordingSysfs,
    node,
    readings,
    refused,
)

METRICS = structure(
    1664,
    1,
    6,
    [
        (16, "Q", (3 << 16,)),
        (32, "6I", (1000, 1, 870, 2, 3, 4)),
        (128, "Q", (5,)),
        (192, "Q", (6,)),
        (306, "H", (1,)),
        (312, "2I", (50, 25)),
    ],
)
PARAMETER = "module/amdgpu/parameters/bad_page_threshold"
ALL = Readings(
    taken_at=NOW,
    tally=Tally(answered=11, guarded=9),
    ras={"umc": RasCounts(0, 12, 3), "gfx": RasCounts(1, 0, None)},
    bad_pages=BadPages(1, 1, 0),
    bad_page_threshold=64,
    temperatures=(Temperature("junction", 61.0, 100.0, 105.0), Temperature("mem", 48.0, 105.0, 110.0)),
    power_watts=142.0,
    power_cap_watts=750.0,
    energy_joules=3.0,
    clocks_hertz={"sclk": 132e6},
    gfx_busy_ratio=0.37,
    memory_busy_ratio=0.04,
    vcn_busy_ratio=0.0,
    vram=Memory(206141652992, 298946560),
    visible_vram=Memory(206141652992, 298946560),
    gtt=Memory(540852477952, 26214400),
    pcie_link=PcieLink(16e9, 8, 16e9, 16),
    pcie_replays=65535,
    aer=AerCounters(3, 0, 1),
    metrics_format=MetricsFormat(1664, 1, 6),
    throttling=Throttling(
        1000, {"prochot": 1, "ppt": 870, "socket_thermal": 2, "vr_thermal": 3, "hbm_thermal": 4}
    ),
    xgmi=(XgmiTraffic(0, 5 * 1024, 6 * 1024),),
    partition_busy_ratios=(0.375,),
)
GEN4_PORT = {
    f"{PORT}/max_link_speed": "16.0 GT/s PCIe\n",
    f"{PORT}/max_link_width": "16\n",
    PARAMETER: "64\n",
}


def test_everything_a_gpu_tells() -> None:
    assert readings(node({"gpu_metrics": METRICS}, elsewhere=GEN4_PORT)) == ALL


def test_every_file_is_read_once() -> None:
    sysfs = node({"gpu_metrics": METRICS}, elsewhere=GEN4_PORT)
    readings(sysfs)
    assert len(sysfs.read_paths) == len(set(sysfs.read_paths))


def test_files_that_cost_or_reset_are_never_read() -> None:
    names = "pp_dpm_mclk pp_dpm_sclk pp_features pp_od_clk_voltage pcie_bw xgmi_error config rom".split()
    sysfs = node({"gpu_metrics": METRICS, **dict.fromkeys(names, "0\n")}, elsewhere=GEN4_PORT)
    readings(sysfs)
    unread = {
        *names,
        "ras/features",
        "hwmon/hwmon7/temp2_crit_hyst",
        "hwmon/hwmon7/power1_label",
        "vendor",
        "class",
    }
    assert sysfs.read_of(GPU) == {*FILES, "gpu_metrics"} - unread


def test_gpu_that_is_not_on_the_bus_tells_nothing() -> None:
    assert read_gpu_readings(node(), "0000:99:00.0", lambda: NOW) == Readings(NOW)


@pytest.mark.parametrize("status", ["suspended", "suspending", "resuming"])
def test_gpu_that_sleeps_is_left_alone(status: str) -> None:
    sysfs = node({"power/runtime_status": f"{status}\n", "gpu_metrics": METRICS}, elsewhere=GEN4_PORT)
    assert readings(sysfs) == Readings(NOW, asleep=True, bad_page_threshold=64, aer=AerCounters(3, 0, 1))
    assert sysfs.read_of(GPU) == {
        "power/runtime_status",
        "aer_dev_correctable",
        "aer_dev_nonfatal",
        "aer_dev_fatal",
    }


@pytest.mark.parametrize("status", ["unsupported\n", "error\n", None, Refused(errno.EACCES)])
def test_gpu_that_is_not_told_to_sleep_is_read(status: str | Entry | None) -> None:
    sysfs = node({"power/runtime_status": status, "gpu_metrics": METRICS}, elsewhere=GEN4_PORT)
    assert readings(sysfs) == ALL


@pytest.mark.parametrize("number", [errno.EPERM, errno.EBUSY])
def test_reset_is_busy_and_what_goes_on_answering_is_not_guarded(number: int) -> None:
    during = {"ras/umc_err_count": "Query currently inaccessible\n", **refused(GUARDED, number)}
    told = readings(node(during))
    assert told.tally == Tally(answered=2, guarded=0, busy=9)
    assert told.ras == {"gfx": RasCounts(1, 0, None)}
    assert told.ras_unknown == ("umc",)
    assert (told.temperatures, told.power_watts, told.gfx_busy_ratio, told.metrics_format) == (
        (),
        None,
        None,
        None,
    )


def test_reads_that_fail_are_counted_by_their_errnos() -> None:
    driver = [name for name in FILES if name.startswith("ras/") and name.endswith("_err_count")]
    numbers = [errno.EIO, errno.ETIME, errno.ETIMEDOUT, errno.ENODEV, errno.EREMOTEIO]
    failing = {name: Refused(numbers[at % 5]) for at, name in enumerate(sorted({*driver, *GUARDED}))}
    told = readings(node(failing))
    names = ("EIO", "ENODEV", "EREMOTEIO", "ETIME", "ETIMEDOUT")
    assert told.tally == Tally(failing=len(failing), failing_errnos=names)
    assert (told.ras, told.ras_unknown) == ({}, ("gfx", "umc"))


@pytest.mark.parametrize(
    "answer",
    [None, Refused(errno.EACCES), Refused(errno.EOPNOTSUPP), Refused(errno.EINVAL), Garbled("not UTF-8")],
)
def test_absent_denied_unsupported_and_garbled_files_count_nowhere(answer: Entry | None) -> None:
    told = readings(node(dict.fromkeys((*GUARDED, "ras/umc_err_count", "mem_info_gtt_used"), answer)))
    assert told.tally == Tally(answered=1)
    assert told.ras_unknown == (() if answer is None else ("umc",))
    assert told.gtt == Memory(540852477952, None)


def test_labels_and_limits_tell_nothing_of_how_the_gpu_answers() -> None:
    limits = refused(("hwmon/hwmon7/temp2_crit", "hwmon/hwmon7/temp2_label", "hwmon/hwmon7/name"), errno.EIO)
    assert readings(node({"hwmon/hwmon7/temp2_crit": Refused(errno.EIO)})).tally == Tally(
        answered=10, guarded=8
    )
    assert readings(node(limits)).tally == Tally(answered=5, guarded=3)


def test_hwmon_is_found_under_any_number_and_by_its_name() -> None:
    hwmon = {name: FILES[name] for name in FILES if name.startswith("hwmon/")}
    moved = {name.replace("hwmon7", "hwmon12"): value for name, value in hwmon.items()}
    others = {"hwmon/hwmon1/name": "nvme\n", "hwmon/hwmon1/temp1_input": "99000\n"}
    sysfs = node({**dict.fromkeys(hwmon), **moved, **others})
    assert readings(sysfs) == readings(node())


@pytest.mark.parametrize("folder", ["hwmon", "ras", "hwmon/hwmon7"])
def test_folder_that_may_not_be_listed_tells_nothing(folder: str) -> None:
    inside = dict.fromkeys(name for name in FILES if name.startswith(f"{folder}/"))
    closed = readings(node({**inside, folder: Folder(errno.EACCES)}))
    assert closed == readings(node(inside))


class VanishingSysfs(RecordingSysfs):
    """Lists a file that is gone when it is read."""

    def read(self, path: str) -> Text | Unreadable:
        return Absent() if path.endswith("umc_err_count") else super().read(path)


def test_block_that_is_gone_when_it_is_read_is_not_unknown() -> None:
    told = readings(VanishingSysfs(node().behind))
    assert (told.ras, told.ras_unknown) == ({"gfx": RasCounts(1, 0, None)}, ())


def test_aca_names_are_blocks_as_well() -> None:
    legacy = dict.fromkeys(name for name in FILES if name.endswith("_err_count"))
    told = readings(node({**legacy, "ras/aca_umc": "ue: 0\nce: 1\nde: 2\n", "ras/aca_sdma": "\0" * 40}))
    assert (told.ras, told.ras_unknown) == ({"umc": RasCounts(0, 1, 2)}, ("sdma",))


def test_hotspot_bit_of_a_cool_card_is_not_believed() -> None:
    metrics = structure(120, 1, 3, [(112, "Q", (1 << 36 | 1,))])
    cool = readings(node({"gpu_metrics": metrics}))
    hot = readings(node({"gpu_metrics": metrics, "hwmon/hwmon7/temp2_input": "97000\n"}))
    assert (cool.throttled_by, hot.throttled_by) == (("power",), ("power", "thermal"))


def test_unknown_metrics_are_told_with_their_header_and_an_apu_is_known_by_its_format() -> None:
    told = readings(node({"gpu_metrics": structure(400, 2, 7)}))
    header = MetricsFormat(400, 2, 7)
    assert (told.metrics_format, told.unknown_metrics, told.integrated) == (header, header, True)


INNER = f"{PORT}/0000:01:00.0/0000:02:00.0/{ADDRESS}"
UPSTREAM, DOWNSTREAM = f"{PORT}/0000:01:00.0", f"{PORT}/0000:01:00.0/0000:02:00.0"


def switch(vendor: str = "0x1002\n", inner_vendor: str = "0x1002\n") -> dict[str, str]:
    """A card with a switch whose slot gives it 8 of 16 lanes of Gen4, while its inner link is Gen5 x16."""
    return {
        f"{UPSTREAM}/vendor": vendor,
        f"{UPSTREAM}/class": "0x060400\n",
        f"{UPSTREAM}/current_link_speed": "8.0 GT/s PCIe\n",
        f"{UPSTREAM}/current_link_width": "8\n",
        f"{UPSTREAM}/max_link_speed": "32.0 GT/s PCIe\n",
        f"{UPSTREAM}/max_link_width": "16\n",
        f"{DOWNSTREAM}/vendor": inner_vendor,
        f"{DOWNSTREAM}/class": "0x060400\n",
        f"{DOWNSTREAM}/max_link_speed": "32.0 GT/s PCIe\n",
        f"{DOWNSTREAM}/max_link_width": "16\n",
        f"{PORT}/vendor": "0x1022\n",
        f"{PORT}/class": "0x060400\n",
        f"{PORT}/max_link_speed": "16.0 GT/s PCIe\n",
        f"{PORT}/max_link_width": "16\n",
    }


def test_link_of_a_card_with_a_switch_is_that_of_the_slot() -> None:
    told = readings(node(elsewhere=switch(), gpu=INNER))
    assert told.pcie_link == PcieLink(8e9, 8, 16e9, 16)


@pytest.mark.parametrize("vendors", [("0x1002\n", "0x10b5\n"), ("0x10b5\n", "0x1002\n")])
def test_switch_that_is_not_the_cards_leaves_the_gpu_its_own_link(vendors: tuple[str, str]) -> None:
    told = readings(node(elsewhere=switch(*vendors), gpu=INNER))
    assert told.pcie_link == PcieLink(16e9, 8, 32e9, 16)


def test_port_that_does_not_tell_leaves_the_most_unknown() -> None:
    port: dict[str, str | bytes | Entry] = {
        f"{PORT}/max_link_speed": "Unknown\n",
        f"{PORT}/max_link_width": Refused(errno.EIO),
    }
    assert readings(node(elsewhere=port)).pcie_link == PcieLink(16e9, 8, None, None)


def test_gpu_without_a_port_has_its_own_most() -> None:
    assert readings(node(gpu=f"devices/pci0000:05/{ADDRESS}")).pcie_link == PcieLink(16e9, 8, 32e9, 16)

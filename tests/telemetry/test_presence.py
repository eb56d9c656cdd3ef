import errno
from pathlib import Path

import pytest

from amdgpu_plugin.capture_file import Entry, Folder, Link, load_capture
from amdgpu_plugin.sysfs import Blob, DirectorySysfs, Garbled, Refused
from amdgpu_plugin.telemetry.presence import Bound, Gone, NotSeen, Presence, Unbound, look
from tests.telemetry.trees import ADDRESS, GPU, RecordingSysfs, node

DRIVER = Link("../../../../bus/pci/drivers/amdgpu")
OWN: dict[str, str | Link] = {
    f"{GPU}/drm/renderD128/dev": "226:128\n",
    "class/drm/renderD128": Link(f"../../{GPU}/drm/renderD128"),
}


def xcp(number: int) -> dict[str, str | Link]:
    minor = f"amdgpu_xcp_{number}/drm/renderD{129 + number}"
    return {
        f"devices/platform/{minor}/dev": f"226:{129 + number}\n",
        f"class/drm/renderD{129 + number}": Link(f"../../devices/platform/{minor}"),
    }


XCP = xcp(0) | xcp(1) | xcp(2)
NODES = ("renderD128", "renderD129", "renderD130", "renderD131")
MODE = "current_compute_partition"


def gpu(changes: dict[str, str | bytes | Entry | None], elsewhere: dict[str, str | Link]) -> RecordingSysfs:
    return node({"driver": DRIVER, MODE: "QPX\n", **changes}, elsewhere=elsewhere)


def without(*names: str) -> dict[str, str | Link]:
    """All nodes but these."""
    return {path: value for path, value in {**OWN, **XCP}.items() if not any(name in path for name in names)}


def bound(*missing: str, mode: str | None = "QPX", silent: bool = False) -> Bound:
    return Bound(GPU, mode, missing, silent)


def test_bound_gpu_with_all_its_nodes() -> None:
    assert look(gpu({}, without()), ADDRESS, NODES, None) == bound()


@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        (None, Unbound(None)),
        (Link("../../../../bus/pci/drivers/vfio-pci"), Unbound("vfio-pci")),
        (Blob(b""), NotSeen("not a symbolic link")),
    ],
)
def test_gpu_without_amdgpu(driver: Entry | None, expected: Presence) -> None:
    assert look(gpu({"driver": driver}, without()), ADDRESS, NODES, None) == expected


def test_gpu_that_is_not_on_the_bus() -> None:
    assert look(node(), "0000:99:00.0", NODES, None) == Gone()


def test_no_gpu_is_gone_from_a_bus_that_is_not_there_itself(scratch: Path) -> None:
    assert look(DirectorySysfs(str(scratch)), ADDRESS, NODES, None) == NotSeen("bus/pci/devices: absent")
    (scratch / "bus/pci/devices").mkdir(parents=True)
    assert look(DirectorySysfs(str(scratch)), ADDRESS, NODES, None) == Gone()


@pytest.mark.parametrize(
    ("answer", "mode"),
    [
        ("CPX\n", "CPX"),
        ("SPX" + "\0" * 9, "SPX"),
        ("UNKNOWN\n", None),
        (Refused(errno.EPERM), None),
        (None, None),
    ],
)
def test_mode_is_what_its_file_says(answer: str | Entry | None, mode: str | None) -> None:
    assert look(gpu({MODE: answer}, without()), ADDRESS, NODES, None) == bound(mode=mode)


def test_partition_whose_node_is_gone_is_named() -> None:
    assert look(gpu({}, without("renderD130")), ADDRESS, NODES, None) == bound("renderD130")


def test_own_node_that_is_gone_is_named() -> None:
    assert look(gpu({}, without("renderD128")), ADDRESS, NODES, None) == bound("renderD128")


def test_own_node_in_the_gpus_folder_is_there_whatever_the_class_says() -> None:
    elsewhere = {path: value for path, value in without().items() if path != "class/drm/renderD128"}
    assert look(gpu({}, elsewhere), ADDRESS, NODES, None) == bound()


def test_own_node_is_missing_though_another_gpu_has_its_number() -> None:
    other: dict[str, str | Link] = {
        "class/drm/renderD128": Link("../../devices/pci0000:00/0000:00:02.1/0000:06:00.0/drm/renderD128")
    }
    assert look(gpu({}, without("renderD128") | other), ADDRESS, NODES[:1], None) == bound("renderD128")


def test_all_nodes_gone() -> None:
    assert look(gpu({}, {}), ADDRESS, NODES, None) == bound(*NODES)


def test_gpu_of_no_known_node_misses_none() -> None:
    assert look(gpu({}, {}), ADDRESS, (), None) == bound()


def test_gpu_bound_anew_under_other_numbers_misses_none() -> None:
    assert look(gpu({}, {f"{GPU}/drm/renderD140/dev": "226:140\n"}), ADDRESS, NODES, None) == bound()


@pytest.mark.parametrize("answer", [Folder(errno.EACCES), Folder(errno.EIO)])
def test_nodes_that_cannot_be_looked_at_are_not_missing(answer: Entry) -> None:
    assert look(node({"driver": DRIVER, MODE: "QPX", "drm": answer}), ADDRESS, NODES, None) == bound()


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    (tmp_path / "dri").mkdir()
    for name in NODES:
        (tmp_path / "dri" / name).touch()
    return tmp_path


def test_nodes_under_a_visible_dev(dev: Path) -> None:
    assert look(gpu({}, without()), ADDRESS, NODES, str(dev)) == bound()
    (dev / "dri" / "renderD130").unlink()
    (dev / "dri" / "renderD129").unlink()
    hidden = bound("renderD129 (/dev)", "renderD130 (/dev)")
    assert look(gpu({}, without()), ADDRESS, NODES, str(dev)) == hidden


def test_node_gone_from_sysfs_is_named_once(dev: Path) -> None:
    (dev / "dri" / "renderD130").unlink()
    assert look(gpu({}, without("renderD130")), ADDRESS, NODES, str(dev)) == bound("renderD130")


def test_dev_without_dri_is_not_visible(tmp_path: Path) -> None:
    for root in (None, "", str(tmp_path), str(tmp_path / "nowhere")):
        assert look(gpu({}, without()), ADDRESS, NODES, root) == bound()


def test_node_in_dev_that_may_not_be_looked_at_is_not_missing(dev: Path) -> None:
    (dev / "dri" / "renderD128").unlink()
    (dev / "dri" / "renderD128").symlink_to("renderD128")  # ELOOP
    assert look(gpu({}, without()), ADDRESS, NODES, str(dev)) == bound()


@pytest.mark.parametrize("config", [b"\xff" * 64, b"\xff" * 256, b"\xff\xff"])
def test_active_gpu_whose_header_is_all_ones_is_silent(config: bytes) -> None:
    assert look(gpu({"config": config}, without()), ADDRESS, NODES, None) == bound(silent=True)


@pytest.mark.parametrize(
    "config",
    [
        b"\xff\xff\xff\xff\x06\x00\x10\x00" + bytes(56),
        b"",
        None,
        Refused(errno.EACCES),
        Refused(errno.EIO),
        Garbled("x"),
    ],
    ids=["virtual function", "empty", "absent", "denied", "failing", "garbled"],
)
def test_header_that_is_not_all_ones_is_not_silent(config: bytes | Entry | None) -> None:
    assert look(gpu({"config": config}, without()), ADDRESS, NODES, None) == bound()


@pytest.mark.parametrize(
    "status",
    ["suspended\n", "suspending\n", "resuming\n", "unsupported\n", "error\n", "", None, Refused(errno.EIO)],
)
def test_header_of_a_gpu_that_is_not_active_is_never_read(status: str | Entry | None) -> None:
    sysfs = gpu({"config": b"\xff" * 64, "power/runtime_status": status}, without())
    assert look(sysfs, ADDRESS, NODES, None) == bound()
    assert sysfs.read_of(GPU) == {MODE, "power/runtime_status"}


def test_gpus_of_a_real_node_miss_nothing() -> None:
    sysfs = load_capture("tests/fixtures/sysfs/mi300x-cpx-63.capture")
    nodes = tuple(f"renderD{number}" for number in range(128, 136))
    assert look(sysfs, "0000:05:00.0", nodes, None) == Bound(
        f"devices/pci0000:00/0000:00:01.1/{ADDRESS}", "CPX"
    )

import errno
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amdgpu_plugin.capture_file import Entry, Link
from amdgpu_plugin.discovery.inventory import Skipped
from amdgpu_plugin.discovery.pci import (
    PciGpu,
    bound_addresses,
    clean,
    device_path,
    driver_of,
    driver_version,
    hive_folder,
    is_address,
    read_gpu,
    read_hive,
    read_other_gpus,
    uevent_value,
)
from amdgpu_plugin.sysfs import Absent, Blob, Garbled, Refused
from tests.discovery.trees import (
    ADDRESSES,
    HIVE,
    VRAM_BYTES,
    Tree,
    amdgpu_files,
    gone,
    in_memory,
    link,
    pci_path,
    put,
    put_pci,
    unique_id,
)

ADDRESS = ADDRESSES[0]
PATH = pci_path(ADDRESS)
GPU = PciGpu(
    address=ADDRESS,
    path=PATH,
    device_id=0x74A1,
    revision=0,
    subsystem=(0x1002, 0x74A1),
    numa_node=0,
    unique_id=f"{unique_id(ADDRESS):016x}",
    vram_bytes=VRAM_BYTES,
    product="AMD Instinct MI300X",
    compute_partition="SPX",
    available_partitions=("SPX", "DPX", "QPX", "CPX"),
    memory_partition="NPS1",
    skipped=(),
)


def tree_with(**changed: Entry) -> Tree:
    tree: Tree = {}
    put_pci(tree, ADDRESS, amdgpu_files("SPX", ADDRESS))
    return tree | {f"{PATH}/{name}": entry for name, entry in changed.items()}


def answer_to(tree: Tree) -> PciGpu | Skipped:
    return read_gpu(in_memory(tree), PATH, ADDRESS)


def test_gpu_is_read_whole() -> None:
    answer = answer_to(tree_with())
    assert answer == GPU
    assert isinstance(answer, PciGpu)
    assert answer.pci_id == "1002:74a1"


def test_gpu_with_the_pci_cores_files_alone_is_a_gpu() -> None:
    tree: Tree = {}
    put_pci(tree, ADDRESS)
    assert answer_to(tree) == replace(
        GPU,
        unique_id=None,
        vram_bytes=None,
        product=None,
        compute_partition=None,
        available_partitions=(),
        memory_partition=None,
    )


@pytest.mark.parametrize(
    ("file", "text", "changed"),
    [
        ("numa_node", "-1\n", {"numa_node": None}),
        ("numa_node", "3\n", {"numa_node": 3}),
        ("unique_id", "", {"unique_id": None}),
        ("unique_id", "0000000000000000\n", {"unique_id": None}),
        ("unique_id", "00ab140f9a5f9e31\n", {"unique_id": "00ab140f9a5f9e31"}),
        ("unique_id", "ab\n", {"unique_id": "00000000000000ab"}),
        ("product_name", "\n", {"product": None}),
        ("product_name", "AMD Instinct MI300X\n\0\0\0", {}),
        ("mem_info_vram_total", "206141652992\n" + "\0" * 4083, {}),
        ("current_memory_partition", "NPS4\n", {"memory_partition": "NPS4"}),
        ("current_compute_partition", "CPX\n", {"compute_partition": "CPX"}),
        ("available_compute_partition", "SPX, TPX, CPX\n", {"available_partitions": ("SPX", "TPX", "CPX")}),
        ("available_compute_partition", "\n", {"available_partitions": ()}),
        ("device", "0x75a0\n", {"device_id": 0x75A0}),
        ("revision", "0xc8\n", {"revision": 0xC8}),
    ],
)
def test_what_a_file_says_is_what_is_known(file: str, text: str, changed: dict[str, object]) -> None:
    answer = answer_to(tree_with(**{file: Blob(text.encode())}))
    assert answer == replace(GPU, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hive", "answer"),
    [
        (Blob(f"{HIVE}\n".encode()), (str(HIVE), ())),
        (Blob(b"0\n"), (None, ())),
        (Blob(b""), (None, ())),
        (Absent(), (None, ())),
        (Refused(errno.EPERM), (None, (Skipped("hive/xgmi_hive_id", "EPERM"),))),
        (Blob(b"0x1\n"), (None, (Skipped("hive/xgmi_hive_id", "not a number: '0x1'"),))),
    ],
)
def test_hive_is_its_id_or_none(hive: Entry, answer: tuple[str | None, tuple[Skipped, ...]]) -> None:
    assert read_hive(in_memory({"hive/xgmi_hive_id": hive}), "hive") == answer


def test_hives_folder_is_the_gpus_own_or_the_one_it_links_to() -> None:
    tree = tree_with()
    put(tree, f"{PATH}/xgmi_hive_info", {"xgmi_hive_id": f"{HIVE}\n"})
    other = put_pci(tree, ADDRESSES[1])
    link(tree, f"{other}/xgmi_hive_info", f"{PATH}/xgmi_hive_info")
    alone = put_pci(tree, ADDRESSES[2])
    sysfs = in_memory(tree)
    folders = [hive_folder(sysfs, path) for path in (PATH, other, alone)]
    assert folders == [f"{PATH}/xgmi_hive_info", f"{PATH}/xgmi_hive_info", None]


@pytest.mark.parametrize(
    ("file", "field"),
    [
        ("device", "device_id"),
        ("revision", "revision"),
        ("subsystem_vendor", "subsystem"),
        ("subsystem_device", "subsystem"),
        ("numa_node", "numa_node"),
        ("unique_id", "unique_id"),
        ("mem_info_vram_total", "vram_bytes"),
    ],
)
@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (Blob(b"zero\n"), "not a number: 'zero'"),
        (Blob(b"-7\n"), "not a number: '-7'"),
        (Blob(b"1_0\n"), "not a number: '1_0'"),
        (Blob("١\n".encode()), "not a number: '١'"),
        (Blob(b"1" * 4301), f"not a number: {'1' * 40!r}"),
        (Blob(b"\xff\xff"), "not UTF-8 text"),
        (Refused(errno.EPERM), "EPERM"),
        (Garbled("longer than 65536 bytes"), "longer than 65536 bytes"),
    ],
)
def test_number_that_is_none_is_not_known_and_said(file: str, field: str, entry: Entry, reason: str) -> None:
    answer = answer_to(tree_with() | {f"{PATH}/{file}": entry})
    assert answer == replace(GPU, **{field: None, "skipped": (Skipped(f"{PATH}/{file}", reason),)})  # type: ignore[arg-type]


@pytest.mark.parametrize("entry", [Refused(errno.EPERM), Refused(errno.EBUSY), Garbled("not UTF-8 text")])
def test_compute_mode_that_cannot_be_read_is_told_apart_from_none(entry: Refused | Garbled) -> None:
    said = Skipped(f"{PATH}/current_compute_partition", str(entry))
    assert answer_to(tree_with(current_compute_partition=entry)) == replace(
        GPU, compute_partition=entry, skipped=(said,)
    )


@pytest.mark.parametrize("text", ["", "\n", "spx\n", "SPX CPX\n", "UNKNOWN\n", "ΩPX\n"])
def test_compute_mode_that_is_none_of_the_kernels_is_garbled(text: str) -> None:
    why = f"not a compute partition mode: {text.strip()!r}"
    assert answer_to(tree_with(current_compute_partition=Blob(text.encode()))) == replace(
        GPU,
        compute_partition=Garbled(why),
        skipped=(Skipped(f"{PATH}/current_compute_partition", why),),
    )


@pytest.mark.parametrize("text", ["1\n", "NPS\n", "NPS1 or NPS4\n", "nps1/odd\n", "\x01\n"])
def test_memory_mode_that_is_none_of_the_kernels_is_not_known_and_said(text: str) -> None:
    # it becomes part of a resource's name, where the kubelet would refuse it
    why = f"not a memory partition mode: {text.strip()!r}"
    assert answer_to(tree_with(current_memory_partition=Blob(text.encode()))) == replace(
        GPU, memory_partition=None, skipped=(Skipped(f"{PATH}/current_memory_partition", why),)
    )


def test_unique_id_of_a_suspended_gpu_is_left_alone() -> None:
    tree = tree_with() | {f"{PATH}/power/runtime_status": Blob(b"suspended\n")}
    assert answer_to(tree) == replace(GPU, unique_id=None)


@pytest.mark.parametrize("driver", [Link("../../../../bus/pci/drivers/amdgpu"), Absent(), Refused(errno.EIO)])
def test_driver_is_told_by_its_link_or_else_by_uevent(driver: Entry) -> None:
    assert driver_of(in_memory(tree_with(driver=driver)), PATH) == "amdgpu"


def test_device_without_link_and_uevent_has_no_driver() -> None:
    assert driver_of(in_memory(gone(tree_with(), f"{PATH}/driver", f"{PATH}/uevent")), PATH) is None


@pytest.mark.parametrize(
    ("driver", "vendor", "reason"),
    [
        ("radeon", b"0x1002\n", "AMD GPU on driver radeon, not amdgpu"),
        ("vfio-pci", b"0x1002\n", "AMD GPU on driver vfio-pci, not amdgpu"),
        (None, b"0x1002\n", "AMD GPU bound to no driver"),
        ("ast", b"0x1a03\n", "not an amdgpu device (vendor 0x1a03)"),
        ("ast", b"odd", "not an amdgpu device (vendor unknown)"),
    ],
)
def test_device_amdgpu_does_not_drive_is_skipped(driver: str | None, vendor: bytes, reason: str) -> None:
    tree: Tree = {}
    put_pci(tree, ADDRESS, driver=driver)
    assert answer_to(tree | {f"{PATH}/vendor": Blob(vendor)}) == Skipped(PATH, reason)


def test_device_that_went_away_is_skipped_as_vanished() -> None:
    assert answer_to({}) == Skipped(PATH, "vanished")


def test_other_gpus_on_the_bus_are_told_once_and_nothing_else() -> None:
    tree = tree_with()
    put_pci(tree, "0000:03:00.0", driver="vfio-pci", pci_class=0x038000)
    put_pci(tree, "0000:03:00.1", driver="snd_hda_intel", pci_class=0x040300)
    put_pci(tree, "0000:04:00.0", driver="nvidia", pci_class=0x030000, vendor=0x10DE)
    put(tree, put_pci(tree, "0000:06:00.0", driver=None), {"class": "odd"})
    put(tree, put_pci(tree, "0000:07:00.0", driver=None), {"vendor": "odd"})
    link(tree, "bus/pci/devices/odd", PATH)
    assert read_other_gpus(in_memory(tree), frozenset({ADDRESS})) == (
        Skipped("bus/pci/devices/0000:03:00.0", "AMD GPU on driver vfio-pci, not amdgpu"),
    )


def test_no_bus_is_no_other_gpu() -> None:
    assert read_other_gpus(in_memory({}), frozenset()) == ()


def test_bound_addresses_are_the_links_in_the_drivers_folder() -> None:
    tree = tree_with()
    put(tree, "bus/pci/drivers/amdgpu", {"bind": "", "new_id": ""})
    link(tree, "bus/pci/drivers/amdgpu/module", "module/amdgpu")
    put_pci(tree, "10000:02:00.1")
    assert bound_addresses(in_memory(tree)) == (ADDRESS, "10000:02:00.1")
    assert bound_addresses(in_memory({})) == ()


def test_device_path_is_the_real_one_or_the_buss() -> None:
    assert device_path(in_memory(tree_with()), ADDRESS) == PATH
    assert device_path(in_memory({}), ADDRESS) == f"bus/pci/devices/{ADDRESS}"


@pytest.mark.parametrize(
    ("version", "known"),
    [(Blob(b"6.12.12\n"), "6.12.12"), (Blob(b"\n"), None), (Absent(), None), (Blob(b"\xff"), None)],
)
def test_driver_version_is_known_where_the_module_tells_it(version: Entry, known: str | None) -> None:
    assert driver_version(in_memory({"module/amdgpu/version": version})) == known


@pytest.mark.parametrize("name", ["0000:05:00.0", "10000:e1:1f.7", "0003:02:00.0"])
def test_addresses_are_known_as_such(name: str) -> None:
    assert is_address(name)


@pytest.mark.parametrize(
    "name", ["05:00.0", "0000:05:00.8", "0000:05:00", "0000:05:00.0 ", "0000:GG:00.0", ""]
)
def test_other_names_are_no_addresses(name: str) -> None:
    assert not is_address(name)


@given(st.text())
def test_cleaned_text_has_no_nul_and_no_blank_at_its_ends(text: str) -> None:
    assert "\0" not in clean(text)
    assert clean(text) == clean(text).strip()


def test_uevent_value_is_that_of_the_whole_key() -> None:
    text = "OF_DRIVER=no\nDRIVER=amdgpu\nPCI_ID=1002:74A1\n"
    assert (uevent_value(text, "DRIVER"), uevent_value(text, "PCI")) == ("amdgpu", None)

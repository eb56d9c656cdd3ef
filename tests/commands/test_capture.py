"""A capture reads back as the node it was taken from, tells what was refused, and disturbs nobody."""

import asyncio
import errno
import gzip
import os
import re
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from amdgpu_plugin.capture_file import (
    Capture,
    CaptureSysfs,
    Entry,
    Folder,
    format_capture,
    load_capture,
    parse_capture,
)
from amdgpu_plugin.commands.capture import take
from amdgpu_plugin.commands.serials import mask_serials
from amdgpu_plugin.discovery import discover
from amdgpu_plugin.discovery.inventory import Inventory
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.product_names import ProductNames
from amdgpu_plugin.simulation.node import SimulatedNode
from amdgpu_plugin.simulation.shapes import SHAPE_NAMES
from amdgpu_plugin.sysfs import Absent, Blob, DirectorySysfs, Refused, Sysfs, Unreadable
from amdgpu_plugin.telemetry.presence import Bound, look
from tests.conftest import Command
from tests.fixtures.trees import write_tree
from tests.processes import PROGRAM, REPOSITORY, environment

FIXTURES = Path(__file__).parents[1] / "fixtures" / "sysfs"
NAMES = sorted(file.stem for file in FIXTURES.glob("*.capture"))
DEADLINE_SECONDS = 10.0
KEY = b"0123456789abcdef"


def captured(live: Sysfs, *, deadline: float = DEADLINE_SECONDS) -> Capture:
    return asyncio.run(take(live, Lanes(), deadline=deadline))


def written(capture: Capture) -> CaptureSysfs:
    """As it comes back from its file."""
    return CaptureSysfs(parse_capture(format_capture(capture)))


def inventory(sysfs: Sysfs) -> Inventory:
    names = ProductNames(amdgpu_ids=os.devnull, pci_ids=os.devnull)
    return asyncio.run(discover(sysfs, Lanes(), names=names, deadline=DEADLINE_SECONDS))


class Watched(DirectorySysfs):
    """Remembers what was read."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.read_paths: set[str] = set()

    def read_bytes(self, path: str) -> Blob | Unreadable:
        self.read_paths.add(path)
        return super().read_bytes(path)


class Hanging(DirectorySysfs):
    """One file that never answers while the block lasts."""

    def __init__(self, root: str, hung: str) -> None:
        super().__init__(root)
        self._hung = hung
        self._ended = threading.Event()

    def read_bytes(self, path: str) -> Blob | Unreadable:
        if path.endswith(self._hung):
            self._ended.wait()
        return super().read_bytes(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()


# -- It reads back as what it was taken from --


@pytest.mark.parametrize("shape", SHAPE_NAMES)
def test_a_capture_of_a_simulated_node_is_discovered_like_the_node(
    shape: str, tree: Callable[[str], str]
) -> None:
    live = DirectorySysfs(tree(shape))
    assert inventory(written(captured(live))) == inventory(live)


@pytest.mark.parametrize("name", NAMES)
def test_a_capture_of_a_capture_is_discovered_like_it(name: str) -> None:
    live = load_capture(str(FIXTURES / f"{name}.capture"))
    assert inventory(written(captured(live))) == inventory(live)


@pytest.mark.parametrize("name", NAMES)
def test_a_capture_of_a_real_nodes_tree_is_discovered_like_it(name: str, scratch: Path) -> None:
    tree = write_tree(parse_capture((FIXTURES / f"{name}.capture").read_text()), scratch / "sys")
    live = DirectorySysfs(str(tree))
    assert inventory(written(captured(live))) == inventory(live)


def test_a_capture_of_a_capture_is_the_same_text(tree: Callable[[str], str]) -> None:
    first = captured(DirectorySysfs(tree("mi300x-dpx:2")))
    again = captured(written(first))
    assert format_capture(again) == format_capture(first)


def test_a_node_whose_modules_are_loaded_without_a_gpu_is_discovered_like_it(scratch: Path) -> None:
    for folder in ("class/drm", "bus/pci/drivers/amdgpu", "class/kfd/kfd/topology/nodes"):
        (scratch / folder).mkdir(parents=True)
    live = DirectorySysfs(str(scratch))
    found = inventory(live)
    assert inventory(written(captured(live))) == found
    assert (found.driver.kfd, found.gpus) == ("readable", ())


@pytest.mark.parametrize("shape", ["mi210", "mixed:2"])
def test_gpus_are_as_present_in_a_capture_as_on_the_node(shape: str, tree: Callable[[str], str]) -> None:
    live = DirectorySysfs(tree(shape))
    capture = written(captured(live))
    for gpu in inventory(live).gpus:
        seen = look(capture, gpu.pci_address, (), None)
        assert isinstance(seen, Bound)
        assert seen.compute_partition == gpu.compute_partition


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_commands_agree(suffix: str, command: Command, tree: Callable[[str], str], scratch: Path) -> None:
    root, file = tree("mi210"), f"{scratch}/node.capture{suffix}"
    made = command("capture", file, "--sysfs-root", root)
    assert (made.status, made.out) == (0, "")
    assert re.fullmatch(
        rf"{re.escape(file)}: \d+ entries; look: amdgpu-plugin discover --sysfs-root {re.escape(file)}\n",
        made.err,
    )
    replayed = command("discover", "-o", "json", "--sysfs-root", file)
    live = command("discover", "-o", "json", "--sysfs-root", root)
    assert (replayed.status, replayed.err, replayed.out) == (0, "", live.out)


def test_a_gz_file_is_gzip_of_the_same_text(
    command: Command, tree: Callable[[str], str], scratch: Path
) -> None:
    root = tree("radeon")
    for name in ("plain", "packed.gz"):
        assert command("capture", f"{scratch}/{name}", "--sysfs-root", root).status == 0
    plain = (scratch / "plain").read_text().splitlines()
    packed = gzip.decompress((scratch / "packed.gz").read_bytes()).decode().splitlines()
    assert plain[0] == packed[0] == "amdgpu-plugin capture 1"
    assert re.fullmatch(r"# amdgpu-plugin \S+, \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", plain[1])
    assert plain[2:] == packed[2:]
    assert plain[2] == f"# of {root}"


def test_a_simulated_node_can_be_captured(command: Command, scratch: Path) -> None:
    file = f"{scratch}/node.capture"
    assert command("capture", file, "--simulate", "mi250x:2").status == 0
    shown = command("discover", "-o", "json", "--sysfs-root", file)
    assert shown.out == command("discover", "-o", "json", "--simulate", "mi250x:2").out
    assert "# of mi250x:2\n" in Path(file).read_text()


# -- What was refused is told apart --


def changed(root: str, changes: Mapping[str, Entry]) -> CaptureSysfs:
    """The node at `root` as it would be with other answers at some paths, each given by its end."""
    entries = dict(captured(DirectorySysfs(root)).entries)
    for end, entry in changes.items():
        paths = [path for path in entries if re.search(f"{end}$", path)]
        assert paths, end
        entries |= dict.fromkeys(paths, entry)
    return CaptureSysfs(Capture.of(entries))


def test_denied_kfd_stays_denied(tree: Callable[[str], str]) -> None:
    denied = dict.fromkeys(
        (rf"nodes/([2-9]|\d\d)/{name}" for name in ("gpu_id", "name", "properties")), Refused(errno.EPERM)
    )
    live = changed(tree("mi300x-cpx:4"), denied)
    found = inventory(live)
    assert (found.driver.kfd, sum(len(gpu.devices) for gpu in found.gpus)) == ("denied", 32)
    capture = captured(live)
    assert inventory(written(capture)) == found
    text = format_capture(capture)
    assert text.count("\ngpu_id ! EPERM\n") == text.count("\nproperties ! EPERM\n") == 32


ANSWERS: dict[str, Entry] = {
    "mem_info_vram_total": Absent(),
    "current_compute_partition": Refused(errno.EBUSY),
    "current_memory_partition": Refused(errno.EPERM),
    "product_name": Refused(errno.EACCES),
    "unique_id": Blob(b""),
    "numa_node": Blob(b"\n"),
    "gpu_metrics": Blob(bytes(range(256))),
    "vbios_version": Blob(b"113-\xff\xfe\n"),
    "serial_number": Blob(b" 12\0\0\r\n"),
    "ras": Folder(errno.EACCES),
}


def test_absent_denied_busy_empty_and_binary_are_kept_apart(tree: Callable[[str], str]) -> None:
    gpu = "0000:05:00.0"
    live = changed(
        tree("mi300x:2"), {f"{gpu}/{name}": answer for name, answer in ANSWERS.items() if name != "ras"}
    )
    folder = next(path for path in live._entries if path.endswith("0000:05:00.0"))
    entries = {path: entry for path, entry in live._entries.items() if not path.startswith(f"{folder}/ras/")}
    live = CaptureSysfs(Capture.of(entries | {f"{folder}/ras": ANSWERS["ras"]}))
    capture = captured(live)
    assert {name: capture.entries[f"{folder}/{name}"] for name in ANSWERS} == ANSWERS
    again = written(capture)
    assert {name: again._entries[f"{folder}/{name}"] for name in ANSWERS} == ANSWERS
    assert inventory(again) == inventory(live)


def test_gpu_metrics_is_kept_byte_for_byte(command: Command, scratch: Path) -> None:
    node = SimulatedNode.create(scratch / "node", "mi300x:1")
    file = Path(node.path_of(node.addresses[0])) / "gpu_metrics"
    metrics = bytes(range(256)) * 6 + b"\n\r\n\0"
    file.write_bytes(metrics)
    assert command("capture", f"{scratch}/c", "--sysfs-root", node.root).status == 0
    relative = file.relative_to(node.root)
    assert load_capture(f"{scratch}/c").read_bytes(str(relative)) == Blob(metrics)


# -- Serials --


def identifiers(root: str) -> set[str]:
    """Every serial number and unique id that stands somewhere in a tree, as it stands there."""
    found: set[str] = set()
    for path in Path(root).rglob("*"):
        if path.name in {"unique_id", "serial_number", "xgmi_device_id"}:
            found.add(path.read_text().strip())
        elif path.name == "properties":
            found |= set(re.findall(r"^unique_id ([1-9]\d*)$", path.read_text(), re.MULTILINE))
    return {serial for serial in found if serial.strip("0")}


@pytest.mark.parametrize(
    ("shape", "count"), [("mi300x:4", 16), ("mi210", 32), ("mi300x-cpx:2", 8), ("apu", 0)]
)
def test_no_serial_is_left_in_a_masked_capture(
    shape: str, count: int, command: Command, tree: Callable[[str], str], scratch: Path
) -> None:
    root, file = tree(shape), scratch / "masked.capture"
    serials = identifiers(root)
    assert len(serials) == count
    assert command("capture", str(file), "--mask-serials", "--sysfs-root", root).status == 0
    text = file.read_text()
    assert [serial for serial in serials if serial in text] == []


@pytest.mark.parametrize("name", [name for name in NAMES if name != "mi300x-cpx-63"])
def test_no_serial_of_a_real_node_is_left(name: str, scratch: Path) -> None:
    fixture = parse_capture((FIXTURES / f"{name}.capture").read_text())
    serials = identifiers(str(write_tree(fixture, scratch / "sys")))
    masked = mask_serials(captured(CaptureSysfs(fixture)), key=KEY)
    text = format_capture(masked)
    assert [serial for serial in serials if serial in text] == []
    assert without_unique_ids(inventory(written(masked))) == without_unique_ids(
        inventory(CaptureSysfs(fixture))
    )


def without_unique_ids(one: Inventory) -> Inventory:
    return replace(one, gpus=tuple(replace(gpu, unique_id=None) for gpu in one.gpus))


@pytest.mark.parametrize("shape", ["mi300x:4", "mixed:2", "mi250x", "apu"])
def test_a_masked_capture_differs_in_unique_ids_alone(shape: str, tree: Callable[[str], str]) -> None:
    live = DirectorySysfs(tree(shape))
    masked = inventory(written(mask_serials(captured(live), key=KEY)))
    plain = inventory(live)
    assert without_unique_ids(masked) == without_unique_ids(plain)
    known = [gpu.unique_id for gpu in plain.gpus if gpu.unique_id is not None]
    replaced = [gpu.unique_id for gpu in masked.gpus if gpu.unique_id is not None]
    assert len(set(replaced)) == len(replaced) == len(known)
    assert not set(known) & set(replaced)
    assert all(re.fullmatch("[0-9a-f]{16}", unique_id) for unique_id in replaced)


def test_equal_ids_stay_equal_from_file_to_file(tree: Callable[[str], str]) -> None:
    masked = mask_serials(captured(DirectorySysfs(tree("mi300x-dpx:2"))), key=KEY).entries
    texts = {
        path: entry.value.decode(errors="replace")
        for path, entry in masked.items()
        if isinstance(entry, Blob)
    }
    own = {int(text, 16) for path, text in texts.items() if path.endswith("/unique_id")}
    kfd = {
        int(number)
        for text in texts.values()
        for number in re.findall(r"^unique_id ([1-9]\d*)$", text, re.MULTILINE)
    }
    assert len(own) == 2
    assert kfd == own


def test_masks_of_two_captures_have_nothing_in_common(tree: Callable[[str], str]) -> None:
    capture = captured(DirectorySysfs(tree("mi300x:1")))
    one, two = (mask_serials(capture, key=key).entries for key in (KEY, KEY[::-1]))
    differing = {path.rpartition("/")[2] for path in one if one[path] != two[path]}
    assert differing == {"unique_id", "serial_number", "properties"}


@pytest.mark.parametrize("text", [b"", b"0\n", b"0000000000000000\n"])
def test_an_unknown_id_stays_unknown(text: bytes) -> None:
    capture = Capture.of({"devices/gpu/unique_id": Blob(text)})
    assert mask_serials(capture, key=KEY) == capture


@pytest.mark.parametrize("name", ["unique_id", "serial_number", "xgmi_device_id"])
def test_a_serial_that_is_no_number_is_masked_too(name: str) -> None:
    capture = Capture.of({f"devices/gpu/{name}": Blob(b"PCB-77 \xff\n")})
    (masked,) = [
        entry for entry in mask_serials(capture, key=KEY).entries.values() if isinstance(entry, Blob)
    ]
    assert re.fullmatch(rb"masked-[0-9a-f]{16}\n", masked.value)


# -- It disturbs nobody --


def test_files_that_reset_or_take_long_are_never_read(scratch: Path) -> None:
    node = SimulatedNode.create(scratch / "node", "mi300x:2")
    folder = Path(node.path_of(node.addresses[0]))
    for name in ("pcie_bw", "rom", "ras/xgmi_error"):
        (folder / name).write_text("1 2 3\n")
    assert (folder / "xgmi_error").exists()
    live = Watched(node.root)
    captured(live)
    names = {path.rpartition("/")[2] for path in live.read_paths}
    assert names & {"pcie_bw", "rom", "xgmi_error", "config"} == set()
    assert {"gpu_metrics", "umc_err_count", "temp2_input"} <= names


def test_a_suspended_gpu_is_left_asleep(scratch: Path) -> None:
    node = SimulatedNode.create(scratch / "node", "radeon:2")
    os.unlink(f"{node.root}/class/kfd/kfd")  # which would tell the VRAM as well
    asleep, awake = (os.path.relpath(node.path_of(address), node.root) for address in node.addresses)
    status = Path(node.root, asleep, "power", "runtime_status")
    status.write_text("suspended\n")
    live = Watched(node.root)
    capture = captured(live)
    pci_core = {path.removeprefix(f"{asleep}/") for path in live.read_paths if path.startswith(f"{asleep}/")}
    others = {path.removeprefix(f"{awake}/") for path in live.read_paths if path.startswith(f"{awake}/")}
    wakers = {name for name in others if name.startswith(("hwmon/", "ras/")) or name.endswith("_percent")}
    assert wakers | {"gpu_metrics", "unique_id", "mem_info_vram_used", "vbios_version"} <= others
    assert not pci_core & (wakers | {"gpu_metrics", "unique_id", "mem_info_vram_used", "vbios_version"})
    assert {"vendor", "power/runtime_status", "numa_node"} <= pci_core
    assert inventory(written(capture)) == inventory(live)


@pytest.mark.parametrize("hung", ["0000:05:00.0/gpu_busy_percent", "nodes/2/properties"])
def test_a_file_that_hangs_costs_its_own_rest(hung: str, tree: Callable[[str], str]) -> None:
    root = tree("mi300x:2")
    whole = captured(DirectorySysfs(root)).entries
    with Hanging(root, hung) as live:
        capture = captured(live, deadline=0.3).entries
    (path,) = [path for path in whole if path.endswith(hung)]
    assert capture[path] == Refused(errno.ETIMEDOUT)
    lost = whole.keys() - capture.keys()
    folder = path.rpartition("/")[0]
    assert lost
    assert all(each.startswith(f"{folder}/") for each in lost)
    assert {each: whole[each] for each in capture if each != path} == {
        each: entry for each, entry in capture.items() if each != path
    }


def test_the_command_ends_though_a_file_hangs(command: Command, scratch: Path) -> None:
    node = SimulatedNode.create(scratch / "node", "mi300x:2")
    fifo = Path(node.path_of(node.addresses[0])) / "gpu_busy_percent"
    fifo.unlink()
    os.mkfifo(fifo)
    file = scratch / "node.capture"
    made = command("capture", str(file), "--sysfs-root", node.root, "--health-read-deadline", "1")
    os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))  # ENXIO if nobody waited there
    assert made.status == 0
    assert "\ngpu_busy_percent ! ETIMEDOUT\n" in file.read_text()
    assert inventory(load_capture(str(file))).gpus[1] == inventory(DirectorySysfs(node.root)).gpus[1]


# -- Where it goes --


def test_an_earlier_capture_is_replaced(command: Command, tree: Callable[[str], str], scratch: Path) -> None:
    file = scratch / "node.capture"
    file.write_text("an earlier one\n" * 10_000)
    assert command("capture", str(file), "--sysfs-root", tree("apu")).status == 0
    assert len(inventory(load_capture(str(file))).gpus) == 1
    assert [path.name for path in scratch.iterdir()] == ["node.capture"]


@pytest.mark.parametrize(
    ("target", "why"), [("missing/c", "No such file or directory"), ("folder", "Is a directory")]
)
def test_a_target_that_cannot_be_written_is_named(
    target: str, why: str, command: Command, tree: Callable[[str], str], scratch: Path
) -> None:
    (scratch / "folder").mkdir()
    path = f"{scratch}/{target}"
    made = command("capture", path, "--sysfs-root", tree("apu"))
    assert made.status == 2
    assert made.err == (
        f"amdgpu-plugin: error: {path}: cannot be written: {why} "
        "(give a path in a folder that can be written)\n"
    )
    assert [file.name for file in scratch.rglob("*")] == ["folder"]


def test_a_capture_that_cannot_be_finished_leaves_what_was_there(
    command: Command, tree: Callable[[str], str], scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = scratch / "node.capture"
    file.write_text("an earlier one\n")
    monkeypatch.setattr(os, "replace", no_space)
    made = command("capture", str(file), "--sysfs-root", tree("apu"))
    assert (made.status, made.err.partition(": error: ")[2].split(" (")[0]) == (
        2,
        f"{file}: cannot be written: No space left on device",
    )
    assert [each.name for each in scratch.iterdir()] == ["node.capture"]
    assert file.read_text() == "an earlier one\n"


def test_a_link_is_written_through(command: Command, tree: Callable[[str], str], scratch: Path) -> None:
    (scratch / "link").symlink_to("real")
    (scratch / "real").write_text("")
    assert command("capture", f"{scratch}/link", "--sysfs-root", tree("apu")).status == 0
    assert (scratch / "link").is_symlink()
    assert len(inventory(load_capture(f"{scratch}/real")).gpus) == 1


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("-", ""),
        ("/dev/stdout", r"/dev/stdout: \d+ entries; look: amdgpu-plugin discover --sysfs-root /dev/stdout\n"),
    ],
)
def test_stdout_takes_a_capture_and_nothing_else(file: str, said: str, tree: Callable[[str], str]) -> None:
    root = tree("apu")
    ended = subprocess.run(
        [*PROGRAM, "capture", file, "--sysfs-root", root],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    live = DirectorySysfs(root)
    assert inventory(CaptureSysfs(parse_capture(ended.stdout))) == inventory(live)
    assert re.fullmatch(said, ended.stderr)
    assert os.path.islink("/dev/stdout")
    assert not (REPOSITORY / "-").exists()

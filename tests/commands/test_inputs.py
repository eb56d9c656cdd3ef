"""What a verb looks at: a directory, a capture or a simulated node, and what is said when it is none."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from amdgpu_plugin.commands import inputs
from amdgpu_plugin.commands.inputs import node_input, open_sysfs, scratch_parent
from amdgpu_plugin.config import Config, ConfigError, default_config, load_config
from amdgpu_plugin.sysfs import Blob, DirectorySysfs, Text

HINT = "a directory laid out like /sys, or a file made by `amdgpu-plugin capture`"
CAPTURE = """\
amdgpu-plugin capture 1
# made by hand

[module/amdgpu]
version = 6.12.12

end 2
"""


def config(**flags: str) -> Config:
    return load_config({f"--{name.replace('_', '-')}": value for name, value in flags.items()}, {}).config


def refusal(root: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        open_sysfs(str(root))
    return str(refused.value)


def test_the_default_is_this_machines_sysfs() -> None:
    with node_input(default_config()) as source:
        assert isinstance(source.sysfs, DirectorySysfs)
        assert (source.sysfs.root, source.simulated) == ("/sys", None)


@pytest.mark.parametrize("packed", [False, True])
def test_a_capture_answers_like_a_directory(scratch: Path, *, packed: bool) -> None:
    # What it is shows in its first bytes, whatever it is called.
    file = scratch / "node"
    file.write_bytes(gzip.compress(CAPTURE.encode()) if packed else CAPTURE.encode())
    with node_input(config(sysfs_root=str(file))) as source:
        assert source.sysfs.read("module/amdgpu/version") == Text("6.12.12\n")
        assert source.simulated is None


def test_a_simulated_node_lives_as_long_as_it_is_looked_at(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SHARED_MEMORY", str(scratch))
    with node_input(config(simulate="mi300x:1")) as source:
        assert source.simulated is not None
        path = source.simulated.path_of("0000:05:00.0")
        assert source.simulated.root.startswith(f"{scratch}/")
        vendor = source.sysfs.read_bytes(os.path.relpath(f"{path}/vendor", source.simulated.root))
        assert vendor == Blob(b"0x1002\n")
    assert list(scratch.iterdir()) == []


def test_a_simulated_node_goes_when_the_look_fails(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "SHARED_MEMORY", str(scratch))

    def look() -> None:
        with node_input(config(simulate="apu")):
            assert len(list(scratch.iterdir())) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look()
    assert list(scratch.iterdir()) == []


def test_an_unknown_shape_names_those_there_are() -> None:
    with pytest.raises(ConfigError) as refused, node_input(config(simulate="mi999")):
        pass
    assert str(refused.value) == (
        "--simulate: unknown shape 'mi999'; known are mi300x, mi300x-cpx, mi300x-dpx, mi210, mi250x, mi300a, "
        "radeon, apu, mixed, each with a count as in mi300x:4"
    )


def test_a_count_that_does_not_fit_says_what_does() -> None:
    with pytest.raises(ConfigError) as refused, node_input(config(simulate="mi300a:5")):
        pass
    assert str(refused.value).startswith("--simulate: bad count in shape 'mi300a:5': mi300a has 1 to 4 GPUs;")


def test_a_root_that_is_not_there_is_named(scratch: Path) -> None:
    root = scratch / "nothing"
    assert refusal(root) == f"--sysfs-root: {root} does not exist ({HINT})"


def test_a_fifo_is_no_root_and_nobody_waits_for_it(scratch: Path) -> None:
    root = scratch / "fifo"
    os.mkfifo(root)
    assert refusal(root) == f"--sysfs-root: {root} is neither a directory nor a file ({HINT})"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (CAPTURE[:-6].encode(), "line 5: the capture is truncated: no 'end' line after this one; take it again"),
        (CAPTURE.replace("end 2", "end 3").encode(), "line 7: the capture is damaged: 'end' says 3 entries, 2 are there; take it again"),
        (gzip.compress(CAPTURE.encode(), mtime=0)[:-12], "the capture is truncated: its gzip data ends early; take it again"),
        (b"P: /devices/pci0000:00\nE: SUBSYSTEM=pci\n", "line 1: not a capture: a capture begins with 'amdgpu-plugin capture 1'"),
        (b"", "line 1: not a capture: a capture begins with 'amdgpu-plugin capture 1'"),
        (b"\x7fELF\x02\x01\xff\xff", "not a capture: it is not UTF-8 text"),
        (CAPTURE.replace("capture 1", "capture 2").encode(), "line 1: 'amdgpu-plugin capture 2' is of another version, this program reads 'amdgpu-plugin capture 1': use a newer one"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_whole_capture_is_named_with_its_trouble(
    content: bytes, why: str, scratch: Path
) -> None:
    file = scratch / "node.capture"
    file.write_bytes(content)
    assert refusal(file) == f"--sysfs-root: {file}: {why} ({HINT})"


def test_trees_go_to_memory_where_it_can_be_written(
    monkeypatch: pytest.MonkeyPatch, scratch: Path, tree: Callable[[str], str]
) -> None:
    monkeypatch.setattr(inputs, "SHARED_MEMORY", str(scratch))
    assert scratch_parent() == str(scratch)
    monkeypatch.setattr(inputs, "SHARED_MEMORY", str(scratch / "nowhere"))
    assert scratch_parent() is None

"""What a later daemon of the same boot knows of an earlier one."""

import json
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from amdgpu_plugin.discovery.inventory import ComputeDevice, Gpu
from amdgpu_plugin.discovery.naming import GivenNames
from amdgpu_plugin.node import ListedDevice, Verdict
from amdgpu_plugin.state import NOTHING, Memory, Owner, StateFile

A = "0000:05:00.0"
BOOT = Owner("2f1c1d7e-0000", "/sys")
DEVICE = ComputeDevice(f"{A}-cpx3", "amd.com/gpu", 3, "renderD131", "card4", 5)
GPU = Gpu(A, "AMD Instinct MI300X", "1002:74a1", None, 0, 1 << 37, "CPX", "NPS1", "1518", ())
LISTED = ListedDevice(DEVICE, GPU)
MEMORY = Memory({A: {"baselines": {"umc": 5}}}, (LISTED,), GivenNames("single", {"cpx_nps1": "amd.com/gpu"}))


def listen(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)


def saved(folder: Path, owner: Owner = BOOT) -> StateFile:
    file = StateFile(str(folder), owner)
    file.save(MEMORY)
    return file


def test_what_is_saved_is_loaded_by_the_next_daemon_of_the_boot(scratch: Path) -> None:
    saved(scratch)
    assert StateFile(str(scratch), BOOT).load() == MEMORY


def test_verdicts_are_not_kept_but_found_anew(scratch: Path) -> None:
    ill = replace(LISTED, verdict=Verdict("DeviceLost", "not on the PCI bus", 7.0))
    StateFile(str(scratch), BOOT).save(Memory({}, (ill,)))
    assert StateFile(str(scratch), BOOT).load() == Memory({}, (LISTED,))


def test_a_directory_that_is_not_there_is_made(scratch: Path) -> None:
    saved(scratch / "run" / "amdgpu-plugin")
    assert StateFile(str(scratch / "run" / "amdgpu-plugin"), BOOT).load() == MEMORY


def test_where_nothing_was_saved_there_is_nothing(scratch: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert StateFile(str(scratch), BOOT).load() == NOTHING
    assert caplog.records == []


@pytest.mark.parametrize("other", [Owner("another boot", "/sys"), Owner(BOOT.boot_id, "mi300x:8")])
def test_what_belongs_to_another_boot_or_node_is_ignored_and_said(
    scratch: Path, other: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    saved(scratch, other)
    assert StateFile(str(scratch), BOOT).load() == NOTHING
    assert [record.message for record in caplog.records] == ["the state of another boot or node is ignored"]


def with_device(*, gpu: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    file = {"format": 1, "boot_id": BOOT.boot_id, "source": BOOT.source, "gpus": {}}
    device = {"id": A, "resource": "amd.com/gpu", "partition": None, "render_node": "renderD128"}
    device |= {"card_node": None, "kfd_node": None} | changes
    names = "product pci_id unique_id numa_node vram_bytes compute_partition memory_partition xgmi_hive"
    known = dict.fromkeys(names.split()) | {"pci_address": A} | (gpu or {})
    return file | {"listed": [{"device": device, "gpu": known}]}


def test_what_a_later_version_adds_is_no_trouble(scratch: Path) -> None:
    (scratch / "state.json").write_text(json.dumps(with_device(colour="blue") | {"more": 1}))
    loaded = StateFile(str(scratch), BOOT).load()
    assert [listed.id for listed in loaded.listed] == [A]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "\0" * 4096,
        "[" * 100_000,
        '{"format": 2}',
        json.dumps(with_device(id=7)),
        json.dumps(with_device(resource=None)),
        json.dumps(with_device(partition="three")),
        json.dumps(with_device() | {"gpus": [1]}),
        json.dumps(with_device() | {"naming": "double", "names": {}}),
        json.dumps(with_device() | {"naming": "single", "names": {"": 7}}),
        json.dumps(with_device() | {"naming": ["single"], "names": {}}),
        json.dumps(with_device() | {"listed": [{}]}),
        json.dumps(with_device() | {"listed": 4}),
        json.dumps(with_device() | {"gpus": {"../../etc": {}}}),
        json.dumps(with_device() | {"gpus": {A: {"since": -1.0}}}),
        json.dumps(with_device() | {"gpus": {A: {"since": 1e12}}}),
        json.dumps(with_device() | {"gpus": {A: {"since": float("nan")}}}),
        json.dumps(with_device() | {"gpus": {A: {"since": float("inf")}}}),
        json.dumps(with_device() | {"gpus": {A: {"count": 1 << 63}}}),
        json.dumps(with_device() | {"gpus": {A: {"count": 10**4000}}}),
        json.dumps(with_device() | {"gpus": {A: {"detail": "x" * 5000}}}),
        json.dumps(with_device() | {"gpus": {A: {"detail": "\ud800"}}}),
        json.dumps(with_device(id="0000:27:00.0")),
        json.dumps(with_device(id=f"{A}-cpx3::1")),
        json.dumps(with_device(resource="example.com/gpu")),
        json.dumps(with_device(resource="amd.com/" + "x" * 64)),
        json.dumps(with_device(render_node="../../kmsg")),
        json.dumps(with_device(replicas=0)),
        json.dumps(with_device(replicas=1 << 20)),
        json.dumps(with_device(partition=True)),
        json.dumps(with_device(gpu={"pci_address": "gpu"})),
        json.dumps(with_device(gpu={"numa_node": 1 << 40})),
        json.dumps(with_device() | {"naming": "single", "names": {"cpx": "gpu"}}),
        json.dumps(with_device() | {"naming": "single", "names": {"Ä": "amd.com/gpu"}}),
        " " * (16 << 20) + json.dumps(with_device()),
    ],
)
def test_what_cannot_be_understood_is_said_and_nothing(
    scratch: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (scratch / "state.json").write_text(content)
    assert StateFile(str(scratch), BOOT).load() == NOTHING
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, partial(os.symlink, "state.json.real"), listen])
def test_what_is_no_plain_file_is_said_and_does_not_hold_up_the_start(
    scratch: Path, make: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    (scratch / "state.json.real").write_text(json.dumps(with_device()))
    file = StateFile(str(scratch), BOOT)
    make(file.path)
    assert file.load() == NOTHING
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    if make is os.mkdir:
        with pytest.raises(IsADirectoryError):
            file.save(MEMORY)
    else:
        file.save(MEMORY)
        assert file.load() == MEMORY


@pytest.mark.parametrize("make", [os.mkfifo, partial(os.symlink, "elsewhere")])
def test_what_lies_in_the_way_of_a_save_is_taken_away(scratch: Path, make: Callable[[str], None]) -> None:
    file = StateFile(str(scratch), BOOT)
    make(f"{file.path}.new")
    file.save(MEMORY)
    assert (file.load(), sorted(os.listdir(scratch))) == (MEMORY, ["state.json"])


def test_a_save_that_fails_leaves_what_was_saved(scratch: Path) -> None:
    file = saved(scratch)
    os.mkdir(f"{file.path}.new")
    with pytest.raises(IsADirectoryError):
        file.save(NOTHING)
    assert file.load() == MEMORY

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from amdgpu_plugin.exposition.kubernetes.standing import Subject
from amdgpu_plugin.exposition.kubernetes.story import Told
from amdgpu_plugin.exposition.kubernetes.told_file import ToldFile
from tests.exposition.states import A, B

OWNER = ("boot", "/sys")
TOLD = {
    Subject(A, "Overheated"): Told("unhealthy", 5.5),
    Subject(B, "Hot"): Told("inform", 7.0),
    Subject(A, "Overheated", "team", "train"): Told("unhealthy", 5.5),
}


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    ToldFile(str(tmp_path / "state"), OWNER).save(TOLD)
    assert ToldFile(str(tmp_path / "state"), OWNER).load() == TOLD
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["events.json"]


@pytest.mark.parametrize("owner", [("another boot", "/sys"), ("boot", "mi300x")])
def test_that_of_another_boot_or_node_is_ignored(tmp_path: Path, owner: tuple[str, str]) -> None:
    ToldFile(str(tmp_path), OWNER).save(TOLD)
    assert ToldFile(str(tmp_path), owner).load() == {}


def test_no_file_is_nothing(tmp_path: Path) -> None:
    assert ToldFile(str(tmp_path), OWNER).load() == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        "[" * 100_000,
        json.dumps({"format": 2, "owner": OWNER, "told": []}),
        json.dumps({"format": 1, "owner": OWNER, "told": [["a", "b", "", "", "grave", 5]]}),
        json.dumps({"format": 1, "owner": OWNER, "told": [["a", 1, "", "", "inform", 5]]}),
        json.dumps({"format": 1, "owner": OWNER, "told": [["a", "b", "", "", "inform", "5"]]}),
        json.dumps({"format": 1, "owner": OWNER, "told": [["a", "b", "", "", "inform", 10**400]]}),
        json.dumps({"format": 1, "owner": OWNER, "told": [["a"]]}),
        json.dumps({"format": 1, "owner": OWNER, "told": [["a", "b", "", "", "inform", float("nan")]]}),
        json.dumps({"format": 1, "owner": OWNER, "told": [["a", "b", "", "", "inform", float("inf")]]}),
        json.dumps({"format": 1, "owner": OWNER, "told": [["a", "b", "\ud800", "p", "inform", 5]]}),
        json.dumps({"format": 1, "owner": OWNER, "told": [["a" * 5000, "b", "", "", "inform", 5]]}),
        json.dumps(
            {"format": 1, "owner": OWNER, "told": [[f"{n}", "b", "", "", "inform", 5] for n in range(5000)]}
        ),
    ],
)
def test_file_that_makes_no_sense_is_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "events.json").write_text(text)
    assert ToldFile(str(tmp_path), OWNER).load() == {}


@pytest.mark.parametrize("make", [os.mkfifo, partial(os.symlink, "elsewhere")])
def test_what_lies_in_the_way_of_a_new_one_holds_nobody_up(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "events.json.new")
    ToldFile(str(tmp_path), OWNER).save(TOLD)
    assert ToldFile(str(tmp_path), OWNER).load() == TOLD
    assert [path.name for path in tmp_path.iterdir()] == ["events.json"]


def test_pipe_in_its_place_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "events.json")
    assert ToldFile(str(tmp_path), OWNER).load() == {}


def test_nothing_in_the_way_of_a_new_file_holds_up_or_is_written_through(tmp_path: Path) -> None:
    beside, elsewhere = tmp_path / "events.json.new", tmp_path / "elsewhere"
    elsewhere.write_text("of somebody else")
    beside.symlink_to(elsewhere)
    file = ToldFile(str(tmp_path), OWNER)
    file.save(TOLD)
    assert (elsewhere.read_text(), file.load()) == ("of somebody else", TOLD)
    os.mkfifo(beside)
    reader = os.open(beside, os.O_RDONLY | os.O_NONBLOCK)
    try:
        file.save({})
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)
    assert file.load() == {}

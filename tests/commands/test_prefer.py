import json
from pathlib import Path

import pytest

from tests.conftest import Answer, Command

FIXTURES = Path(__file__).parents[1] / "fixtures" / "sysfs"
HINT = "(amdgpu-plugin discover lists this node's devices)"

FOUR_OF_MI210 = """\
amd.com/gpu: 4 of 8

DEVICE        GPU           NUMA  HIVE
0000:83:00.0  0000:83:00.0  1     18091350218769748594
0000:a3:00.0  0000:a3:00.0  1     18091350218769748594
0000:c3:00.0  0000:c3:00.0  1     18091350218769748594
0000:e3:00.0  0000:e3:00.0  1     18091350218769748594

total distance  600, exact
runner-up       1800: 0000:03:00.0, 0000:26:00.0, 0000:43:00.0, 0000:c3:00.0

- on 4 GPUs of one hive, joined by 6 × XGMI weight 15; NUMA node 1
- 0000:c3:00.0 had to be included
- total distance 600: no choice has less
- leaves 4 GPUs and 1 hive whole
- next best: total distance 1800
"""


def of_mi210(command: Command, *argv: str) -> Answer:
    return command("prefer", *argv, "--sysfs-root", str(FIXTURES / "mi210-2hives.capture"))


def test_table_tells_the_set_its_distance_the_runner_up_and_why(command: Command) -> None:
    assert of_mi210(command, "4", "--must-include", "0000:c3:00.0") == Answer(0, FOUR_OF_MI210, "")


def test_json_is_for_programs(command: Command) -> None:
    answer = of_mi210(command, "2", "--available", "0000:03:00.0, 0000:26:00.0,0000:83:00.0", "-o", "json")
    assert (answer.status, answer.err) == (0, "")
    assert json.loads(answer.out) == {
        "devices": ["0000:03:00.0", "0000:26:00.0"],
        "cost": 100,
        "exact": True,
        "reasons": [
            "on 2 GPUs of one hive, joined by 1 × XGMI weight 15; NUMA node 0",
            "total distance 100: no choice has less",
            "leaves 1 GPU and no hive whole",
            "next best: total distance 500",
        ],
        "runner_up": {"devices": ["0000:03:00.0", "0000:83:00.0"], "cost": 500},
    }


def test_more_than_there_are_is_no_preference(command: Command) -> None:
    assert of_mi210(command, "9") == Answer(
        0, "No preference: 9 asked for, 8 known, healthy and available.\n", ""
    )
    assert json.loads(of_mi210(command, "9", "-o", "json").out) == {
        "devices": [],
        "cost": None,
        "exact": None,
        "reasons": ["9 asked for, 8 known, healthy and available"],
        "runner_up": None,
    }


def test_node_without_a_gpu_has_no_preference(command: Command, tmp_path: Path) -> None:
    answer = command("prefer", "1", "--sysfs-root", str(tmp_path))
    assert (answer.status, answer.out) == (0, "No preference: 1 asked for, 0 known, healthy and available.\n")


def test_where_every_set_is_as_good_there_is_no_runner_up(command: Command) -> None:
    answer = of_mi210(command, "1")
    assert "\nrunner-up       none: every other set is as good\n" in answer.out


@pytest.mark.parametrize("size", ["0", "-1", "many", "1.5", "100001", "²"])
def test_size_is_a_number_of_devices(size: str, command: Command) -> None:
    answer = of_mi210(command, "--", size) if size == "-1" else of_mi210(command, size)
    assert (answer.status, answer.out) == (2, "")
    assert size in answer.err


@pytest.mark.parametrize("option", ["--available", "--must-include"])
def test_id_that_this_node_has_not_is_named_with_its_option(option: str, command: Command) -> None:
    answer = of_mi210(command, "1", option, "0000:03:00.0,gpu7")
    assert answer == Answer(2, "", f"amdgpu-plugin: error: {option}: this node has no device 'gpu7' {HINT}\n")


def test_devices_of_two_resources_are_not_chosen_among(command: Command) -> None:
    mixed = ("--simulate", "mixed:2")
    answer = command("prefer", "1", *mixed, "--available", "0000:05:00.0,0000:27:00.0-cpx0")
    assert answer.status == 2
    assert "devices of amd.com/cpx_nps1 and of amd.com/gpu" in answer.err
    assert command("prefer", "1", *mixed).out.startswith("amd.com/gpu: 1 of 1\n")
    of_partitions = command("prefer", "1", *mixed, "--must-include", "0000:27:00.0-cpx3")
    assert of_partitions.out.startswith("amd.com/cpx_nps1: 1 of 8\n")


def test_long_runner_up_is_cut(command: Command) -> None:
    answer = command("prefer", "9", "--simulate", "mi300x-cpx:2")
    assert "0000:27:00.0-cpx0 and 1 more\n" in answer.out


def test_replicas_are_named_as_the_kubelet_knows_them(command: Command) -> None:
    answer = command("prefer", "2", "--simulate", "radeon:2", "--replicas", "2", "-o", "json")
    assert json.loads(answer.out)["devices"] == ["0000:03:00.0::0", "0000:23:00.0::0"]

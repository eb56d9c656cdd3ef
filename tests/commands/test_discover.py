"""`discover`: its JSON is a contract that programs lean on, its table is for people."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from amdgpu_plugin.commands.discover import as_table
from amdgpu_plugin.discovery.inventory import Driver, Gpu, Inventory, Skipped, address_order
from amdgpu_plugin.simulation.node import SimulatedNode
from tests.conftest import Answer, Command
from tests.processes import run

FIXTURES = Path(__file__).parents[1] / "fixtures" / "sysfs"

TEXT, NUMBER, UNKNOWN = str, int, type(None)
OBJECTS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "driver": {"name": (TEXT,), "version": (TEXT, UNKNOWN), "kfd": (TEXT,)},
    "gpu": {
        "pci_address": (TEXT,),
        "product": (TEXT, UNKNOWN),
        "pci_id": (TEXT, UNKNOWN),
        "unique_id": (TEXT, UNKNOWN),
        "numa_node": (NUMBER, UNKNOWN),
        "vram_bytes": (NUMBER, UNKNOWN),
        "compute_partition": (TEXT, UNKNOWN),
        "memory_partition": (TEXT, UNKNOWN),
        "xgmi_hive": (TEXT, UNKNOWN),
        "devices": (list,),
    },
    "device": {
        "id": (TEXT,),
        "resource": (TEXT,),
        "partition": (NUMBER, UNKNOWN),
        "render_node": (TEXT,),
        "card_node": (TEXT, UNKNOWN),
        "kfd_node": (NUMBER, UNKNOWN),
    },
    "link": {
        "a": (TEXT,),
        "b": (TEXT,),
        "kind": (TEXT,),
        "weight": (NUMBER, UNKNOWN),
        "bandwidth_mb_s": (NUMBER, UNKNOWN),
    },
    "skipped": {"path": (TEXT,), "reason": (TEXT,)},
}


def told(command: Command, *options: str) -> Any:
    answer = command("discover", "-o", "json", *options)
    assert (answer.status, answer.err) == (0, "")
    return json.loads(answer.out)


def check(kind: str, one: Any) -> None:
    assert list(one) == list(OBJECTS[kind])
    assert [name for name, value in one.items() if type(value) not in OBJECTS[kind][name]] == []


@pytest.mark.parametrize(
    "name",
    [
        "mi300x-cpx-63",
        "mi210-2hives",
        "vega10-old-kernel",
        "mi300a-tpx-denied",
        "lact-phoenix",
        "lact-hd7870",
    ],
)
def test_json_has_the_contracts_keys_types_and_order(name: str, command: Command) -> None:
    node = told(command, "--sysfs-root", str(FIXTURES / f"{name}.capture"))
    assert list(node) == ["driver", "gpus", "links", "skipped"]
    check("driver", node["driver"])
    for gpu in node["gpus"]:
        check("gpu", gpu)
        for device in gpu["devices"]:
            check("device", device)
        partitions = [device["partition"] for device in gpu["devices"]]
        assert partitions == ([None] if partitions == [None] else sorted(partitions))
    for link in node["links"]:
        check("link", link)
    for skipped in node["skipped"]:
        check("skipped", skipped)
    addresses = [gpu["pci_address"] for gpu in node["gpus"]]
    assert addresses == sorted(addresses, key=address_order)
    pairs = [(link["a"], link["b"]) for link in node["links"]]
    assert len(set(pairs)) == len(pairs)
    assert all(address_order(a) <= address_order(b) for a, b in pairs)
    assert all((link["kind"] == "internal") == (link["a"] == link["b"]) for link in node["links"])
    unknown_as_number = [value for gpu in node["gpus"] for value in (gpu["numa_node"], gpu["vram_bytes"])]
    assert -1 not in unknown_as_number
    assert 0 not in [gpu["vram_bytes"] for gpu in node["gpus"]]
    assert 0 not in [link["bandwidth_mb_s"] for link in node["links"]]


def test_json_of_a_partitioned_gpu_without_kfd(command: Command) -> None:
    devices: list[dict[str, str | int | None]] = [
        {
            "id": f"0000:05:00.0-dpx{number}",
            "resource": "amd.com/gpu",
            "partition": number,
            "render_node": f"renderD{128 + number}",
            "card_node": f"card{number}",
            "kfd_node": None,
        }
        for number in (0, 1)
    ]
    assert told(command, "--sysfs-root", str(FIXTURES / "mi350x-dpx.capture")) == {
        "driver": {"name": "amdgpu", "version": "6.18.3", "kfd": "absent"},
        "gpus": [
            {
                "pci_address": "0000:05:00.0",
                "product": "AMD Instinct MI350 OAM",
                "pci_id": "1002:75a0",
                "unique_id": None,
                "numa_node": 0,
                "vram_bytes": None,
                "compute_partition": "DPX",
                "memory_partition": None,
                "xgmi_hive": None,
                "devices": devices,
            }
        ],
        "links": [
            {
                "a": "0000:05:00.0",
                "b": "0000:05:00.0",
                "kind": "internal",
                "weight": None,
                "bandwidth_mb_s": None,
            }
        ],
        "skipped": [],
    }


def test_json_of_an_apu_knows_little_and_says_null(command: Command) -> None:
    assert told(command, "--simulate", "apu") == {
        "driver": {"name": "amdgpu", "version": "6.12.12", "kfd": "readable"},
        "gpus": [
            {
                "pci_address": "0000:64:00.0",
                "product": None,
                "pci_id": "1002:15bf",
                "unique_id": None,
                "numa_node": None,
                "vram_bytes": 536870912,
                "compute_partition": None,
                "memory_partition": None,
                "xgmi_hive": None,
                "devices": [
                    {
                        "id": "0000:64:00.0",
                        "resource": "amd.com/gpu",
                        "partition": None,
                        "render_node": "renderD128",
                        "card_node": "card0",
                        "kfd_node": 1,
                    }
                ],
            }
        ],
        "links": [],
        "skipped": [],
    }


def test_json_names_resources_as_asked(command: Command) -> None:
    node = told(command, "--simulate", "mixed:2", "--resource-naming", "mixed")
    resources = [{device["resource"] for device in gpu["devices"]} for gpu in node["gpus"]]
    assert resources == [{"amd.com/spx_nps1"}, {"amd.com/cpx_nps1"}]


def test_json_of_an_empty_root_says_what_is_missing(command: Command, scratch: Path) -> None:
    assert told(command, "--sysfs-root", str(scratch)) == {
        "driver": {"name": "amdgpu", "version": None, "kfd": "absent"},
        "gpus": [],
        "links": [],
        "skipped": [
            {"path": "bus/pci/drivers/amdgpu", "reason": "no GPU is bound to amdgpu"},
            {
                "path": "class/drm",
                "reason": "no DRM: the amdgpu module is not loaded, or has no GPU",
            },
        ],
    }


SMALL_NODE = """\
Driver amdgpu 6.12.12, KFD readable

DEVICE        RESOURCE     PRODUCT              MODE      GPU VRAM   NUMA  RENDER NODE  CARD   KFD
0000:05:00.0  amd.com/gpu  AMD Instinct MI300X  SPX NPS1  192.0 GiB  0     renderD128   card1  2
0000:27:00.0  amd.com/gpu  AMD Instinct MI300X  SPX NPS1  192.0 GiB  0     renderD136   card9  3

Skipped
  class/drm/card0  not an amdgpu device (vendor 0x1a03)
"""


def test_table_of_a_small_node(command: Command, tree: Callable[[str], str]) -> None:
    assert command("discover", "--sysfs-root", tree("mi300x:2")) == Answer(0, SMALL_NODE, "")


def test_table_of_a_node_without_gpus(command: Command) -> None:
    text = """\
Driver amdgpu not seen, KFD absent

No GPU.

Skipped
  bus/pci/drivers/amdgpu  no GPU is bound to amdgpu
  class/drm/card0         AMD GPU on driver radeon, not amdgpu
"""
    root = str(FIXTURES / "lact-hd7870.capture")
    assert command("discover", "-o", "table", "--sysfs-root", root) == Answer(0, text, "")


def test_table_shows_unknowns_as_dashes_and_gpus_that_are_not_served() -> None:
    gpu = Gpu("0000:05:00.0", None, None, None, None, None, None, None, None, ())
    inventory = Inventory(
        Driver("amdgpu", None, "denied"), (gpu,), (), (Skipped("devices/x", "no render node"),)
    )
    assert as_table(inventory) == (
        """\
Driver amdgpu (in-tree), KFD denied

DEVICE        RESOURCE    PRODUCT  MODE  GPU VRAM  NUMA  RENDER NODE  CARD  KFD
0000:05:00.0  not served  -        -     -         -     -            -     -

Skipped
  devices/x  no render node"""
    )


def test_what_the_configuration_leaves_out_keeps_its_entry(command: Command, scratch: Path) -> None:
    file = scratch / "config.yaml"
    file.write_text("devices: {exclude: [0000:27:00.0]}")
    node = told(command, "--simulate", "mi300x:2", "--config", str(file))
    assert [(gpu["pci_address"], len(gpu["devices"])) for gpu in node["gpus"]] == [
        ("0000:05:00.0", 1),
        ("0000:27:00.0", 0),
    ]
    check("gpu", node["gpus"][1])
    assert node["skipped"][0] == {
        "path": "bus/pci/devices/0000:27:00.0",
        "reason": "left out by devices.exclude: 0000:27:00.0",
    }
    assert len(node["links"]) == 1


def test_a_selector_that_names_nothing_is_warned_about(command: Command, scratch: Path) -> None:
    file = scratch / "config.yaml"
    file.write_text("devices: {exclude: [1002:ffff]}")
    answer = command("discover", "--simulate", "mi300x:1", "--config", str(file))
    assert "devices.exclude: 1002:ffff names no GPU of this node" in answer.err
    assert answer.status == 0


def test_table_tells_how_many_may_share_a_device(command: Command) -> None:
    answer = command("discover", "--simulate", "mi300x:1", "--replicas", "4")
    assert "0000:05:00.0  amd.com/gpu × 4  AMD Instinct MI300X" in answer.out


async def test_a_read_that_hangs_is_skipped_and_the_process_ends(scratch: Path) -> None:
    node = SimulatedNode.create(scratch / "node", "mi300x:2")
    fifo = Path(node.path_of(node.addresses[0])) / "mem_info_vram_total"
    fifo.unlink()
    os.mkfifo(fifo)
    options = ("-o", "json", "--sysfs-root", node.root, "--health-read-deadline", "1")
    async with run(*options, verb="discover", stdout_too=True) as process:
        assert await process.ends() == 0
    found = json.loads("\n".join(process.log))
    assert [gpu["pci_address"] for gpu in found["gpus"]] == ["0000:27:00.0"]
    assert {"path": "class/drm/card1", "reason": "no answer in 1 s"} in found["skipped"]

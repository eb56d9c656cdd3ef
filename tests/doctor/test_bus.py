"""The PCI bus as doctor looks at it, on simulated trees that are changed as a kernel would."""

from pathlib import Path

from amdgpu_plugin.doctor.bus import look_at_bus
from amdgpu_plugin.doctor.looked import Bus, PciFunction
from amdgpu_plugin.simulation.node import SimulatedNode
from amdgpu_plugin.sysfs import DirectorySysfs

A, B = "0000:05:00.0", "0000:27:00.0"


def drivers(root: str) -> dict[str, str | None]:
    seen = look_at_bus(DirectorySysfs(root))
    assert seen is not None
    return {gpu.address: gpu.driver for gpu in seen.gpus}


def loaded(root: str) -> bool:
    seen = look_at_bus(DirectorySysfs(root))
    return seen is not None and seen.amdgpu_loaded


def test_gpus_their_drivers_and_their_lanes(scratch: Path) -> None:
    node = SimulatedNode.create(scratch / "node", "mi300x:2")
    node.unbind(B)
    seen = look_at_bus(DirectorySysfs(node.root))
    assert seen is not None
    modalias = seen.gpus[0].modalias or ""
    assert modalias.startswith("pci:v00001002d000074A1")
    assert seen == Bus(
        amdgpu_loaded=True,
        gpus=(PciFunction(A, "amdgpu", modalias, 16, 16), PciFunction(B, None, modalias)),
    )


def test_a_module_that_is_not_loaded(scratch: Path) -> None:
    node = SimulatedNode.create(scratch / "node", "mi300x:2")
    node.unload()
    assert (loaded(node.root), drivers(node.root)) == (False, {A: None, B: None})


def test_a_gpu_that_left_the_bus(scratch: Path) -> None:
    node = SimulatedNode.create(scratch / "node", "mi300x:2")
    node.remove(A)
    assert drivers(node.root) == {B: "amdgpu"}


def test_lanes_are_those_that_both_ends_can_do(scratch: Path) -> None:
    node = SimulatedNode.create(scratch / "node", "mi300x:1")
    gpu = Path(node.path_of(A)).resolve()

    def lanes(*, now: str, port: str) -> tuple[int | None, int | None]:
        (gpu / "current_link_width").write_text(now)
        (gpu.parent / "max_link_width").write_text(port)
        seen = look_at_bus(DirectorySysfs(node.root))
        assert seen is not None
        return seen.gpus[0].lanes, seen.gpus[0].most_lanes

    assert lanes(now="8\n", port="16\n") == (8, 16)
    assert lanes(now="8\n", port="8\n") == (8, 8)
    assert lanes(now="8\n", port="255\n") == (8, None)
    assert lanes(now="63\n", port="16\n") == (None, 16)


def test_a_root_without_a_bus_is_not_known(scratch: Path) -> None:
    assert look_at_bus(DirectorySysfs(str(scratch))) is None


def test_functions_that_tell_nothing_are_passed_over(scratch: Path) -> None:
    for name, files in {
        "0000:01:00.0": {},
        "0000:02:00.0": {"vendor": "0x1002\n"},
        "0000:03:00.0": {"vendor": "0x1002\n", "class": "0x040300\n"},
        "0000:04:00.0": {"vendor": "0x1a03\n", "class": "0x030000\n"},
        "0000:06:00.0": {"vendor": "0x1002\n", "class": "0x030000\n"},
        "nonsense": {"vendor": "0x1002\n", "class": "0x030000\n"},
    }.items():
        folder = scratch / "bus/pci/devices" / name
        folder.mkdir(parents=True)
        for file, text in files.items():
            (folder / file).write_text(text)
    assert look_at_bus(DirectorySysfs(str(scratch))) == Bus(False, (PciFunction("0000:06:00.0", None),))

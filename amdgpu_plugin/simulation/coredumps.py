"""Device coredumps, as drivers/base/devcoredump.c shows them: `class/devcoredump/devcdN`."""

from amdgpu_plugin.simulation.gpu import Gpu
from amdgpu_plugin.simulation.tree import Link, Tree
from amdgpu_plugin.simulation.uevents import Uevents

_SUBSYSTEM = "devcoredump"


class CoreDumps:
    """Numbered from 1, never the same number twice."""

    def __init__(self, tree: Tree, uevents: Uevents) -> None:
        """None yet."""
        self._tree = tree
        self._uevents = uevents
        self._last = 0

    def add(self, gpu: Gpu) -> int:
        """A new one of the GPU's; its number."""
        self._last += 1
        path = _path(self._last)
        self._tree.plant(
            {
                f"{path}/data": b"",
                f"{path}/uevent": b"",
                f"{path}/subsystem": Link(f"class/{_SUBSYSTEM}"),
                f"{path}/failing_device": Link(gpu.path),
                f"{gpu.path}/devcoredump": Link(path),
                f"class/{_SUBSYSTEM}/devcd{self._last}": Link(path),
            }
        )
        self._uevents.emit("add", path, _SUBSYSTEM, ())
        return self._last

    def remove(self, gpu: Gpu, number: int) -> None:
        """It is read, or five minutes old."""
        path = _path(number)
        self._tree.uproot(f"{gpu.path}/devcoredump")
        self._tree.uproot(f"class/{_SUBSYSTEM}/devcd{number}")
        self._tree.uproot(path)
        self._uevents.emit("remove", path, _SUBSYSTEM, ())


def _path(number: int) -> str:
    return f"devices/virtual/{_SUBSYSTEM}/devcd{number}"

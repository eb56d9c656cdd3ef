"""DRM minors on disk, as drivers come and go: those of GPUs and of their partitions' devices."""

from collections.abc import Iterable

from amdgpu_plugin.simulation import drm
from amdgpu_plugin.simulation.gpu import Driver, Gpu
from amdgpu_plugin.simulation.tree import Tree
from amdgpu_plugin.simulation.uevents import Uevents, drm_pairs


class MinorFolders:
    """Every change is followed by its uevent."""

    def __init__(self, tree: Tree, uevents: Uevents, connectors: Iterable[str]) -> None:
        """`connectors` are the display outputs of each GPU."""
        self._tree = tree
        self._uevents = uevents
        self._connectors = tuple(connectors)

    def add_xcps(self, driver: Driver) -> None:
        """The platform devices of partitions, no minors yet."""
        for xcp in driver.xcps:
            self._tree.plant(drm.xcp_entries(xcp))
            self._uevents.emit("add", xcp.path, "platform", drm.xcp_pairs(xcp))

    def show(self, gpu: Gpu, driver: Driver) -> None:
        """All minors: the GPU's own first."""
        for path, minors in ((gpu.path, driver.own), *((xcp.path, xcp.minors) for xcp in driver.xcps)):
            for name, minor in minors.names:
                self._show(path, name, minor)
        self._tree.plant(drm.gpu_extras(gpu.path, driver.own.card, self._connectors))

    def hide(self, gpu: Gpu, driver: Driver) -> None:
        """Neither minors nor platform devices are left."""
        for xcp in driver.xcps:
            self._hide_both(xcp.path, xcp.minors)
            self._tree.uproot(f"bus/platform/devices/{xcp.name}")
            self._tree.uproot(xcp.path)
            self._uevents.emit("remove", xcp.path, "platform", drm.xcp_pairs(xcp))
        for path in drm.gpu_extras(gpu.path, driver.own.card, self._connectors):
            self._tree.uproot(path)
        self._hide_both(gpu.path, driver.own)
        self._tree.uproot(f"{gpu.path}/drm")

    def show_render(self, gpu: Gpu, driver: Driver) -> None:
        """The GPU's own render minor alone."""
        self._show(gpu.path, *driver.own.names[0])

    def hide_render(self, gpu: Gpu, driver: Driver) -> None:
        """The GPU's own render minor alone."""
        self._hide(gpu.path, *driver.own.names[0])

    def _show(self, path: str, name: str, minor: int) -> None:
        self._tree.plant(drm.minor_entries(path, name, minor))
        self._uevents.emit("add", f"{path}/drm/{name}", "drm", drm_pairs(name, minor))

    def _hide_both(self, path: str, minors: drm.Minors) -> None:
        for name, minor in reversed(minors.names):
            if self._tree.exists(f"{path}/drm/{name}"):
                self._hide(path, name, minor)

    def _hide(self, path: str, name: str, minor: int) -> None:
        self._tree.uproot(f"class/drm/{name}")
        self._tree.uproot(f"{path}/drm/{name}")
        self._uevents.emit("remove", f"{path}/drm/{name}", "drm", drm_pairs(name, minor))

"""One GPU of a simulated machine as it is now."""

from dataclasses import dataclass, field

from amdgpu_plugin.simulation import drm
from amdgpu_plugin.simulation.vitals import Vitals


@dataclass(frozen=True, slots=True)
class Driver:
    """What a bound driver holds."""

    own: drm.Minors
    xcps: tuple[drm.Xcp, ...]
    hwmon: int

    @property
    def render_minors(self) -> tuple[int, ...]:
        """By partition: number 0 is the GPU's own."""
        return self.own.render, *(xcp.minors.render for xcp in self.xcps)


@dataclass(slots=True)
class Gpu:
    """`driver` is None while none is bound. `path` is relative to the sysfs root."""

    index: int
    address: str
    path: str
    mode: str | None
    first_mode: str | None
    on_bus: bool = False
    driver: Driver | None = None
    first_driver: Driver | None = None
    vitals: Vitals = field(default_factory=Vitals)

"""What of a simulated GPU changes while it runs. Data only: what its files say then is said elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """Errors of one RAS block since the driver was loaded."""

    uncorrectable: int = 0
    correctable: int = 0
    deferred: int = 0

    def __add__(self, more: "ErrorCounts") -> "ErrorCounts":
        """Both together."""
        return ErrorCounts(
            self.uncorrectable + more.uncorrectable,
            self.correctable + more.correctable,
            self.deferred + more.deferred,
        )


@dataclass(frozen=True, slots=True)
class PageCounts:
    """Bad pages of VRAM by state, as `gpu_vram_bad_pages` marks them: R, P, F."""

    retired: int = 0
    pending: int = 0
    unreservable: int = 0


@dataclass(frozen=True, slots=True)
class Vitals:
    """As created, a healthy and idle GPU; None and absent keys stand for what its product has.

    `celsius` is by sensor label, `ras` by block. `lanes` and `gigatransfers` (a second) are those of the
    slot's link. `silent`: its PCI configuration reads all ones. `fatal_errors` are those AER counted.
    `dumps` are numbers of device coredumps.
    `memory_mode` is a memory partition mode, which outlives the driver.
    """

    busy_percent: int = 0
    throttled: bool = False
    celsius: Mapping[str, float] = field(default_factory=dict)
    vram_used_bytes: int | None = None
    ras: Mapping[str, ErrorCounts] = field(default_factory=dict)
    bad_pages: PageCounts = PageCounts()
    lanes: int | None = None
    gigatransfers: float | None = None
    silent: bool = False
    asleep: bool = False
    fatal_errors: int = 0
    recovering: bool = False
    bus_failed: bool = False
    wedged: bool = False
    render_node: bool = True
    dumps: tuple[int, ...] = ()
    memory_mode: str | None = None

    @property
    def gfx_percent(self) -> int:
        """How busy it is; a GPU is held down while it works."""
        return 100 if self.throttled else self.busy_percent

    @property
    def needs_reload(self) -> bool:
        """Whether the driver has to be loaded anew before all is as it was: its counters never fall."""
        latched = self.wedged or self.bus_failed or self.recovering
        return latched or bool(self.ras) or self.memory_mode is not None

    def loaded_anew(self) -> "Vitals":
        """A driver begins: its counts at 0, nobody's memory in use, pages that waited retired."""
        pages = self.bad_pages
        return replace(
            self,
            vram_used_bytes=None,
            ras={},
            bad_pages=PageCounts(pages.retired + pages.pending, 0, pages.unreservable),
            asleep=False,
            recovering=False,
            bus_failed=False,
            wedged=False,
            render_node=True,
        )

    def plugged_in(self) -> "Vitals":
        """The bus found it anew: its link is trained again, AER counts from 0."""
        return replace(self, lanes=None, gigatransfers=None, silent=False, fatal_errors=0)

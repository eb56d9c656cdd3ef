"""Bad pages of VRAM: `<device>/ras/gpu_vram_bad_pages`, and a module parameter that limits them."""

import re

from amdgpu_plugin.telemetry.numbers import bare, parse_integer
from amdgpu_plugin.telemetry.readings import BadPages

_LINE = re.compile(r"0x[0-9a-f]{1,16} : 0x[0-9a-f]{1,16} : ([RPF])", re.ASCII)


def parse_bad_pages(text: str) -> BadPages | None:
    """A line for each page, `0x00001234 : 0x00001000 : R`; none when no page is bad. None = garbled.

    R is retired (reserved), P waits for the next chance to be, F could not be. The file is absent where
    retirement is switched off.
    """
    states = []
    for line in bare(text).splitlines():
        found = _LINE.fullmatch(line.strip())
        if found is None:
            return None
        states.append(found[1])
    return BadPages(states.count("R"), states.count("P"), states.count("F"))


def parse_threshold(text: str | None) -> int | None:
    """The retired pages the operator allows; None where the driver decides (-1, -2) or retires none (0)."""
    value = parse_integer(text)
    return value if value is not None and 0 < value < 2**31 else None

"""RAS error counts: `<device>/ras/<block>_err_count`, or `ras/aca_<block>` where the driver reads ACA banks.

A read asks the hardware and then clears the hardware's own counters; what it answers is what the driver added
up since it was loaded. (drivers/gpu/drm/amd/amdgpu/amdgpu_ras.c)
"""

import re

from amdgpu_plugin.telemetry.numbers import bare, parse_count
from amdgpu_plugin.telemetry.readings import RasCounts

_FILE = re.compile(r"(?:aca_(?P<aca>[a-z0-9_]{1,32})|(?P<legacy>[a-z0-9_]{1,32})_err_count)")
_LINE = re.compile(r"(ue|ce|de): ([0-9]{1,20})", re.ASCII)


def block_of(name: str) -> str | None:
    """`umc` for `umc_err_count` and `aca_umc`; None for a file that counts no errors (`features`)."""
    found = _FILE.fullmatch(name)
    return (found["aca"] or found["legacy"]) if found else None


def parse_ras_counts(text: str) -> RasCounts | None:
    """Lines `ue: N` and `ce: N`, on newer kernels `de: N` as well. None = not told.

    During a reset the body is `Query currently inaccessible`, answered with success: that is no count of 0.
    """
    counts: dict[str, int] = {}
    for line in bare(text).splitlines():
        found = _LINE.fullmatch(line.strip())
        count = parse_count(found[2]) if found else None
        if found is None or count is None or found[1] in counts:
            return None
        counts[found[1]] = count
    if not {"ue", "ce"} <= counts.keys():
        return None
    return RasCounts(counts["ue"], counts["ce"], counts.get("de"))

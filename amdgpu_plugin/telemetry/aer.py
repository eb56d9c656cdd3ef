"""PCIe errors the device reported: `aer_dev_correctable`, `aer_dev_nonfatal`, `aer_dev_fatal`.

Counted by the PCI core since boot, a line for each kind, `BadTLP 0`; the last is the sum, `TOTAL_ERR_COR 3`.
(Documentation/ABI/testing/sysfs-bus-pci-devices-aer_stats)
"""

from amdgpu_plugin.telemetry.numbers import bare, parse_count
from amdgpu_plugin.telemetry.readings import AerCounters

_TOTALS = frozenset({"TOTAL_ERR_COR", "TOTAL_ERR_NONFATAL", "TOTAL_ERR_FATAL"})


def parse_aer(correctable: str | None, nonfatal: str | None, fatal: str | None) -> AerCounters | None:
    """The sums of the three files, None for a file that was not read; None for a device without AER."""
    counters = AerCounters(_total(correctable), _total(nonfatal), _total(fatal))
    return counters if counters != AerCounters(None, None, None) else None


def _total(text: str | None) -> int | None:
    for line in reversed(bare(text or "").splitlines()):
        name, _, count = line.strip().partition(" ")
        if name in _TOTALS:
            return parse_count(count)
    return None

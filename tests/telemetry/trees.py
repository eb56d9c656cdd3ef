"""One GPU's files, declared beside what must be read of them, and a sysfs that remembers what was asked.

The files are an MI300X's as the kernel writes them (formats: amdgpu_ras.c, amdgpu_pm.c, pci-sysfs.c), its
values made up. `reset` is that GPU during a reset, where the power-management files answer EPERM.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field

from amdgpu_plugin.capture_file import Capture, CaptureSysfs, Entry, Link
from amdgpu_plugin.sysfs import Blob, Names, Path, Refused, Sysfs, Text, Unreadable
from amdgpu_plugin.telemetry.readings import Readings
from amdgpu_plugin.telemetry.sampler import read_gpu_readings

ADDRESS = "0000:05:00.0"
PORT = "devices/pci0000:00/0000:00:01.1"
GPU = f"{PORT}/{ADDRESS}"
HWMON = f"{GPU}/hwmon/hwmon7"
NOW = 1_700_000_000.5

FILES: dict[str, str | bytes] = {
    "vendor": "0x1002\n",
    "class": "0x120000\n",
    "power/runtime_status": "active\n",
    "current_link_speed": "16.0 GT/s PCIe\n",
    "current_link_width": "8\n",
    "max_link_speed": "32.0 GT/s PCIe\n",
    "max_link_width": "16\n",
    "aer_dev_correctable": "RxErr 2\nBadTLP 1\nTOTAL_ERR_COR 3\n",
    "aer_dev_nonfatal": "Undefined 0\nDLP 0\nTOTAL_ERR_NONFATAL 0\n",
    "aer_dev_fatal": "Undefined 0\nDLP 1\nTOTAL_ERR_FATAL 1\n",
    "gpu_busy_percent": "37\n",
    "mem_busy_percent": "4\n",
    "vcn_busy_percent": "0\n",
    "mem_info_vram_total": "206141652992\n",
    "mem_info_vram_used": "298946560\n",
    "mem_info_vis_vram_total": "206141652992\n",
    "mem_info_vis_vram_used": "298946560\n",
    "mem_info_gtt_total": "540852477952\n",
    "mem_info_gtt_used": "26214400\n",
    "pcie_replay_count": "65535\n",
    "pcie_bw": "0 0 256\n",
    "xgmi_error": "0\n",
    "pp_dpm_sclk": "0: 132Mhz *\n",
    "config": b"\x02\x10\xa1\x74" + bytes(60),
    "ras/features": "feature mask: 0x5fff\n",
    "ras/umc_err_count": "ue: 0\nce: 12\nde: 3\n",
    "ras/gfx_err_count": "ue: 1\nce: 0\n",
    "ras/gpu_vram_bad_pages": "0x00001234 : 0x00001000 : R\n0x00001300 : 0x00001000 : P\n",
    "hwmon/hwmon7/name": "amdgpu\n",
    "hwmon/hwmon7/temp2_label": "junction\n",
    "hwmon/hwmon7/temp2_input": "61000\n",
    "hwmon/hwmon7/temp2_crit": "100000\n",
    "hwmon/hwmon7/temp2_crit_hyst": "-273150\n",
    "hwmon/hwmon7/temp2_emergency": "105000\n",
    "hwmon/hwmon7/temp3_label": "mem\n",
    "hwmon/hwmon7/temp3_input": "48000\n",
    "hwmon/hwmon7/temp3_crit": "105000\n",
    "hwmon/hwmon7/temp3_emergency": "110000\n",
    "hwmon/hwmon7/power1_label": "PPT\n",
    "hwmon/hwmon7/power1_input": "142000000\n",
    "hwmon/hwmon7/power1_cap": "750000000\n",
    "hwmon/hwmon7/freq1_label": "sclk\n",
    "hwmon/hwmon7/freq1_input": "132000000\n",
}
GUARDED = (
    "gpu_busy_percent",
    "mem_busy_percent",
    "vcn_busy_percent",
    "gpu_metrics",
    "hwmon/hwmon7/temp2_input",
    "hwmon/hwmon7/temp3_input",
    "hwmon/hwmon7/power1_input",
    "hwmon/hwmon7/power1_cap",
    "hwmon/hwmon7/freq1_input",
)
"""What answers EPERM during a reset."""


@dataclass
class RecordingSysfs:
    """Answers as another one does, and remembers every path that was read, listed, or followed."""

    behind: Sysfs
    read_paths: list[str] = field(default_factory=list)

    def read_bytes(self, path: str) -> Blob | Unreadable:
        self.read_paths.append(path)
        return self.behind.read_bytes(path)

    def read(self, path: str) -> Text | Unreadable:
        self.read_paths.append(path)
        return self.behind.read(path)

    def list(self, path: str) -> Names | Unreadable:
        return self.behind.list(path)

    def resolve(self, path: str) -> Path | Unreadable:
        return self.behind.resolve(path)

    def link(self, path: str) -> Text | Unreadable:
        return self.behind.link(path)

    def read_of(self, folder: str) -> set[str]:
        """Names, below a folder, of the files that were read there."""
        return {path.removeprefix(f"{folder}/") for path in self.read_paths if path.startswith(f"{folder}/")}


def entry(value: str | bytes | Entry) -> Entry:
    if isinstance(value, str):
        return Blob(value.encode())
    return Blob(value) if isinstance(value, bytes) else value


def node(
    changes: Mapping[str, str | bytes | Entry | None] | None = None,
    *,
    elsewhere: Mapping[str, str | bytes | Entry] | None = None,
    gpu: str = GPU,
) -> RecordingSysfs:
    """A GPU with its usual files but for the `changes` (None takes a file away) and what is `elsewhere`."""
    files = {name: value for name, value in {**FILES, **(changes or {})}.items() if value is not None}
    entries = {f"{gpu}/{name}": entry(value) for name, value in files.items()}
    entries |= {path: entry(value) for path, value in (elsewhere or {}).items()}
    entries[f"bus/pci/devices/{ADDRESS}"] = Link(f"../../../{gpu}")
    return RecordingSysfs(CaptureSysfs(Capture.of(entries)))


def readings(sysfs: Sysfs) -> Readings:
    return read_gpu_readings(sysfs, ADDRESS, lambda: NOW)


def refused(names: tuple[str, ...], number: int = errno.EPERM) -> dict[str, str | bytes | Entry | None]:
    """Changes: files that answer with an errno."""
    return dict.fromkeys(names, Refused(number))

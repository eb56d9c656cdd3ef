"""The kernel's messages about devices, as they come over a netlink socket.

`action@devpath`, then `KEY=value` pairs, each ended by NUL, the last one SEQNUM (lib/kobject_uevent.c).
"""

from collections.abc import Callable, Iterable

from amdgpu_plugin.simulation.parts import PciId

Pairs = Iterable[tuple[str, str]]


class Uevents:
    """Numbers messages and hands them to `sink`, which may be None, once `listening` is set."""

    def __init__(self, sink: Callable[[bytes], None] | None) -> None:
        """`sink` is called in the thread that changes the node, right after the change."""
        self.listening = False
        self._sink = sink
        self._sequence_number = 5000

    def emit(self, action: str, path: str, subsystem: str, pairs: Pairs) -> None:
        """`path` is relative to the sysfs root, as in `devices/pci0000:00/…`."""
        if self._sink is None or not self.listening:
            return
        self._sequence_number += 1
        fields = [
            f"{action}@/{path}",
            f"ACTION={action}",
            f"DEVPATH=/{path}",
            f"SUBSYSTEM={subsystem}",
            *(f"{key}={value}" for key, value in pairs),
            f"SEQNUM={self._sequence_number}",
        ]
        self._sink("".join(f"{field}\0" for field in fields).encode())


def text_of(pairs: Pairs) -> bytes:
    """The same pairs as a `uevent` file has them."""
    return "".join(f"{key}={value}\n" for key, value in pairs).encode()


def pci_pairs(pci: PciId, address: str, driver: str | None) -> list[tuple[str, str]]:
    """What pci_uevent() adds."""
    bound = [("DRIVER", driver)] if driver else []
    return [
        *bound,
        ("PCI_CLASS", f"{pci.pci_class:04X}"),
        ("PCI_ID", f"{pci.vendor:04X}:{pci.device:04X}"),
        ("PCI_SUBSYS_ID", f"{pci.subsystem_vendor:04X}:{pci.subsystem_device:04X}"),
        ("PCI_SLOT_NAME", address),
        ("MODALIAS", modalias(pci)),
    ]


def modalias(pci: PciId) -> str:
    """The name modules are matched by."""
    base, sub, interface = pci.pci_class >> 16, pci.pci_class >> 8 & 0xFF, pci.pci_class & 0xFF
    return (
        f"pci:v{pci.vendor:08X}d{pci.device:08X}sv{pci.subsystem_vendor:08X}sd{pci.subsystem_device:08X}"
        f"bc{base:02X}sc{sub:02X}i{interface:02X}"
    )


def drm_pairs(name: str, minor: int) -> list[tuple[str, str]]:
    """What DRM adds for `card1` or `renderD128`."""
    return [("MAJOR", "226"), ("MINOR", f"{minor}"), ("DEVNAME", f"dri/{name}"), ("DEVTYPE", "drm_minor")]

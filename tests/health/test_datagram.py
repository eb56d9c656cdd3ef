import pytest
from hypothesis import given
from hypothesis import strategies as st

from amdgpu_plugin.health.datagram import LIMIT_BYTES, datagram_properties
from amdgpu_plugin.health.events import event_of
from tests.netlink import message

# As received on Linux 6.18, in a fresh network namespace, after a write to the device's `uevent` file.
CAPTURED = (
    b"change@/devices/pci0000:00/0000:00:00.0\0ACTION=change\0DEVPATH=/devices/pci0000:00/0000:00:00.0\0"
    b"SUBSYSTEM=pci\0SYNTH_UUID=0\0PCI_CLASS=60000\0PCI_ID=8086:0D57\0PCI_SUBSYS_ID=0000:0000\0"
    b"PCI_SLOT_NAME=0000:00:00.0\0MODALIAS=pci:v00008086d00000D57sv00000000sd00000000bc06sc00i00\0SEQNUM=882\0"
)
MEM = message("change", "devices/virtual/mem/null", "mem")
HEADER, _, PAIRS = MEM.partition(b"\0")
PAD = LIMIT_BYTES - len(MEM) - len(b"X=\0")

JUNK = {
    "nothing": b"",
    "a NUL": b"\0",
    "no NUL": b"change@/devices/virtual/mem/null",
    "only the header": HEADER + b"\0",
    "cut off": MEM[:-1],
    "no header": PAIRS,
    "no SUBSYSTEM": MEM.replace(b"SUBSYSTEM=mem\0", b""),
    "an empty SUBSYSTEM": MEM.replace(b"SUBSYSTEM=mem", b"SUBSYSTEM="),
    "no ACTION": MEM.replace(b"ACTION=change\0", b""),
    "no DEVPATH": MEM.replace(b"DEVPATH=/devices/virtual/mem/null\0", b""),
    "another action in the header": MEM.replace(b"change@", b"remove@"),
    "another path in the header": MEM.replace(b"@/devices/virtual/mem/null", b"@/devices/virtual/mem/zero"),
    "a path that is no text": MEM.replace(b"/null", b"/\xff"),
    "an action that is no text": MEM.replace(b"change", b"\xff"),
    "a subsystem that is no text": MEM.replace(b"=mem", b"=\xff"),
    "udevd's own format": b"libudev\0\xfe\xed\xca\xfe" + MEM,
    "over 8 KiB": MEM + b"X=" + b"x" * (PAD + 1) + b"\0",
}


def test_captured_message_gives_its_properties() -> None:
    assert datagram_properties(CAPTURED) == {
        "ACTION": "change",
        "DEVPATH": "/devices/pci0000:00/0000:00:00.0",
        "SUBSYSTEM": "pci",
        "SYNTH_UUID": "0",
        "PCI_CLASS": "60000",
        "PCI_ID": "8086:0D57",
        "PCI_SUBSYS_ID": "0000:0000",
        "PCI_SLOT_NAME": "0000:00:00.0",
        "MODALIAS": "pci:v00008086d00000D57sv00000000sd00000000bc06sc00i00",
        "SEQNUM": "882",
    }


@pytest.mark.parametrize("raw", JUNK.values(), ids=JUNK)
def test_what_the_kernel_never_sends_is_none(raw: bytes) -> None:
    assert datagram_properties(raw) is None


def test_of_the_greatest_length_it_is_still_a_message() -> None:
    assert datagram_properties(MEM + b"X=" + b"x" * PAD + b"\0") is not None


def test_a_name_a_process_gave_itself_does_not_hide_the_reset_it_caused() -> None:
    raw = message("change", "devices/pci0000:00/0000:05:00.0/drm/card1", "drm", WEDGED="rebind")
    assert datagram_properties(raw + b"TASK=\xff\xfe\0junk\0PID=7\0") == {
        "ACTION": "change",
        "DEVPATH": "/devices/pci0000:00/0000:05:00.0/drm/card1",
        "SUBSYSTEM": "drm",
        "WEDGED": "rebind",
        "PID": "7",
    }


@given(st.lists(st.sampled_from(CAPTURED.split(b"\0")) | st.binary(max_size=12), max_size=12))
def test_no_bytes_at_all_do_harm(fields: list[bytes]) -> None:
    properties = datagram_properties(b"\0".join(fields))
    assert properties is None or event_of(properties) is None

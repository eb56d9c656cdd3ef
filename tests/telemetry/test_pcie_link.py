import pytest

from amdgpu_plugin.telemetry.pcie_link import (
    Most,
    is_switch_of_card,
    parse_link,
    parse_speed,
    parse_width,
    port_above,
)
from amdgpu_plugin.telemetry.readings import PcieLink

GEN4, GEN5 = "16.0 GT/s PCIe\n", "32.0 GT/s PCIe\n"
NONE = Most(None, None)


@pytest.mark.parametrize(
    ("text", "speed"),
    [
        ("2.5 GT/s PCIe\n", 2.5e9),
        ("64.0 GT/s PCIe\n", 64e9),
        ("8 GT/s\n", 8e9),
        ("16.0 GT/s PCIe" + "\0" * 9, 16e9),
        ("Unknown\n", None),
        ("Unknown speed\n", None),
        ("", None),
        (None, None),
        ("16.0 MT/s", None),
    ],
)
def test_speed_in_transfers_a_second(text: str | None, speed: float | None) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize(
    ("text", "lanes"),
    [("16\n", 16), ("1", 1), ("32", 32), ("0", None), ("63", None), ("255", None), (None, None)],
)
def test_lanes(text: str | None, lanes: int | None) -> None:
    assert parse_width(text) == lanes


def test_gen5_card_behind_a_gen4_port_can_do_no_more_than_the_port() -> None:
    assert parse_link(GEN4, "16\n", Most(GEN5, "16\n"), Most(GEN4, "16\n")) == PcieLink(16e9, 16, 16e9, 16)


def test_card_of_eight_lanes_in_a_slot_of_sixteen_can_do_eight() -> None:
    assert parse_link(GEN4, "8\n", Most(GEN4, "8\n"), Most(GEN5, "16\n")) == PcieLink(16e9, 8, 16e9, 8)


def test_narrow_link_between_wide_ends_is_seen() -> None:
    assert parse_link(GEN4, "8\n", Most(GEN5, "16"), Most(GEN5, "16")) == PcieLink(16e9, 8, 32e9, 16)


@pytest.mark.parametrize(
    ("own", "port", "most"),
    [
        (Most(GEN4, "16"), NONE, (16e9, 16)),
        (Most(GEN4, "16"), Most("Unknown", "255"), (None, None)),
        (Most(GEN4, "16"), Most("", ""), (None, None)),
        (NONE, Most(GEN4, "16"), (None, None)),
        (Most("Unknown", "0"), Most(GEN4, "16"), (None, None)),
    ],
    ids=["no port", "port unknown", "port refuses", "own absent", "own unknown"],
)
def test_most_of_a_link_is_known_only_if_both_its_ends_tell(
    own: Most, port: Most, most: tuple[float | None, int | None]
) -> None:
    assert parse_link(GEN4, "16", own, port) == PcieLink(16e9, 16, *most)


def test_device_without_a_link_has_none() -> None:
    assert parse_link(None, None, NONE, Most(GEN4, "16")) is None


def test_port_above_is_a_pci_device_and_the_root_of_a_bus_is_none() -> None:
    paths = [
        "devices/pci0000:00/0000:00:01.1/0000:03:00.0",
        "devices/pci10000:e0/10000:e0:06.0/10000:e1:00.0",
    ]
    assert [port_above(path) for path in paths] == [
        "devices/pci0000:00/0000:00:01.1",
        "devices/pci10000:e0/10000:e0:06.0",
    ]
    assert [port_above(path) for path in ("devices/pci0000:00/0000:00:08.1", "devices", "")] == [None] * 3


@pytest.mark.parametrize(
    ("vendor", "pci_class", "on_card"),
    [
        ("0x1002\n", "0x060400\n", True),
        ("0x1022\n", "0x060400\n", False),
        ("0x1002\n", "0x030000\n", False),
        (None, "0x060400\n", False),
        ("0x1002\n", None, False),
    ],
)
def test_switch_of_a_card_is_a_bridge_of_its_makers(
    vendor: str | None, pci_class: str | None, *, on_card: bool
) -> None:
    assert is_switch_of_card(vendor, pci_class) is on_card

import pytest

from amdgpu_plugin.health.events import (
    Added,
    BusRecovery,
    CoreDumped,
    DriverBound,
    DriverLeft,
    Event,
    ModuleChanged,
    NodesChanged,
    Removed,
    SriovChanged,
    Wedged,
    event_of,
)

BRIDGE = "devices/pci0000:00/0000:00:01.1"
ADDRESS = "0000:05:00.0"
GPU = f"{BRIDGE}/{ADDRESS}"
CARD = f"{GPU}/drm/card1"
XCP = "devices/platform/amdgpu_xcp_3"
AMD_GPU = {"PCI_CLASS": "120000", "PCI_ID": "1002:74A1", "PCI_SLOT_NAME": ADDRESS}
BRIDGE_IDS = {"PCI_CLASS": "60400", "PCI_ID": "1022:1483"}
NETWORK_CARD = {"PCI_CLASS": "20000", "PCI_ID": "8086:1521"}
BMC = {"PCI_CLASS": "30000", "PCI_ID": "1A03:2000"}
MINOR = {"DEVTYPE": "drm_minor", "MAJOR": "226"}


def properties(action: str, path: str, subsystem: str, **others: str) -> dict[str, str]:
    return {"ACTION": action, "DEVPATH": f"/{path}", "SUBSYSTEM": subsystem, **others}


# Derived from the kernel's sources: dd.c, pci-driver.c, iov.c, drm_sysfs.c, drm_drv.c, devcoredump.c.
TOLD: list[tuple[dict[str, str], Event]] = [
    (properties("bind", GPU, "pci", DRIVER="amdgpu", **AMD_GPU), DriverBound(ADDRESS)),
    (properties("unbind", GPU, "pci", **AMD_GPU), DriverLeft(ADDRESS)),
    (properties("unbind", GPU, "pci"), DriverLeft(ADDRESS)),
    (properties("add", GPU, "pci", **AMD_GPU), Added(ADDRESS)),
    (properties("add", GPU, "pci", PCI_CLASS="30000", PCI_ID="1002:7448"), Added(ADDRESS)),
    (properties("add", GPU, "pci", PCI_CLASS="38000", PCI_ID="1002:740F"), Added(ADDRESS)),
    (properties("remove", GPU, "pci", **AMD_GPU), Removed(ADDRESS)),
    (properties("remove", GPU, "pci", **BMC), Removed(ADDRESS)),
    (properties("remove", GPU, "pci"), Removed(ADDRESS)),
    (properties("remove", "devices/pci10000:e0/10000:e1:1f.7", "pci"), Removed("10000:e1:1f.7")),
    (properties("change", GPU, "pci", **AMD_GPU), SriovChanged(ADDRESS)),
    (
        properties("change", GPU, "pci", ERROR_EVENT="BEGIN_RECOVERY", DEVICE_ONLINE="0", **AMD_GPU),
        BusRecovery(GPU, "begin"),
    ),
    (
        properties("change", GPU, "pci", ERROR_EVENT="SUCCESSFUL_RECOVERY", DEVICE_ONLINE="1", **AMD_GPU),
        BusRecovery(GPU, "recovered"),
    ),
    (
        properties("change", BRIDGE, "pci", ERROR_EVENT="FAILED_RECOVERY", DEVICE_ONLINE="0", **BRIDGE_IDS),
        BusRecovery(BRIDGE, "failed"),
    ),
    (properties("change", CARD, "drm", WEDGED="none", TASK="python3", **MINOR), Wedged(ADDRESS, ("none",))),
    (
        properties("change", CARD, "drm", WEDGED="rebind,bus-reset", **MINOR),
        Wedged(ADDRESS, ("rebind", "bus-reset")),
    ),
    (properties("change", CARD, "drm", WEDGED="unknown", **MINOR), Wedged(ADDRESS, ("unknown",))),
    (properties("change", CARD, "drm", WEDGED="Kick,it", **MINOR), Wedged(ADDRESS, ("Kick", "it"))),
    (properties("change", CARD, "drm", WEDGED="", **MINOR), Wedged(ADDRESS, ())),
    (properties("add", CARD, "drm", **MINOR), NodesChanged(CARD)),
    (properties("remove", f"{GPU}/drm/renderD128", "drm", **MINOR), NodesChanged(f"{GPU}/drm/renderD128")),
    (properties("add", f"{XCP}/drm/renderD129", "drm", **MINOR), NodesChanged(f"{XCP}/drm/renderD129")),
    (properties("add", XCP, "platform"), NodesChanged(XCP)),
    (
        properties("remove", "devices/platform/amdgpu_xcp.11", "platform"),
        NodesChanged("devices/platform/amdgpu_xcp.11"),
    ),
    (properties("add", "devices/virtual/kfd/kfd", "kfd"), NodesChanged("devices/virtual/kfd/kfd")),
    (properties("add", "bus/pci/drivers/amdgpu", "drivers"), NodesChanged("bus/pci/drivers/amdgpu")),
    (properties("add", "module/amdgpu", "module"), ModuleChanged(loaded=True)),
    (properties("remove", "module/amdgpu", "module"), ModuleChanged(loaded=False)),
    (
        properties("add", "devices/virtual/devcoredump/devcd3", "devcoredump"),
        CoreDumped("devices/virtual/devcoredump/devcd3"),
    ),
]

NOTHING_OF_OURS = {
    "another driver takes the GPU": properties("bind", GPU, "pci", DRIVER="vfio-pci", **AMD_GPU),
    "a bind that names no driver": properties("bind", GPU, "pci", **AMD_GPU),
    "a network card loses its driver": properties("unbind", GPU, "pci", **NETWORK_CARD),
    "another maker's display loses its driver": properties("unbind", GPU, "pci", **BMC),
    "a network card comes": properties("add", GPU, "pci", **NETWORK_CARD),
    "another maker's display comes": properties("add", GPU, "pci", **BMC),
    "AMD's sound device comes": properties("add", GPU, "pci", PCI_CLASS="40300", PCI_ID="1002:AB38"),
    "something comes of which nothing is said": properties("add", GPU, "pci"),
    "a class that is no number": properties("add", GPU, "pci", PCI_CLASS="x", PCI_ID="1002:74A1"),
    "a network card goes": properties("remove", GPU, "pci", **NETWORK_CARD),
    "a network card's functions change": properties("change", GPU, "pci", **NETWORK_CARD),
    "a network card's bus error": properties(
        "change", GPU, "pci", ERROR_EVENT="FAILED_RECOVERY", **NETWORK_CARD
    ),
    "a recovery nobody knows": properties("change", GPU, "pci", ERROR_EVENT="HOPED_FOR", **AMD_GPU),
    "no PCI address": properties("unbind", "devices/pci0000:00", "pci", **AMD_GPU),
    "an action nobody knows": properties("online", GPU, "pci", **AMD_GPU),
    "a screen plugged in": properties("change", CARD, "drm", HOTPLUG="1", CONNECTOR="86", **MINOR),
    "a connector comes": properties("add", f"{CARD}/card1-DP-1", "drm", DEVTYPE="drm_connector"),
    "a connector changes": properties("change", f"{CARD}/card1-DP-1", "drm", WEDGED="unknown"),
    "the DRM class itself": properties("add", "class/drm", "drm"),
    "a wedge of a partition's card": properties(
        "change", f"{XCP}/drm/card2", "drm", WEDGED="rebind", **MINOR
    ),
    "a wedge that is no change": properties("bind", CARD, "drm", WEDGED="rebind", **MINOR),
    "a partition's device is bound": properties("bind", XCP, "platform", DRIVER="amdgpu_xcp_drv"),
    "another platform device": properties("add", "devices/platform/ACPI0013:00", "platform"),
    "KFD changes": properties("change", "devices/virtual/kfd/kfd", "kfd"),
    "another driver": properties("add", "bus/pci/drivers/nvme", "drivers"),
    "a driver of that name on another bus": properties("add", "bus/platform/drivers/amdgpu", "drivers"),
    "another module": properties("remove", "module/amdgpu_other", "module"),
    "a core dump is taken away": properties("remove", "devices/virtual/devcoredump/devcd3", "devcoredump"),
    "a battery": properties("change", "devices/LNXSYSTM:00/power_supply/BAT0", "power_supply"),
    "memory": properties("change", "devices/virtual/mem/null", "mem"),
    "a GPU-like path of another subsystem": properties("unbind", GPU, "usb", **AMD_GPU),
    "nothing at all": {},
}


@pytest.mark.parametrize(("message", "event"), TOLD, ids=lambda value: type(value).__name__)
def test_each_message_of_the_kernel_tells_its_event(message: dict[str, str], event: Event) -> None:
    assert event_of(message) == event


@pytest.mark.parametrize("message", NOTHING_OF_OURS.values(), ids=NOTHING_OF_OURS)
def test_what_is_none_of_ours_tells_nothing(message: dict[str, str]) -> None:
    assert event_of(message) is None


@pytest.mark.parametrize("uuid", ["0", "deadbeef-0000-4000-8000-000000000001"])
@pytest.mark.parametrize(("message", "event"), TOLD, ids=lambda value: type(value).__name__)
def test_written_to_a_uevent_file_it_makes_one_look_and_nothing_else(
    message: dict[str, str], event: Event, uuid: str
) -> None:
    assert event_of({**message, "SYNTH_UUID": uuid}) == NodesChanged(message["DEVPATH"].removeprefix("/"))


@pytest.mark.parametrize("message", NOTHING_OF_OURS.values(), ids=NOTHING_OF_OURS)
def test_what_is_none_of_ours_stays_so_when_written_to_a_uevent_file(message: dict[str, str]) -> None:
    assert event_of({**message, "SYNTH_UUID": "0"}) is None


def test_of_a_message_that_is_none_of_ours_only_the_subsystem_is_looked_at() -> None:
    asked: list[object] = []

    class Message(dict[str, str]):
        def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
            asked.append(key)
            return super().get(key, default)

    assert event_of(Message(SUBSYSTEM="block", ACTION="add", DEVPATH="/devices/virtual/block/loop0")) is None
    assert asked == ["SUBSYSTEM"]

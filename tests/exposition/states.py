"""Node states as pages are given them: whole nodes with everything known, and what is odd about others."""

from collections.abc import Mapping
from dataclasses import replace

from amdgpu_plugin.discovery.inventory import ComputeDevice, Driver, Gpu, Inventory, Link, Skipped
from amdgpu_plugin.exposition.snapshot import About, Registration, Snapshot
from amdgpu_plugin.node import Condition, GpuStatus, Held, Holder, ListedDevice, NodeState, Verdict
from amdgpu_plugin.telemetry.readings import (
    AerCounters,
    BadPages,
    Memory,
    MetricsFormat,
    PcieLink,
    RasCounts,
    Readings,
    Temperature,
    Throttling,
    XgmiTraffic,
)

GPU = "amd.com/gpu"
CPX = "amd.com/cpx_nps1"
A, B = "0000:05:00.0", "0000:27:00.0"
ABOUT = About(version="1.2.3", started_at=1000.0)
REGISTERED = Registration(registered=True, streams=1, phase="registered")
DRIVER = Driver("amdgpu", "6.12.12", "readable")
UNBOUND = Verdict("DriverUnbound", "no driver is bound", 5.0)

RAS_BLOCKS = (
    *("umc", "sdma", "gfx", "mmhub", "athub", "pcie_bif", "hdp", "xgmi_wafl", "df", "smn", "sem"),
    *("mp0", "mp1", "fuse", "mca", "vcn", "jpeg", "ih", "mpio"),
)
"""All that the kernel knows (ras_block_string in drivers/gpu/drm/amd/amdgpu/amdgpu_ras.c)."""

MI300X = Readings(
    taken_at=2000.5,
    ras={
        block: RasCounts(uncorrectable=0, correctable=index, deferred=0)
        for index, block in enumerate(RAS_BLOCKS)
    },
    bad_pages=BadPages(retired=2, pending=1, unreservable=0),
    bad_page_threshold=64,
    temperatures=(Temperature("junction", 61.0, 100.0, 105.0), Temperature("mem", 52.0, 105.0, 110.0)),
    power_watts=140.0,
    power_cap_watts=750.0,
    energy_joules=123456.5,
    clocks_hertz={"sclk": 132e6, "mclk": 900e6},
    gfx_busy_ratio=0.87,
    memory_busy_ratio=0.4,
    vcn_busy_ratio=0.0,
    vram=Memory(206141652992, 283_000_000),
    visible_vram=Memory(206141652992, 283_000_000),
    gtt=Memory(1_000_000_000, 9_000_000),
    pcie_link=PcieLink(32e9, 16, 32e9, 16),
    pcie_replays=0,
    aer=AerCounters(0, 0, 0),
    metrics_format=MetricsFormat(2208, 1, 7),
    throttling=Throttling(
        ticks=5000,
        causes={"prochot": 0, "ppt": 4350, "socket_thermal": 0, "vr_thermal": 0, "hbm_thermal": 0},
    ),
    xgmi=tuple(XgmiTraffic(link, 1024 * link, 2048 * link) for link in range(8)),
    partition_busy_ratios=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, None),
)
"""Everything that one board can tell."""


def whole(address: str = A, *, resource: str = GPU, minor: int = 128, **facts: object) -> ListedDevice:
    """A GPU that is one device; `facts` are fields of Gpu."""
    device = ComputeDevice(address, resource, None, f"renderD{minor}", None, None)
    gpu = Gpu(address, "AMD Instinct MI300X", "1002:74a1", None, 0, None, "SPX", "NPS1", None, (device,))
    return ListedDevice(device, replace(gpu, **facts))  # type: ignore[arg-type]


def partitioned(address: str, index: int) -> tuple[ListedDevice, ...]:
    """A GPU in CPX mode; `index` is which of the node's it is."""
    devices = tuple(
        ComputeDevice(
            f"{address}-cpx{number}",
            CPX,
            number,
            f"renderD{128 + 8 * index + number}",
            f"card{8 * index + number}",
            2 + 8 * index + number,
        )
        for number in range(8)
    )
    gpu = Gpu(
        address, "AMD Instinct MI300X", "1002:74a1", f"e3aa{index:012x}", index // 4, 206141652992, "CPX", "NPS1",
        "15188982192727901047", devices, integrated=False,
    )  # fmt: skip
    return tuple(ListedDevice(device, gpu) for device in devices)


def node(
    *devices: ListedDevice,
    readings: Mapping[str, Readings] | None = None,
    statuses: Mapping[str, GpuStatus] | None = None,
    **changes: object,
) -> NodeState:
    """A node of these devices, each GPU once in the inventory; `changes` are fields of NodeState."""
    gpus = tuple({listed.gpu.pci_address: listed.gpu for listed in devices}.values())
    state = NodeState(
        Inventory(DRIVER, gpus, (), ()), devices, readings=readings or {}, statuses=statuses or {}
    )
    return replace(state, **changes)  # type: ignore[arg-type]


def without_gpu(state: NodeState, address: str) -> NodeState:
    """The board has left the bus; its devices are still listed."""
    gpus = tuple(gpu for gpu in state.inventory.gpus if gpu.pci_address != address)
    return replace(state, inventory=replace(state.inventory, gpus=gpus))


def shot(
    state: NodeState,
    *,
    about: About = ABOUT,
    registrations: Mapping[str, Registration] | None = None,
) -> Snapshot:
    """All resources registered, unless `registrations` says otherwise."""
    every = dict.fromkeys(state.resources, REGISTERED)
    return Snapshot(about, state, every if registrations is None else registrations)


def largest() -> Snapshot:
    """64 partitions on 8 boards, everything read, one container for each, something the matter here and there."""
    addresses = [f"0000:{bus}:00.0" for bus in ("05", "27", "47", "65", "85", "a7", "c7", "e5")]
    devices = tuple(
        listed for index, address in enumerate(addresses) for listed in partitioned(address, index)
    )
    hot = Condition("Hot", "junction 101 °C", "readings", 1990.0, "inform")
    statuses = dict.fromkeys(addresses, GpuStatus()) | {
        addresses[1]: GpuStatus((hot,), resets=3, flaps=1),
        addresses[2]: GpuStatus((replace(hot, name="Overheated", effect="inform"),), would_be=UNBOUND),
    }
    state = node(
        *devices,
        readings={address: replace(MI300X) for address in addresses},
        statuses=statuses,
        holders={
            Held(CPX, listed.id): (Holder("team", f"train-{number}-abcdef", "main"),)
            for number, listed in enumerate(devices)
        },
        policy={"mode": "observe", "interval_seconds": 30.0, "conditions": {"Hot": {"effect": "inform"}}},
        revision=3,
    )
    links = tuple(Link(a, b, "xgmi", 15, 64000) for a in addresses for b in addresses if a < b) + tuple(
        Link(address, address, "internal", 13, None) for address in addresses
    )
    skipped = (Skipped("class/drm/card64", "not an amdgpu device (vendor 0x1a03)"),)
    return shot(
        replace(state, inventory=replace(state.inventory, links=links, skipped=skipped)),
        about=replace(ABOUT, expected_gpus=8, events="kernel"),
    )

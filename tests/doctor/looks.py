"""Looks at nodes where nothing is wrong, to be changed in one place by each test."""

from dataclasses import replace
from typing import Any

from amdgpu_plugin.discovery.inventory import ComputeDevice, Driver, Gpu, Inventory
from amdgpu_plugin.doctor.looked import (
    Bus,
    Daemon,
    DeviceNode,
    Directory,
    Looked,
    Machine,
    PciFunction,
    Registration,
    Socket,
)
from amdgpu_plugin.node import ListedDevice, NodeState

A, B = "0000:05:00.0", "0000:27:00.0"
PLUGINS, PODS = "/var/lib/kubelet/device-plugins", "/var/lib/kubelet/pod-resources"
MODALIAS = "pci:v00001002d000074A1sv00001002sd000074A1bc12sc00i00"
REGISTERED = Registration("amd.com/gpu", registered=True, phase="registered", detail=None, conflict=False)
DAEMON = Daemon("0.2.0", simulated=False, events="kernel", holders_known=True, registrations=(REGISTERED,))
DRIVER = Driver("amdgpu", "6.12.12", "readable")

MACHINE = Machine(
    uid=0,
    device_plugins=Directory(PLUGINS, there=True, writable=True),
    state=Directory("/run/amdgpu-plugin", there=True, writable=True),
    kubelet=Socket(f"{PLUGINS}/kubelet.sock", "live"),
    pod_resources=Socket(f"{PODS}/kubelet.sock", "live"),
    neighbours=(Socket(f"{PLUGINS}/amd.com_gpu", "absent"),),
    kernel="6.12.9",
    aliases=("pci:v00001002d*sv*sd*bc12sc00i00*",),
    selinux_enforcing=True,
    selinux_context="system_u:system_r:container_device_plugin_t:s0:c1,c2",
    uid_map="         0          0 4294967295\n",
    device_nodes=(DeviceNode("/dev/kfd", 0o666), DeviceNode("/dev/dri/renderD128", 0o666)),
)


def gpu(address: str, minor: int, *, partitions: int = 0, **facts: Any) -> Gpu:
    """An MI300X, whole or in CPX mode; `facts` are fields of Gpu."""
    device = ComputeDevice(address, "amd.com/gpu", None, f"renderD{minor}", None, None)
    devices = tuple(
        replace(device, id=f"{address}-cpx{number}", resource="amd.com/cpx_nps1", partition=number)
        for number in range(partitions)
    )
    mode = "CPX" if partitions else "SPX"
    made = Gpu(
        address, "AMD Instinct MI300X", "1002:74a1", None, 0, None, mode, "NPS1", "77", devices or (device,)
    )
    return replace(made, **facts)


GPUS = (gpu(A, 128), gpu(B, 129))


def node(*gpus: Gpu, kfd: Any = "readable", **facts: Any) -> NodeState:
    """`facts` are fields of NodeState."""
    listed = tuple(ListedDevice(device, each) for each in gpus for device in each.devices)
    inventory = Inventory(replace(DRIVER, kfd=kfd), gpus, (), facts.pop("skipped", ()))
    return replace(NodeState(inventory, listed), **facts)


def bus(*, loaded: bool = True, **drivers: Any) -> Bus:
    """The two GPUs; `a` and `b` are their drivers where it is not amdgpu."""
    named = ((A, drivers.get("a", "amdgpu")), (B, drivers.get("b", "amdgpu")))
    return Bus(loaded, tuple(PciFunction(address, driver, MODALIAS, 16, 16) for address, driver in named))


WITH_DAEMON = Looked(
    "daemon",
    "/run/amdgpu-plugin/control.sock",
    node(*GPUS),
    shares_one_name=True,
    daemon=DAEMON,
    bus=bus(),
    machine=MACHINE,
)
ALONE = replace(WITH_DAEMON, source="sysfs", where="/sys", node=replace(node(*GPUS), devices=()), daemon=None)


def on(look: Looked, **changes: Any) -> Looked:
    """The look with another machine."""
    return replace(look, machine=replace(MACHINE, **changes))

"""What is known of boards, devices and the daemon without reading a sensor: rows of the table of metrics."""

from collections.abc import Callable, Iterator

from amdgpu_plugin.exposition.rows import Row, Sample, row, shown
from amdgpu_plugin.exposition.snapshot import Registration
from amdgpu_plugin.exposition.view import RETIRED, Board, View, holdings
from amdgpu_plugin.health.conditions import CONDITIONS

COUNTED_CONDITIONS = tuple(name for name in CONDITIONS if name != RETIRED)
"""All that can be the matter with a board; devices of an earlier partition mode are in no metric."""


def _gpu_info(view: View) -> Iterator[Sample]:
    version = view.snapshot.state.inventory.driver.version
    for board in view.boards:
        gpu = board.gpu
        integrated = None if gpu.integrated is None else str(gpu.integrated).lower()
        yield (
            shown(
                gpu.pci_address,
                gpu.product,
                gpu.pci_id,
                gpu.unique_id,
                gpu.numa_node,
                gpu.compute_partition,
                gpu.memory_partition,
                gpu.xgmi_hive,
                integrated,
                version,
            ),
            1,
        )


def _device_info(view: View) -> Iterator[Sample]:
    for listed in view.devices:
        device = listed.device
        values = (device.id, device.resource, device.partition, device.render_node, device.replicas)
        yield shown(listed.gpu.pci_address, *values), 1


def _healthy(view: View) -> Iterator[Sample]:
    return (((listed.gpu.pci_address, listed.id), listed.healthy) for listed in view.devices)


def _would_be_healthy(view: View) -> Iterator[Sample]:
    if view.snapshot.observes:
        ill = {board.gpu.pci_address for board in view.boards if board.status.would_be is not None}
        for listed in view.devices:
            address = listed.gpu.pci_address
            yield (address, listed.id), listed.healthy and address not in ill


def _conditions(view: View) -> Iterator[Sample]:
    for board in view.boards:
        for name in COUNTED_CONDITIONS:
            yield (board.gpu.pci_address, name), name in board.conditions


def _allocated(view: View) -> Iterator[Sample]:
    for listed, resource, holder in holdings(view.snapshot):
        values = (listed.id, resource, holder.namespace, holder.pod, holder.container)
        yield (listed.gpu.pci_address, *values), 1


def _counted(name: str, told: str, source: str, value: Callable[[Board], int]) -> Row:
    return row(
        f"{name}_total",
        "gpu",
        told,
        source,
        lambda view: (((board.gpu.pci_address,), value(board)) for board in view.boards),
    )


def _of_daemon(name: str, told: str, source: str, value: Callable[[View], float | None]) -> Row:
    return row(f"plugin_{name}", "", told, source, lambda view: (((), value(view)),))


def _of_resource(name: str, told: str, source: str, value: Callable[[Registration], float]) -> Row:
    def samples(view: View) -> Iterator[Sample]:
        for resource in view.snapshot.state.resources:
            yield (resource,), value(view.snapshot.registration(resource))

    return row(f"plugin_{name}", "resource", told, source, samples)


def _plugin_info(view: View) -> Iterator[Sample]:
    about = view.snapshot.about
    mode = "observe" if view.snapshot.observes else "enforce"
    yield shown(about.version, mode, about.events), 1


def _conflict(view: View) -> float:
    stands = (view.snapshot.registration(resource) for resource in view.snapshot.state.resources)
    return any(registration.conflict for registration in stands)


ROWS = (
    row(
        "gpu_info",
        "gpu product pci_id unique_id numa_node compute_partition memory_partition xgmi_hive integrated "
        "driver_version",
        "What a board is, as last seen. Join by (instance, gpu).",
        "discovery",
        _gpu_info,
    ),
    row(
        "device_info",
        "gpu device resource partition render_node replicas",
        "What a device is that containers can get. Join by (instance, device).",
        "discovery",
        _device_info,
    ),
    row(
        "device_healthy",
        "gpu device",
        "1 if the kubelet is told that the device is healthy, else 0; also when its board is gone.",
        "verdict",
        _healthy,
    ),
    row(
        "device_would_be_healthy",
        "gpu device",
        "What the kubelet would be told if health was enforced. Only while it is observed.",
        "verdict",
        _would_be_healthy,
    ),
    row(
        "gpu_condition",
        "gpu condition",
        "1 while the condition is in force for the board or one of its devices, else 0.",
        "health policy",
        _conditions,
    ),
    row(
        "device_allocated",
        "gpu device resource namespace pod container",
        "1 for each container that holds the device. No sample where it is not known or nobody does.",
        "the kubelet's pod-resources",
        _allocated,
    ),
    _counted(
        "resets",
        "Resets of the board that the kernel told of, since the plugin started.",
        "WEDGED= uevents",
        lambda board: board.status.resets,
    ),
    _counted(
        "core_dumps",
        "Device coredumps the driver left, since the plugin started.",
        "devcoredump uevents",
        lambda board: board.status.core_dumps,
    ),
    _counted(
        "health_flaps",
        "Times that the board's health went and came back, since the plugin started.",
        "health policy",
        lambda board: board.status.flaps,
    ),
    row(
        "plugin_info",
        "version health_mode events",
        "The plugin's version, its health mode, and where kernel events come from (kernel, simulated, none).",
        "the daemon",
        _plugin_info,
    ),
    _of_resource(
        "registered",
        "1 while the kubelet hears of the resource's devices: registered, with a live stream.",
        "kubelet registration",
        lambda registration: registration.live,
    ),
    _of_resource(
        "streams",
        "ListAndWatch streams that are open.",
        "kubelet registration",
        lambda registration: registration.streams,
    ),
    _of_daemon(
        "conflict",
        "1 while another plugin serves one of our resources, and ours waits.",
        "kubelet registration",
        _conflict,
    ),
    _of_daemon(
        "gpus",
        "GPUs bound to amdgpu on this node now.",
        "discovery",
        lambda view: len(view.snapshot.state.inventory.gpus),
    ),
    _of_daemon(
        "expected_gpus",
        "GPUs this node should have. No sample where the operator said nothing.",
        "devices.expect",
        lambda view: view.snapshot.about.expected_gpus,
    ),
    _of_daemon(
        "kfd_readable",
        "1 if KFD's topology can be read, 0 if it is denied or absent.",
        "discovery",
        lambda view: view.snapshot.state.inventory.driver.kfd == "readable",
    ),
    _of_daemon(
        "holders_known",
        "1 if it is known who holds which device.",
        "the kubelet's pod-resources",
        lambda view: view.snapshot.state.holders is not None,
    ),
    _of_daemon(
        "health_interval_seconds",
        "Seconds between two rounds of readings of a board: what the age of readings is measured by.",
        "--health-interval",
        lambda view: view.snapshot.state.policy.get("interval_seconds"),
    ),
    _of_daemon(
        "health_guard_active",
        "1 while trouble that all GPUs seem to share is taken for ours, and informs only.",
        "health policy",
        lambda view: view.snapshot.state.guard_active,
    ),
    _of_daemon(
        "simulated", "1 if the GPUs are simulated.", "--simulate", lambda view: view.snapshot.about.simulated
    ),
)

"""`/api/v1/node`: all that is known of the node, made for JSON. Pure. `docs/node.schema.json` describes it.

Names are the same as in `discover -o json` where the same is meant. Times are UNIX seconds, values in base
units, and null is what is not known.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from amdgpu_plugin.discovery.inventory import ComputeDevice, Gpu
from amdgpu_plugin.exposition.readiness import readiness
from amdgpu_plugin.exposition.snapshot import Snapshot
from amdgpu_plugin.exposition.view import Board, holdings, view
from amdgpu_plugin.node import Holder, ListedDevice
from amdgpu_plugin.telemetry.readings import Readings

_TOLD: Mapping[type, tuple[str, ...]] = {
    Gpu: (
        *("pci_address", "product", "pci_id", "unique_id", "numa_node", "vram_bytes", "compute_partition"),
        *("memory_partition", "xgmi_hive", "integrated", "left_out"),
    ),
    ComputeDevice: ("id", "resource", "partition", "replicas", "render_node", "card_node", "kfd_node"),
    Readings: tuple(field.name for field in fields(Readings) if field.name != "tally"),
}
"""Of types that hold more than concerns others, what is told; of any other type, all."""


def node_document(snapshot: Snapshot) -> dict[str, Any]:
    """Lists are in the order of the node: by PCI address, then partition."""
    state, about = snapshot.state, snapshot.about
    boards = view(snapshot).boards
    return {
        "version": about.version,
        "started_at": about.started_at,
        "simulated": about.simulated,
        "events": about.events,
        "missed_events": state.missed_events,
        "expected_gpus": about.expected_gpus,
        "revision": state.revision,
        "ready": readiness(snapshot).ready,
        "driver": _plain(state.inventory.driver),
        "health": {"guard_active": state.guard_active, "policy": _plain(state.policy)},
        "resources": [_resource(snapshot, name) for name in state.resources],
        "gpus": [_gpu(snapshot, board) for board in boards],
        "devices": _devices(snapshot, boards),
        "links": _plain(state.inventory.links),
        "skipped": _plain(state.inventory.skipped),
    }


def _resource(snapshot: Snapshot, name: str) -> dict[str, Any]:
    devices = snapshot.state.devices_of(name)
    registration = snapshot.registration(name)
    return {
        "name": name,
        "devices": len(devices),
        "healthy": sum(listed.healthy for listed in devices),
        "registered": registration.live,
        "phase": registration.phase,
        "detail": registration.detail or None,
        "streams": registration.streams,
        "conflict": registration.conflict,
    }


def _gpu(snapshot: Snapshot, board: Board) -> dict[str, Any]:
    present = {gpu.pci_address for gpu in snapshot.state.inventory.gpus}
    return {
        **_plain(board.gpu),
        "present": board.gpu.pci_address in present,
        "conditions": _plain(board.status.conditions),
        "resets": board.status.resets,
        "flaps": board.status.flaps,
        "core_dumps": board.status.core_dumps,
        "readings": _plain(board.readings),
    }


def _devices(snapshot: Snapshot, boards: tuple[Board, ...]) -> list[dict[str, Any]]:
    would_be = {board.gpu.pci_address: board.status.would_be for board in boards}
    held: defaultdict[str, list[Holder]] = defaultdict(list)
    for listed, _, holder in holdings(snapshot):
        held[listed.id].append(holder)
    known = snapshot.state.holders is not None

    def document(listed: ListedDevice) -> dict[str, Any]:
        kept_back = would_be[listed.gpu.pci_address] if listed.healthy else None
        return {
            **_plain(listed.device),
            "gpu": listed.gpu.pci_address,
            "healthy": listed.healthy,
            "reason": _plain(listed.verdict),
            "would_be": _plain(kept_back),
            "holders": _plain(held[listed.id]) if known else None,
        }

    return [document(listed) for listed in snapshot.state.devices]


def _plain(value: Any) -> Any:
    """Dataclasses and mappings as objects, sequences as arrays; numbers that JSON has not as null."""
    if is_dataclass(value) and not isinstance(value, type):
        names = _TOLD.get(type(value)) or tuple(field.name for field in fields(value))
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

"""The daemon's answer to `status` (the JSON of /api/v1/node, docs/node.schema.json), as a NodeState. Pure.

Fields this does not know are passed over, so that a newer daemon can be asked.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amdgpu_plugin.discovery.inventory import ComputeDevice, Driver, Gpu, Inventory, Link, Skipped
from amdgpu_plugin.doctor.looked import Daemon, Registration
from amdgpu_plugin.health.evidence import LAST_TIME
from amdgpu_plugin.node import Condition, GpuStatus, ListedDevice, NodeState, Verdict

_Document = Mapping[str, Any]


class SenselessAnswerError(ValueError):
    """What was answered is no node of ours."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the daemon knows of the node, and of itself."""

    node: NodeState
    daemon: Daemon
    expected_gpus: int | None


def told(document: Any) -> Told:
    """SenselessAnswerError where something needed is missing, or of another type."""
    try:
        return Told(_node(document), _daemon(document), _number(document["expected_gpus"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SenselessAnswerError(f"{type(error).__name__}: {error}") from error


def _daemon(document: _Document) -> Daemon:
    return Daemon(
        version=str(document["version"]),
        simulated=document["simulated"] is True,
        events=str(document["events"]),
        holders_known=all(device["holders"] is not None for device in document["devices"]),
        registrations=tuple(
            Registration(
                str(each["name"]),
                each["registered"] is True,
                str(each["phase"]),
                _text(each["detail"]),
                each["conflict"] is True,
            )
            for each in document["resources"]
        ),
        missed_events=_number(document.get("missed_events")) or 0,
    )


def _node(document: _Document) -> NodeState:
    devices: defaultdict[str, list[_Document]] = defaultdict(list)
    for device in document["devices"]:
        devices[device["gpu"]].append(device)
    gpus = {each["pci_address"]: _gpu(each, devices[each["pci_address"]]) for each in document["gpus"]}
    here = tuple(gpus[each["pci_address"]] for each in document["gpus"] if each["present"])
    driver = document["driver"]
    return NodeState(
        Inventory(
            Driver(str(driver["name"]), _text(driver["version"]), driver["kfd"]),
            here,
            tuple(_link(each) for each in document["links"]),
            tuple(Skipped(str(each["path"]), str(each["reason"])) for each in document["skipped"]),
        ),
        tuple(
            ListedDevice(_device(each), gpus[each["gpu"]], _verdict(each["reason"]))
            for each in document["devices"]
        ),
        revision=document["revision"],
        statuses={
            each["pci_address"]: _status(each, devices[each["pci_address"]]) for each in document["gpus"]
        },
        guard_active=document["health"]["guard_active"] is True,
    )


def _gpu(gpu: _Document, devices: list[_Document]) -> Gpu:
    return Gpu(
        pci_address=str(gpu["pci_address"]),
        product=_text(gpu["product"]),
        pci_id=_text(gpu["pci_id"]),
        unique_id=_text(gpu["unique_id"]),
        numa_node=_number(gpu["numa_node"]),
        vram_bytes=_number(gpu["vram_bytes"]),
        compute_partition=_text(gpu["compute_partition"]),
        memory_partition=_text(gpu["memory_partition"]),
        xgmi_hive=_text(gpu["xgmi_hive"]),
        devices=tuple(_device(each) for each in devices),
        integrated=gpu["integrated"],
        left_out=_text(gpu["left_out"]),
    )


def _device(device: _Document) -> ComputeDevice:
    return ComputeDevice(
        str(device["id"]),
        str(device["resource"]),
        _number(device["partition"]),
        str(device["render_node"]),
        _text(device["card_node"]),
        _number(device["kfd_node"]),
        device["replicas"],
    )


def _link(link: _Document) -> Link:
    return Link(link["a"], link["b"], link["kind"], link["weight"], link["bandwidth_mb_s"])


def _status(gpu: _Document, devices: list[_Document]) -> GpuStatus:
    kept_back = (verdict for each in devices if (verdict := _verdict(each["would_be"])) is not None)
    return GpuStatus(
        conditions=tuple(
            Condition(
                str(each["name"]),
                str(each["detail"]),
                str(each["source"]),
                _time(each["since"]),
                each["effect"],
                each["held"] is True,
            )
            for each in gpu["conditions"]
        ),
        would_be=next(kept_back, None),
    )


def _verdict(verdict: _Document | None) -> Verdict | None:
    if verdict is None:
        return None
    return Verdict(str(verdict["condition"]), str(verdict["detail"]), _time(verdict["since"]))


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _number(value: Any) -> int | None:
    if value is not None and not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _time(since: Any) -> float:
    if not 0 <= since <= LAST_TIME:  # NaN is not, either
        raise ValueError(f"{since} is no time")
    return float(since)

"""What the simulated kubelet remembers across its restarts, as the file `kubelet_internal_checkpoint`.

The keys are those of the kubelet's own file (pkg/kubelet/cm/devicemanager/checkpoint); its checksum and
its division of devices by NUMA node are left out.
"""

import base64
import json
import os
import tempfile
from dataclasses import dataclass

from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api

NAME = "kubelet_internal_checkpoint"


@dataclass(frozen=True, slots=True)
class Allocation:
    """What one container holds of one resource, and the plugin's answer for it."""

    pod: str
    container: str
    resource: str
    device_ids: tuple[str, ...]
    response: api.ContainerAllocateResponse


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All allocations, and the healthy device IDs of each resource that was ever registered."""

    allocations: tuple[Allocation, ...] = ()
    registered: tuple[tuple[str, tuple[str, ...]], ...] = ()


def dump(checkpoint: Checkpoint) -> str:
    """The file's text."""
    entries = [
        {
            "PodUID": allocation.pod,
            "ContainerName": allocation.container,
            "ResourceName": allocation.resource,
            "DeviceIDs": list(allocation.device_ids),
            "AllocResp": base64.b64encode(allocation.response.SerializeToString(deterministic=True)).decode(),
        }
        for allocation in checkpoint.allocations
    ]
    registered = {resource: list(ids) for resource, ids in checkpoint.registered}
    return json.dumps({"Data": {"PodDeviceEntries": entries, "RegisteredDevices": registered}})


def parse(text: str) -> Checkpoint:
    """The checkpoint of a text that `dump` made."""
    data = json.loads(text)["Data"]
    allocations = tuple(
        Allocation(
            pod=entry["PodUID"],
            container=entry["ContainerName"],
            resource=entry["ResourceName"],
            device_ids=tuple(entry["DeviceIDs"]),
            response=api.ContainerAllocateResponse.FromString(base64.b64decode(entry["AllocResp"])),
        )
        for entry in data["PodDeviceEntries"]
    )
    registered = tuple((resource, tuple(ids)) for resource, ids in data["RegisteredDevices"].items())
    return Checkpoint(allocations, registered)


def load(directory: str) -> Checkpoint:
    """The checkpoint in `directory`; an empty one when there is none yet."""
    try:
        with open(os.path.join(directory, NAME), encoding="utf-8") as file:
            return parse(file.read())
    except FileNotFoundError:
        return Checkpoint()


def save(directory: str, checkpoint: Checkpoint) -> None:
    """Replaces the file at once. Raises OSError, as when the directory is gone."""
    descriptor, path = tempfile.mkstemp(prefix=f".{NAME}", dir=directory)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(dump(checkpoint))
    os.rename(path, os.path.join(directory, NAME))

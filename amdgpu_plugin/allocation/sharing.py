"""Shared devices as the kubelet asks for them: several IDs, one device. Pure."""

from collections.abc import Iterable

from amdgpu_plugin.discovery.inventory import device_of


def replicas_by_device(served_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Of each distinct device, in the order asked for, the distinct IDs it was asked for by."""
    found: dict[str, dict[str, None]] = {}
    for served_id in served_ids:
        found.setdefault(device_of(served_id), {})[served_id] = None
    return {device_id: tuple(ids) for device_id, ids in found.items()}


def shared_with_itself(served_ids: Iterable[str]) -> tuple[str, ...]:
    """The IDs by which one container asks for a device that it has already: it gets no more by them."""
    return tuple(each for ids in replicas_by_device(served_ids).values() if len(ids) > 1 for each in ids)

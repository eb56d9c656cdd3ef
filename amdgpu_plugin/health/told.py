"""What the monitor logs: each transition once, in one line that can be grepped."""

import logging
from collections.abc import Mapping

from amdgpu_plugin.discovery import pci
from amdgpu_plugin.discovery.inventory import Skipped
from amdgpu_plugin.discovery.kfd_reader import DENIED
from amdgpu_plugin.discovery.offering import LEFT_OUT
from amdgpu_plugin.health.policy import transitions
from amdgpu_plugin.node import GpuStatus, ListedDevice

log = logging.getLogger("amdgpu_plugin.health")


def tell_transitions(before: Mapping[str, GpuStatus], after: Mapping[str, GpuStatus]) -> None:
    """Conditions of GPUs that were raised, changed their effect, or cleared."""
    for each in transitions(before, after):
        fields = {
            "gpu": each.gpu,
            "condition": each.condition,
            "detail": each.detail,
            "source": each.source,
            "since": round(each.since, 3),
            "effect": each.effect,
        }
        level = logging.WARNING if each.raised and each.effect == "unhealthy" else logging.INFO
        log.log(level, "condition raised" if each.raised else "condition cleared", extra={"fields": fields})


def tell_devices(before: tuple[ListedDevice, ...], after: tuple[ListedDevice, ...]) -> None:
    """Devices that joined or left the list, or turned unhealthy or healthy."""
    earlier = {listed.id: listed for listed in before}
    for listed in after:
        was = earlier.pop(listed.id, None)
        if was is None:
            fields = {"device": listed.id, "resource": listed.device.resource}
            log.info("device joined", extra={"fields": fields})
            continue
        if listed.device.resource != was.device.resource:
            fields = {"device": listed.id, "before": was.device.resource, "now": listed.device.resource}
            log.warning("device is served under another resource", extra={"fields": fields})
        if listed.verdict != was.verdict:
            _tell_verdict(listed)
    for device_id in earlier:
        log.info("device left", extra={"fields": {"device": device_id}})


def _tell_verdict(listed: ListedDevice) -> None:
    if listed.verdict is None:
        log.info("device healthy", extra={"fields": {"device": listed.id}})
        return
    fields = {"device": listed.id, "condition": listed.verdict.condition, "detail": listed.verdict.detail}
    log.warning("device unhealthy", extra={"fields": fields})


def tell_skipped(skipped: Skipped) -> None:
    """A BMC is no trouble, and denied KFD nodes, up to 64, are told of in one line at the start."""
    level = logging.INFO if skipped.reason.startswith((pci.FOREIGN, LEFT_OUT)) else logging.WARNING
    if skipped.reason.startswith(DENIED):
        level = logging.DEBUG
    log.log(level, "skipped", extra={"fields": {"path": skipped.path, "reason": skipped.reason}})

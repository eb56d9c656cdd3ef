import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest

from amdgpu_plugin.kubelet import directory as directory_module
from amdgpu_plugin.kubelet import registrar as registrar_module
from amdgpu_plugin.kubelet import sockets
from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as wire
from amdgpu_plugin.kubelet.directory import DirectoryWatch, Identity
from amdgpu_plugin.kubelet.registrar import Backoff, Phase, Registrar, Status
from amdgpu_plugin.kubelet.service import DevicePluginService
from amdgpu_plugin.kubelet.sockets import SocketNames
from amdgpu_plugin.node import Latest
from amdgpu_plugin.simulation.kubelet import SimulatedKubelet
from tests.kubelet.worlds import (
    GPU,
    GUARD_SECONDS,
    DeafInotify,
    NoInotify,
    OtherPlugin,
    cancel,
    device,
    device_plugin,
    make_dead_socket,
    odd_kubelet,
    running,
    silent_listener,
    state,
    until,
)

POLL_SECONDS = 0.02
FOR_EVER = 3600.0

NOT_THERE = Status(Phase.REFUSED, "")


@dataclass(slots=True)
class Waits(Backoff):
    """A back-off that notes how long the waits would be, and has none of them last longer than `real`."""

    limit_seconds: float = 60.0
    real: float = 0.0
    noted: list[float] = field(default_factory=list)

    def failed(self) -> float:
        self.noted.append(Backoff.failed(self))
        return self.real


def registrar(
    directory: str,
    *,
    refused: Backoff | None = None,
    lost: Backoff | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Registrar:
    """Of amd.com/gpu with two devices, not yet running."""
    service = DevicePluginService(GPU, Latest(state(device(1), device(2))), simulated=False)
    watch = DirectoryWatch(directory, poll_seconds=POLL_SECONDS)
    return Registrar(
        service, watch, SocketNames(), clock, _refused=refused or Backoff(30.0), _lost=lost or Backoff(60.0)
    )


def alive(one: Registrar) -> "AbstractAsyncContextManager[None]":
    return running(one.watch.run(), one.run())


async def in_phase(one: Registrar, phase: Phase) -> Status:
    return await until(one.status, lambda status: status.phase is phase)


def own_sockets(directory: str) -> list[str]:
    return [name for name in os.listdir(directory) if sockets.is_of_this_product(name)]


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """What the registrar logged: level and message."""
    return [
        (record.levelname, record.message)
        for record in caplog.records
        if record.name == registrar_module.log.name
    ]

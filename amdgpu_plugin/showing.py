"""What is shown to people and to Prometheus: the pages, made of the daemon's parts as they stand."""

import os
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from amdgpu_plugin import __version__
from amdgpu_plugin.config import Config
from amdgpu_plugin.exposition.api import node_document
from amdgpu_plugin.exposition.http import HttpServer
from amdgpu_plugin.exposition.rendering import Renderer
from amdgpu_plugin.exposition.site import Site
from amdgpu_plugin.exposition.snapshot import About, Registration, Snapshot
from amdgpu_plugin.health.uevents import Listener
from amdgpu_plugin.instruments import Instruments
from amdgpu_plugin.kubelet.plugin import KubeletFace
from amdgpu_plugin.kubelet.registrar import Phase, Registrar
from amdgpu_plugin.lanes import Lane
from amdgpu_plugin.node import Latest, NodeState


class Showing:
    """Puts snapshots together whenever somebody asks."""

    def __init__(
        self,
        config: Config,
        *,
        node: Latest[NodeState],
        face: KubeletFace,
        listener: Listener | None,
        instruments: Instruments,
        lane: Lane,
    ) -> None:
        """Pages are rendered in `lane`."""
        self._node = node
        self._face = face
        self._listener = listener
        self._instruments = instruments
        self._counted: Counter[tuple[str, str]] = Counter()
        self._dropped = self._lost = 0
        self._about = About(
            __version__,
            time.time(),
            events=_kind_of(listener),
            simulated=config.simulate is not None,
            expected_gpus=config.devices_expect,
            node=os.environ.get("NODE_NAME") or socket.gethostname(),
        )
        renderer = Renderer(self.snapshot, instruments, lane)
        self._site = Site(self.snapshot, renderer, status_page=config.http_status_page)

    def server(self, sockets: Sequence[socket.socket]) -> HttpServer:
        """Serves the pages on sockets that listen already."""
        return HttpServer(sockets, self._site.answer)

    def node_document(self) -> Mapping[str, Any]:
        """The node as /api/v1/node has it."""
        return node_document(self.snapshot())

    def snapshot(self) -> Snapshot:
        """The daemon at this moment."""
        self._count_uevents()
        registrars = self._face.registrars
        registrations = {resource: _registration(registrar) for resource, registrar in registrars.items()}
        return Snapshot(self._about, self._node.value, registrations)

    def _count_uevents(self) -> None:
        """The listener counts for itself, since it must be quick."""
        if self._listener is None:
            return
        heard = Counter(self._listener.heard)
        for (action, subsystem), count in (heard - self._counted).items():
            self._instruments.heard(action, subsystem, count)
        dropped, lost = self._listener.dropped, self._listener.lost
        self._instruments.uevents_dropped.inc(dropped - self._dropped)
        self._instruments.uevent_overruns.inc(lost - self._lost)
        self._counted, self._dropped, self._lost = heard, dropped, lost


def _kind_of(listener: Listener | None) -> Any:
    return {"netlink": "kernel", "socket": "simulated"}.get(listener.kind if listener else "", "none")


def _registration(registrar: Registrar) -> Registration:
    status = registrar.status.value
    return Registration(
        registered=status.phase is Phase.REGISTERED,
        streams=registrar.service.streams.value.live,
        phase=status.phase.value,
        detail=status.detail,
        conflict=status.phase is Phase.CONFLICT,
    )

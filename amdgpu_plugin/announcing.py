"""What is told to Kubernetes, made of the daemon's parts. Loaded only where it is switched on."""

import contextlib
import logging
import os
import re
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import astuple
from functools import partial
from typing import TYPE_CHECKING

from amdgpu_plugin import remembering
from amdgpu_plugin.config import Config
from amdgpu_plugin.health.monitor import Clocks
from amdgpu_plugin.instruments import Instruments
from amdgpu_plugin.lanes import Lane
from amdgpu_plugin.node import Latest, NodeState

if TYPE_CHECKING:
    from amdgpu_plugin.exposition.kubernetes.standing import Subject
    from amdgpu_plugin.exposition.kubernetes.story import Told
    from amdgpu_plugin.exposition.kubernetes.told_file import ToldFile

log = logging.getLogger(__name__)

ROUNDS = 3
"""Full rounds after which what readings tell was found again, if it is still so (docs/health.md)."""
SAVE_SECONDS = 5.0
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LONGEST_NAME = 253
"""A DNS subdomain, as the API server wants every node's name (ValidateNodeName of Kubernetes)."""
CLOCKS = Clocks(time.monotonic, time.time)

Edge = Callable[[], Coroutine[None, None, None]]


def edges(
    config: Config, *, node: Latest[NodeState], instruments: Instruments, lane: Lane
) -> Mapping[str, Edge]:
    """By name, those that are switched on. `lane` writes what is kept for a later daemon."""
    if not (config.kubernetes_events or config.kubernetes_node_condition):
        return {}
    instruments.tell_kubernetes()
    name = os.environ.get("NODE_NAME", "")
    if len(name) <= _LONGEST_NAME and _NAME.fullmatch(name):
        return _edges(config, name, node=node, instruments=instruments, lane=lane)
    error = f"NODE_NAME is no node's name: {name[:_LONGEST_NAME]!r}" if name else "NODE_NAME is not set"
    fields = {"error": error, "remedy": "set it from spec.nodeName, as the chart does"}
    log.warning("Kubernetes is not told", extra={"fields": fields})
    instruments.kubernetes_errors.labels("not_in_cluster").inc()
    return {}


async def _keep(file: "ToldFile", lane: Lane, told: "Mapping[Subject, Told]") -> None:
    """A state directory that takes nothing is told of by remembering."""
    with contextlib.suppress(OSError):
        await lane.ask(partial(file.save, told), deadline=SAVE_SECONDS)


def _edges(
    config: Config, name: str, *, node: Latest[NodeState], instruments: Instruments, lane: Lane
) -> Mapping[str, Edge]:
    # Here and not above: what nobody switched on costs no memory.
    from amdgpu_plugin.exposition.kubernetes.announcer import Announcer  # noqa: PLC0415
    from amdgpu_plugin.exposition.kubernetes.condition_keeper import ConditionKeeper  # noqa: PLC0415
    from amdgpu_plugin.exposition.kubernetes.rest import Client  # noqa: PLC0415
    from amdgpu_plugin.exposition.kubernetes.service_account import DIRECTORY, api_server  # noqa: PLC0415
    from amdgpu_plugin.exposition.kubernetes.speaking import Speaker  # noqa: PLC0415
    from amdgpu_plugin.exposition.kubernetes.story import Story  # noqa: PLC0415
    from amdgpu_plugin.exposition.kubernetes.told_file import ToldFile  # noqa: PLC0415

    speaker = Speaker(Client(partial(api_server, os.environ, DIRECTORY)), instruments)
    rounds = ROUNDS * config.health_interval_seconds
    settled_at = time.monotonic() + rounds + config.health_read_deadline_seconds
    found: dict[str, Edge] = {}
    if config.kubernetes_events:
        file = ToldFile(config.state_dir, astuple(remembering.owner(config)))
        found["kubernetes-events"] = Announcer(
            node=node,
            name=name,
            speaker=speaker,
            story=Story(file.load(), settled_at),
            instruments=instruments,
            keep=partial(_keep, file, lane),
            moment=CLOCKS.moment,
            simulated=config.simulate is not None,
        ).run
    if config.kubernetes_node_condition:
        found["node-condition"] = ConditionKeeper(
            node=node,
            name=name,
            speaker=speaker,
            delay_seconds=config.kubernetes_node_condition_delay_seconds,
            settled_at=settled_at,
            moment=CLOCKS.moment,
            simulated=config.simulate is not None,
        ).run
    return found

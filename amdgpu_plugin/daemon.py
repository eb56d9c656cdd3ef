"""The daemon's wiring: build, start, wait, stop.

The core is discovery, health and the kubelet's face: the first of them to fail ends the process.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from amdgpu_plugin import announcing, remembering, settings
from amdgpu_plugin.config import Config
from amdgpu_plugin.control import ControlServer, ack_handler, inject_handler, status_handler
from amdgpu_plugin.discovery import Scanner
from amdgpu_plugin.exposition.listening import addresses_of
from amdgpu_plugin.health import policy
from amdgpu_plugin.health.monitor import Clocks, Monitor, Remembered, Spans
from amdgpu_plugin.health.survey import Survey
from amdgpu_plugin.health.uevents import Listener
from amdgpu_plugin.instruments import Instruments
from amdgpu_plugin.kubelet.plugin import DirectoryLostError, KubeletFace
from amdgpu_plugin.kubelet.pod_resources import PodResources
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.node import Holders, Latest, NodeState
from amdgpu_plugin.product_names import ProductNames
from amdgpu_plugin.showing import Showing
from amdgpu_plugin.simulation.node import SimulatedNode
from amdgpu_plugin.sysfs import Sysfs

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
EXIT_OK, EXIT_FAULT = 0, 1
FIRST_HOLDERS_SECONDS = 1.0
"""The longest that the first list waits for who holds what."""
EDGE_LIMIT_SECONDS = 60.0
LAST_READS_SECONDS = 1.0
"""For reads under way at the end to come back, before they count as stuck."""
SWITCH_SECONDS = 0.0005


Edge = Callable[[], Coroutine[None, None, None]]
"""A part whose failure costs no GPU: it is started again."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """The parts of a running daemon. `node` and `kubelet` are there for those who watch it."""

    monitor: Monitor
    kubelet: KubeletFace
    node: Latest[NodeState]
    edges: Mapping[str, Edge]
    listener: Listener | None
    instruments: Instruments

    async def run(self, stop: asyncio.Event) -> int:
        """Until `stop` is set or a part fails; sockets are gone before the exit status is returned."""
        status = EXIT_OK
        if self.listener is None:
            log.info("nothing tells of kernel events here: GPUs are polled only")
        else:
            self.listener.start(self.monitor.hear)
        try:
            async with asyncio.TaskGroup() as core:
                tasks = [
                    core.create_task(_never_returns(self.monitor.run()), name="monitor"),
                    core.create_task(_never_returns(self.kubelet.run()), name="kubelet"),
                    *(
                        core.create_task(self._kept_up(name, edge), name=name)
                        for name, edge in self.edges.items()
                    ),
                ]
                await stop.wait()
                for task in tasks:
                    task.cancel()
        except* DirectoryLostError as lost:
            log.error("cannot go on here: %s", next(leaves(lost)))  # noqa: TRY400 - no fault of ours to trace
            status = EXIT_FAULT
        except* Exception as faults:
            for fault in leaves(faults):
                log.critical("a fault of ours ends the daemon", exc_info=fault)
            status = EXIT_FAULT
        finally:
            if self.listener is not None:
                self.listener.stop()
        return status

    async def _kept_up(self, name: str, edge: Edge) -> None:
        """An edge for ever: what it raises is logged, and it starts again after a while."""
        pause = 1.0
        restarts = self.instruments.edge_restarts.labels(name)
        while True:
            try:
                await edge()
            except Exception:
                log.exception("a part of the edge failed: it starts again", extra={"fields": {"part": name}})
            restarts.inc()
            await asyncio.sleep(pause)
            pause = min(pause * 2, EDGE_LIMIT_SECONDS)


async def build(
    config: Config,
    *,
    sysfs: Sysfs,
    lanes: Lanes,
    names: ProductNames,
    simulated: SimulatedNode | None,
    listener: Listener | None,
    sockets: Sequence[socket.socket] = (),
) -> Daemon:
    """The daemon after its first scan: what answered in time is in NodeState.

    `listener` hears the kernel; `sockets` listen for HTTP.
    """
    instruments = Instruments()
    holders: Latest[Holders | None] = Latest(None)
    pod_resources = PodResources(config.pod_resources_dir, holders, instruments)
    edges: dict[str, Edge] = {}
    if settings.reads_pod_resources(config):
        await pod_resources.refresh(within=FIRST_HOLDERS_SECONDS)
        edges["pod-resources"] = pod_resources.run
    else:
        log.info(
            "pod-resources is not read: who holds a simulated GPU is not known",
            extra={"fields": {"hint": "--pod-resources-dir names those of the kubelet it is served to"}},
        )
    file = remembering.state_file(config)
    monitor = _monitor(
        config,
        sysfs=sysfs,
        lanes=lanes,
        names=names,
        holders=holders,
        earlier=remembering.remembered(file, config),
        instruments=instruments,
        listens=lambda: listener is not None and listener.listening != "none",
    )
    node = await monitor.first_look()
    _say_policy(monitor.rules)
    _say_what_was_found(node.value)
    face = KubeletFace(
        config.device_plugins_dir,
        node,
        instruments=instruments,
        simulated=simulated is not None,
        extras=settings.extras(config),
        strict_sharing=config.sharing_strict,
        spread=config.sharing_spread,
        on_allocated=pod_resources.ask_soon,
    )
    site = Showing(
        config, node=node, face=face, listener=listener, instruments=instruments, lane=lanes["render"]
    )
    handlers = {
        "ack": ack_handler(node, monitor.acknowledge, time.time, stands=monitor.is_acknowledged),
        "status": status_handler(site.node_document),
    }
    if simulated is not None:
        handlers["inject"] = inject_handler(simulated)
    edges |= {
        "state": partial(remembering.keep_saved, file, monitor, lanes["state"]),
        "control": ControlServer(config.state_dir, handlers).run,
        **announcing.edges(config, node=node, instruments=instruments, lane=lanes["state"]),
    }
    if sockets:
        log.info("listening", extra={"fields": {"http": addresses_of(sockets)}})
        edges["http"] = site.server(sockets).run
    return Daemon(monitor, face, node, edges, listener, instruments)


def _monitor(
    config: Config,
    *,
    sysfs: Sysfs,
    lanes: Lanes,
    names: ProductNames,
    holders: Latest[Holders | None],
    earlier: Remembered,
    instruments: Instruments,
    listens: Callable[[], bool],
) -> Monitor:
    deadline = config.health_read_deadline_seconds
    survey = Survey(
        sysfs=sysfs,
        lanes=lanes,
        scanner=Scanner(sysfs, lanes, names, settings.offering(config)),
        naming=config.resource_naming,
        sharing=settings.sharing(config),
        deadline_seconds=deadline,
    )
    return Monitor(
        sysfs=sysfs,
        lanes=lanes,
        survey=survey,
        rules=settings.rules(config),
        spans=Spans(config.presence_period_seconds, config.health_interval_seconds, deadline),
        clocks=Clocks(time.monotonic, time.time),
        holders=holders,
        retire_after_seconds=config.retire_after_seconds,
        dev_root=config.dev_root,
        earlier=earlier,
        instruments=instruments,
        listens=listens,
    )


async def run(
    config: Config,
    *,
    sysfs: Sysfs,
    names: ProductNames,
    simulated: SimulatedNode | None,
    listener: Listener | None,
    sockets: Sequence[socket.socket] = (),
) -> int:
    """The exit status after SIGTERM, SIGINT or SIGQUIT, or after a fault."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, _stop, stop, number)
    # Threads that read or render give way to the loop ten times sooner than by default.
    sys.setswitchinterval(SWITCH_SECONDS)
    lanes = Lanes()
    daemon = await build(
        config,
        sysfs=sysfs,
        lanes=lanes,
        names=names,
        simulated=simulated,
        listener=listener,
        sockets=sockets,
    )
    status = await daemon.run(stop)
    log.info("stopped", extra={"fields": {"status": status}})
    leave_if_stuck(await lanes.stuck_after(LAST_READS_SECONDS), status)
    return status


def leave_if_stuck(stuck: Iterable[str], status: int) -> None:
    """Nobody can end a read that is stuck in the kernel: leave without waiting for anything."""
    if names := ", ".join(stuck):
        log.warning("leaving with reads that never returned", extra={"fields": {"lanes": names}})
        logging.shutdown()
        os._exit(status)


def _stop(stop: asyncio.Event, number: signal.Signals) -> None:
    log.info("stopping", extra={"fields": {"signal": number.name}})
    stop.set()


def leaves(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    """What was raised, out of the groups within groups that task groups make."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


async def _never_returns(part: Coroutine[None, None, None]) -> None:
    await part
    raise RuntimeError("a part that runs for ever has returned")


def _say_policy(rules: policy.Rules) -> None:
    log.info("health policy", extra={"fields": {"policy": "; ".join(rules.lines())}})


def _say_what_was_found(state: NodeState) -> None:
    for resource in state.resources:
        fields = {"resource": resource, "devices": len(state.devices_of(resource))}
        log.info("found", extra={"fields": fields})
    if not state.devices:
        log.warning(
            "no GPU to serve: waiting for one", extra={"fields": {"skipped": len(state.inventory.skipped)}}
        )
    if len(state.resources) > 1:
        log.warning(
            "partition styles differ on this node: partitions go by names of their own",
            extra={"fields": {"resources": ",".join(state.resources)}},
        )
    if state.inventory.driver.kfd == "denied":
        log.warning(
            "KFD may not be read: partitions are served only where provable without it",
            extra={"fields": {"kfd": "denied"}},
        )

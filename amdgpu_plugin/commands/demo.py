"""`demo`: the daemon against a simulated node and a simulated kubelet, told step by step.

Everything is real but the hardware and the kubelet: a tree in sysfs's own layout, unix sockets, gRPC.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from amdgpu_plugin import daemon
from amdgpu_plugin.allocation.explanation import explain
from amdgpu_plugin.allocation.layout import layout_of
from amdgpu_plugin.allocation.preference import Choice, Request, prefer
from amdgpu_plugin.commands.discover import as_table
from amdgpu_plugin.commands.inputs import NodeInput, product_names, scratch_parent, simulated_node
from amdgpu_plugin.config import Config, ConfigError
from amdgpu_plugin.exposition.listening import bind
from amdgpu_plugin.health.evidence import Acknowledged
from amdgpu_plugin.health.uevents import SocketUevents
from amdgpu_plugin.kubelet.sockets import path_is_too_long
from amdgpu_plugin.lanes import Lanes
from amdgpu_plugin.logs import PACKAGE
from amdgpu_plugin.node import ListedDevice, NodeState
from amdgpu_plugin.simulation.kubelet import Allocation, SimulatedKubelet
from amdgpu_plugin.simulation.node import SimulatedNode
from amdgpu_plugin.simulation.shapes import Shape, ShapeError, parse_shape

TERMINAL_PACE_SECONDS = 1.2
_HEALTH_INTERVAL_SECONDS = 1.0
_HOLD_SECONDS = 1.0
_POD_SIZE = 2


@dataclass(slots=True)
class _Story:
    """Says what happens. `pace_seconds` lies between two steps, for eyes to follow."""

    pace_seconds: float
    colour: bool
    started: float = field(default_factory=time.monotonic)
    steps: int = 0

    async def step(self, title: str) -> None:
        if self.steps:
            await asyncio.sleep(self.pace_seconds)
        self.steps += 1
        head = f"{self.steps}. {title}"
        print(f"\n\033[1m{head}\033[0m" if self.colour else f"\n{head}", flush=True)

    def say(self, text: str) -> None:
        for line in text.splitlines() or [""]:
            print(f"   {line}".rstrip(), flush=True)


@dataclass(frozen=True, slots=True)
class _Stage:
    """What a demo plays with."""

    story: _Story
    node: SimulatedNode
    kubelet: SimulatedKubelet
    daemon: daemon.Daemon


def run(config: Config, args: argparse.Namespace) -> int:
    """0 at its end, and when stopped by Ctrl-C; 1 if something did not happen as it should."""
    try:
        shape = parse_shape(config.simulate or "")
    except ShapeError as error:
        raise ConfigError(str(error), where="the demo's SHAPE") from error
    if config.log_level == "info":
        logging.getLogger(PACKAGE).setLevel(
            logging.ERROR
        )  # the story tells; --log-level debug shows the log as well
    terminal = sys.stdout.isatty()
    pace = args.pace if args.pace is not None else TERMINAL_PACE_SECONDS if terminal else 0.0
    story = _Story(pace, colour=terminal and "NO_COLOR" not in os.environ)
    folder = _folder()
    status = daemon.EXIT_FAULT
    try:
        status = asyncio.run(_play(config, shape, story, folder))
    except* TimeoutError as late:
        for why in daemon.leaves(late):
            print(f"\nThe demo went wrong: {why}", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return status


def _folder() -> str:
    folder = tempfile.mkdtemp(prefix="amdgpu-demo-", dir=scratch_parent())
    if not path_is_too_long(os.path.join(folder, "device-plugins")):
        return folder
    os.rmdir(folder)
    return tempfile.mkdtemp(prefix="amdgpu-demo-", dir="/tmp")  # a socket's path has 107 bytes at most


async def _play(config: Config, shape: Shape, story: _Story, folder: str) -> int:
    story_task = asyncio.create_task(_tell(config, shape, story, folder), name="story")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, story_task.cancel)
    try:
        await story_task
    except asyncio.CancelledError:
        print("\nStopped. Nothing is left behind.")
    return 0


async def _tell(config: Config, shape: Shape, story: _Story, folder: str) -> None:
    await story.step(f"A node with {shape.count} GPU{'s' * (shape.count > 1)} of shape {shape.name}")
    with simulated_node(folder, shape) as source:
        await _tell_of(config, source, story, folder)


async def _tell_of(config: Config, source: NodeInput, story: _Story, folder: str) -> None:
    node = source.simulated
    assert node is not None
    story.say(f"simulated, in the kernel's own layout: {node.root}")
    plugins = os.path.join(folder, "device-plugins")
    pod_resources = os.path.join(folder, "pod-resources")
    async with SimulatedKubelet(plugins, pod_resources=pod_resources) as kubelet:
        story.say(f"and a simulated kubelet: {os.path.join(plugins, 'kubelet.sock')}")
        own = replace(
            config,
            device_plugins_dir=plugins,
            pod_resources_dir=pod_resources,
            state_dir=os.path.join(folder, "state"),
            health_interval_seconds=_HEALTH_INTERVAL_SECONDS,
            health_recovery_hold_seconds=_HOLD_SECONDS,
        )
        await story.step("The daemon starts")
        began = time.monotonic()
        (listening,) = bind("127.0.0.1", 0)
        with listening:
            pages = f"http://127.0.0.1:{listening.getsockname()[1]}"
            async with _running(own, source, [listening]) as running:
                await _play_on(_Stage(story, node, kubelet, running), began, pages)
        await story.step("The daemon ends")
        left = [name for name in os.listdir(plugins) if name.startswith("amdgpu-plugin-")]
        story.say("its sockets are gone" if not left else f"left behind: {', '.join(left)}")
    story.say("")
    story.say("That was everything but the hardware. On a node: amdgpu-plugin discover, amdgpu-plugin run")


async def _play_on(stage: _Stage, began: float, pages: str) -> None:
    await _show_registration(stage, began)
    stage.story.say("")
    stage.story.say(f"while this runs, the status page: {pages}/")
    pod = await _show_allocation(stage)
    await _show_failure(stage, pod)
    await _show_fault(stage, pod)
    await _show_restart(stage, pod)


@contextlib.asynccontextmanager
async def _running(
    config: Config, source: NodeInput, sockets: Sequence[socket.socket]
) -> AsyncIterator[daemon.Daemon]:
    """The daemon while the block runs; a fault of the daemon ends the block."""
    assert source.uevents is not None
    built = await daemon.build(
        config,
        sysfs=source.sysfs,
        lanes=Lanes(),
        names=product_names(),
        simulated=source.simulated,
        listener=SocketUevents(source.uevents),
        sockets=sockets,
    )
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_must_end_well(built.run(stop)), name="daemon")
        yield built
        stop.set()


async def _must_end_well(running: Awaitable[int]) -> None:
    if status := await running:
        raise TimeoutError(f"the daemon ended with {status}")


async def _show_registration(stage: _Stage, began: float) -> None:
    state = stage.daemon.node.value
    for resource in state.resources:
        devices = state.devices_of(resource)
        await stage.kubelet.sees(resource, healthy=len(devices))
        milliseconds = (time.monotonic() - began) * 1000
        stage.story.say(
            f"{resource}: {len(devices)} device{'s' * (len(devices) > 1)}, "
            f"with the kubelet {milliseconds:.0f} ms after the start"
        )
    stage.story.say("")
    stage.story.say(_shortened(as_table(state.inventory).splitlines(), stage.node.shape))


def _shortened(lines: Sequence[str], shape: Shape, most: int = 14) -> str:
    more = len(lines) - most
    return "\n".join(
        (*lines[:most], f"… and {more} lines more: amdgpu-plugin discover --simulate {shape}")
        if more > 0
        else lines
    )


async def _show_allocation(stage: _Stage) -> Allocation:
    state = stage.daemon.node.value
    resource = state.resources[0]
    size = min(_POD_SIZE, len(state.devices_of(resource)))
    await stage.story.step(f"A pod asks for {size} × {resource}")
    pod = await stage.kubelet.allocate(resource, size, pod="train")
    stage.story.say(f"given  {', '.join(pod.device_ids)}")
    for head, reason in zip_longest(["why"], _why(pod, state)):
        stage.story.say(f"{head or '':7}{reason}")
    stage.story.say(f"nodes  {', '.join(spec.container_path for spec in pod.response.devices)}")
    for name, value in sorted(pod.response.envs.items()):
        stage.story.say(f"env    {name}={value}")
    return pod


def _why(pod: Allocation, state: NodeState) -> tuple[str, ...]:
    """What was weighed when all devices were free, as they were."""
    layout, listed = layout_of(state.inventory), state.devices_of(pod.resource)
    served = tuple(each for one in listed for each in one.device.served_ids)
    request = Request(served, (), len(pod.device_ids))
    choice = prefer(layout, listed, request, runner_up=True)
    return explain(layout, request, choice) if isinstance(choice, Choice) else (choice.reason,)


async def _show_failure(stage: _Stage, pod: Allocation) -> None:
    victim = _victim(stage.daemon.node.value.devices, pod)
    address = victim.gpu.pci_address
    await stage.story.step(f"The driver loses {address}")
    await _timed(stage, lambda: stage.node.unbind(address), stage.kubelet.sees_unhealthy(victim.id))
    listed = next(listed for listed in stage.daemon.node.value.devices if listed.id == victim.id)
    stage.story.say(f"{listed.id} is Unhealthy: {listed.verdict}")
    resource = victim.device.resource
    stage.story.say(
        f"allocatable {resource}: {stage.kubelet.allocatable(resource)} of {stage.kubelet.capacity(resource)}"
    )
    await stage.story.step("The driver binds it again")
    await _timed(stage, lambda: stage.node.bind(address), stage.kubelet.sees_healthy(victim.id))
    stage.story.say(
        f"allocatable {resource}: {stage.kubelet.allocatable(resource)} of {stage.kubelet.capacity(resource)}"
    )


async def _show_fault(stage: _Stage, pod: Allocation) -> None:
    """A fault that does not end by itself, and an operator who knows of it."""
    victim = _victim(stage.daemon.node.value.devices, pod)
    address = victim.gpu.pci_address
    await stage.story.step(f"The kernel says that {address} needs a reset")
    await _timed(stage, lambda: stage.node.wedge(address), stage.kubelet.sees_unhealthy(victim.id))
    listed = next(listed for listed in stage.daemon.node.value.devices if listed.id == victim.id)
    stage.story.say(f"{listed.id} is Unhealthy: {listed.verdict}")
    stage.story.say(f"an operator: amdgpu-plugin ack {address} Wedged --reason 'ticket 4711'")
    word = Acknowledged("Wedged", "ticket 4711", None)
    await _timed(
        stage,
        lambda: stage.daemon.monitor.acknowledge(address, word),
        stage.kubelet.sees_healthy(victim.id),
    )


def _victim(devices: Sequence[ListedDevice], pod: Allocation) -> ListedDevice:
    """A device that nobody holds, if there is one."""
    return next((listed for listed in reversed(devices) if listed.id not in pod.device_ids), devices[-1])


async def _timed(stage: _Stage, act: Callable[[], object], seen: Awaitable[None]) -> None:
    act()
    # The kernel's message is the last thing it does; before it, a whole GPU's files come or go.
    began = time.monotonic()
    await seen
    stage.story.say(f"the kubelet knows {(time.monotonic() - began) * 1000:.0f} ms later")


async def _show_restart(stage: _Stage, pod: Allocation) -> None:
    await stage.story.step("The kubelet restarts")
    state = stage.daemon.node.value
    began = time.monotonic()
    await stage.kubelet.restart()
    for resource in state.resources:
        await stage.kubelet.sees(resource, healthy=len(state.devices_of(resource)))
    stage.story.say(f"registered again {(time.monotonic() - began) * 1000:.0f} ms after it was killed")
    again = await stage.kubelet.allocate(pod.resource, len(pod.device_ids), pod=pod.pod)
    kept = "still holds" if again.device_ids == pod.device_ids else "now holds"
    stage.story.say(f"the pod {kept} {', '.join(again.device_ids)}")

"""`doctor`: what is wrong with this node, each finding with what to do."""

import argparse
import asyncio
import os
from functools import partial

from amdgpu_plugin.commands.inputs import open_sysfs
from amdgpu_plugin.commands.look import inventory_of
from amdgpu_plugin.config import Config
from amdgpu_plugin.control import SOCKET, ControlError, ask
from amdgpu_plugin.discovery.drm import CLASS
from amdgpu_plugin.discovery.inventory import SHARED, Inventory
from amdgpu_plugin.discovery.naming import WHOLE
from amdgpu_plugin.doctor.bus import look_at_bus
from amdgpu_plugin.doctor.findings import findings
from amdgpu_plugin.doctor.looked import Bus, Looked, Machine
from amdgpu_plugin.doctor.machine import look_at_machine
from amdgpu_plugin.doctor.telling import as_json, as_text, npd_line, problems
from amdgpu_plugin.doctor.told import SenselessAnswerError, Told, told
from amdgpu_plugin.lanes import Hung, Lane
from amdgpu_plugin.node import NodeState

ROOT = "/"
"""Where this machine's /proc, /etc, /lib and /dev are."""
SYSFS_ROOT = "/sys"
FINE, FINDINGS, COULD_NOT_LOOK = 0, 1, 2


def run(config: Config, args: argparse.Namespace) -> int:
    """0: no problem; 1: at least one; 2: neither a daemon nor sysfs answered."""
    looked = _look(config)
    if isinstance(looked, Hung):
        print(f"AMD GPUs: could not look: {CLASS} in {config.sysfs_root}: {looked}")
        return COULD_NOT_LOOK
    found = findings(looked)
    if args.npd:
        print(npd_line(looked, found))
    else:
        print(as_json(looked, found) if args.output == "json" else as_text(looked, found))
    return FINDINGS if problems(found) else FINE


def _look(config: Config) -> Looked | Hung:
    """ConfigError where the sysfs root or the shape cannot be used."""
    answer = _asked(config)
    if isinstance(answer, Told):
        return _with_daemon(config, answer)
    inventory = inventory_of(config)
    if _is_silent(inventory):
        return Hung(config.health_read_deadline_seconds)
    state = NodeState(inventory, ())
    single = config.resource_naming == "single"
    if config.simulate is not None:
        return Looked("simulated", config.simulate, state, shares_one_name=single)
    of_this_machine = os.path.isdir(config.sysfs_root)
    return Looked(
        "sysfs" if of_this_machine else "capture",
        config.sysfs_root,
        state,
        shares_one_name=single,
        expected_gpus=config.devices_expect,
        unanswered=answer if of_this_machine else None,
        bus=_bus(config),
        machine=_machine(config, inventory) if of_this_machine else None,
    )


def _asked(config: Config) -> Told | str:
    """What the daemon says, or why it said nothing; it is not asked where an option says where to look."""
    if config.simulate is not None:
        return f"not asked: --simulate {config.simulate} says what to look at"
    if os.path.realpath(config.sysfs_root) != SYSFS_ROOT:
        return f"not asked: --sysfs-root {config.sysfs_root} says where to look"
    try:
        return told(ask(config.state_dir, {"verb": "status"}))
    except ControlError as error:
        return str(error)
    except SenselessAnswerError as error:
        return f"an answer that makes no sense at {os.path.join(config.state_dir, SOCKET)} ({error})"


def _with_daemon(config: Config, answer: Told) -> Looked:
    """The daemon's node, and the machine around it.

    A simulated node has nothing to do with this machine's bus and /dev.
    """
    inventory, simulated = answer.node.inventory, answer.daemon.simulated
    return Looked(
        "daemon",
        os.path.join(config.state_dir, SOCKET),
        answer.node,
        shares_one_name=any(
            device.resource.removesuffix(SHARED) == WHOLE
            for gpu in inventory.gpus
            if gpu.compute_partition is not None
            for device in gpu.devices
        ),
        expected_gpus=answer.expected_gpus,
        daemon=answer.daemon,
        bus=None if simulated else _bus(config),
        machine=_machine(config, inventory, device_nodes=not simulated),
    )


def _bus(config: Config) -> Bus | None:
    sysfs = open_sysfs(config.sysfs_root)
    look = Lane("bus").ask(partial(look_at_bus, sysfs), deadline=config.health_read_deadline_seconds)
    bus = asyncio.run(look)
    return None if isinstance(bus, Hung) else bus


def _machine(config: Config, inventory: Inventory, *, device_nodes: bool = True) -> Machine:
    devices = [device for gpu in inventory.gpus for device in gpu.devices]
    return look_at_machine(
        ROOT,
        device_plugins_dir=config.device_plugins_dir,
        pod_resources_dir=config.pod_resources_dir,
        state_dir=config.state_dir,
        dev_root=config.dev_root,
        resources=(WHOLE, *(device.resource.removesuffix(SHARED) for device in devices)),
        render_nodes=(device.render_node for device in devices if device_nodes),
        kfd=device_nodes and bool(devices) and inventory.driver.kfd != "absent",
    )


def _is_silent(inventory: Inventory) -> bool:
    """True where not even the list of minors was answered: then nothing is known of the node."""
    return any(each.path == CLASS and each.reason.startswith("no answer") for each in inventory.skipped)

"""One look at a node, for the verbs that print what it has."""

import asyncio
import logging
import sys

from amdgpu_plugin import settings
from amdgpu_plugin.commands.inputs import node_input, product_names
from amdgpu_plugin.config import Config, default_config
from amdgpu_plugin.control import ControlError, ask
from amdgpu_plugin.discovery import discover
from amdgpu_plugin.discovery.inventory import Inventory
from amdgpu_plugin.discovery.offering import remarks
from amdgpu_plugin.lanes import Lanes

log = logging.getLogger(__name__)

THIS_MACHINE = default_config().sysfs_root
_HINT_SECONDS = 1.0


def inventory_of(config: Config) -> Inventory:
    """The inventory of the node the options name; what does not answer in time is in its `skipped`."""
    offering = settings.offering(config)
    with node_input(config) as source:
        inventory = asyncio.run(
            discover(
                source.sysfs,
                Lanes(),
                names=product_names(),
                naming=config.resource_naming,
                sharing=settings.sharing(config),
                offering=offering,
                deadline=config.health_read_deadline_seconds,
            )
        )
    for remark in remarks(inventory, offering):
        log.warning(remark)
    if not inventory.gpus and _is_simulated_by_the_daemon(config):
        print("amdgpu-plugin: the daemon here simulates its GPUs: add --simulate SHAPE", file=sys.stderr)
    return inventory


def _is_simulated_by_the_daemon(config: Config) -> bool:
    """Whether what was looked at is this machine, and its daemon serves a simulated node in its place."""
    if config.simulate is not None or config.sysfs_root != THIS_MACHINE:
        return False
    try:
        node = ask(config.state_dir, {"verb": "status"}, within=_HINT_SECONDS)
    except ControlError:
        return False
    return isinstance(node, dict) and node.get("simulated") is True

"""One look at a node, for the verbs that print what it has."""

import asyncio

from amdgpu_plugin.commands.inputs import node_input, product_names
from amdgpu_plugin.config import Config
from amdgpu_plugin.discovery import discover
from amdgpu_plugin.discovery.inventory import Inventory
from amdgpu_plugin.lanes import Lanes


def inventory_of(config: Config) -> Inventory:
    """The inventory of the node the options name; what does not answer in time is in its `skipped`."""
    with node_input(config) as source:
        return asyncio.run(
            discover(
                source.sysfs,
                Lanes(),
                names=product_names(),
                naming=config.resource_naming,
                deadline=config.health_read_deadline_seconds,
            )
        )

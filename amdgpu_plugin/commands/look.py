"""One look at a node, for the verbs that print what it has."""

import asyncio
import logging

from amdgpu_plugin import settings
from amdgpu_plugin.commands.inputs import node_input, product_names
from amdgpu_plugin.config import Config
from amdgpu_plugin.discovery import discover
from amdgpu_plugin.discovery.inventory import Inventory
from amdgpu_plugin.discovery.offering import remarks
from amdgpu_plugin.lanes import Lanes

log = logging.getLogger(__name__)


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
    return inventory

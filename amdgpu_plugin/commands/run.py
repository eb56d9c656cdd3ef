"""`run`: the daemon."""

import argparse
import asyncio
import contextlib
import socket
from collections.abc import Iterator

from amdgpu_plugin import daemon, logs
from amdgpu_plugin.commands.inputs import NodeInput, node_input, product_names
from amdgpu_plugin.config import Config, ConfigError
from amdgpu_plugin.discovery.pci import bound_addresses
from amdgpu_plugin.exposition.listening import CannotListenError, bind
from amdgpu_plugin.health.uevents import Listener, NetlinkUevents, SocketUevents
from amdgpu_plugin.kubelet.sockets import PATH_LIMIT, path_is_too_long
from amdgpu_plugin.sysfs import DirectorySysfs


def run(config: Config, args: argparse.Namespace) -> int:  # noqa: ARG001 - every verb has this shape
    """The exit status: 0 after a signal, 1 after a fault of ours. ConfigError before anything starts."""
    if path_is_too_long(config.device_plugins_dir):
        raise ConfigError(
            f"{config.device_plugins_dir} is too long: a socket below it would pass {PATH_LIMIT} bytes",
            where="--device-plugins-dir",
            hint="a shorter path",
        )
    _refuse_to_hide_real_gpus(config)
    with _listening(config) as sockets, logs.unhurried(), node_input(config) as source:
        return asyncio.run(
            daemon.run(
                config,
                sysfs=source.sysfs,
                names=product_names(),
                simulated=source.simulated,
                listener=_listener(source),
                sockets=sockets,
            )
        )


@contextlib.contextmanager
def _listening(config: Config) -> Iterator[list[socket.socket]]:
    """The sockets for HTTP, before anything else starts."""
    sockets: list[socket.socket] = []
    if config.http_address is not None:
        try:
            sockets = bind(config.http_address.host, config.http_address.port)
        except CannotListenError as error:
            raise ConfigError(str(error), where="--http-address") from error
    try:
        yield sockets
    finally:
        for each in sockets:
            each.close()


def _listener(source: NodeInput) -> Listener | None:
    """A capture file does not change; what the kernel says is not about a simulated node."""
    if source.uevents is not None:
        return SocketUevents(source.uevents)
    return NetlinkUevents() if isinstance(source.sysfs, DirectorySysfs) else None


def _refuse_to_hide_real_gpus(config: Config) -> None:
    if config.simulate is None or config.simulate_anyway:
        return
    if bound := bound_addresses(DirectorySysfs(config.sysfs_root)):
        raise ConfigError(
            f"real GPUs are bound to amdgpu here ({', '.join(bound)}): pods would get simulated ones",
            where="--simulate",
            hint="--simulate-anyway, if that is what you want",
        )

"""What a verb looks at: this machine's sysfs, a directory or capture file, or a simulated node."""

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from amdgpu_plugin.capture_file import CaptureError, load_capture
from amdgpu_plugin.config import Config, ConfigError
from amdgpu_plugin.product_names import ProductNames
from amdgpu_plugin.simulation.node import SimulatedNode
from amdgpu_plugin.simulation.shapes import Shape, ShapeError, parse_shape
from amdgpu_plugin.simulation.uevent_socket import uevent_pair
from amdgpu_plugin.sysfs import DirectorySysfs, Sysfs

AMDGPU_IDS = "/usr/share/libdrm/amdgpu.ids"
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - tempfile makes the folder, under a name of its own
PCI_IDS = "/usr/share/misc/pci.ids"
_ROOT_HINT = "a directory laid out like /sys, or a file made by `amdgpu-plugin capture`"


@dataclass(frozen=True, slots=True)
class NodeInput:
    """A sysfs to read; of a simulated one also the node behind it, and the end where its uevents come."""

    sysfs: Sysfs
    simulated: SimulatedNode | None = None
    uevents: socket.socket | None = None


@contextlib.contextmanager
def node_input(config: Config) -> Iterator[NodeInput]:
    """ConfigError where the root is missing, the capture cannot be used, or the shape is unknown."""
    if config.simulate is None:
        yield NodeInput(open_sysfs(config.sysfs_root))
        return
    try:
        shape = parse_shape(config.simulate)
    except ShapeError as error:
        raise ConfigError(str(error), where="--simulate") from error
    with (
        tempfile.TemporaryDirectory(prefix="amdgpu-plugin-", dir=scratch_parent()) as directory,
        simulated_node(directory, shape) as simulated,
    ):
        yield simulated


@contextlib.contextmanager
def simulated_node(directory: str, shape: Shape) -> Iterator[NodeInput]:
    """A simulated node in a directory of its own; at the end, whoever hangs in a read of it is released."""
    send, uevents = uevent_pair()
    node = SimulatedNode.create(directory, shape, on_uevent=send)
    try:
        yield NodeInput(node.sysfs, node, uevents)
    finally:
        node.close()
        send.close()
        uevents.close()


def scratch_parent() -> str | None:
    """Where a simulated node's thousands of small files go: memory, if it may be written."""
    return SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else None


def open_sysfs(root: str) -> Sysfs:
    """The sysfs at a directory, or in a capture file. ConfigError where there is neither."""
    if os.path.isdir(root):
        return DirectorySysfs(root)
    if not os.path.isfile(root):
        what = "is neither a directory nor a file" if os.path.exists(root) else "does not exist"
        raise ConfigError(f"{root} {what}", where="--sysfs-root", hint=_ROOT_HINT)
    try:
        return load_capture(root)
    except CaptureError as error:
        raise ConfigError(str(error), where="--sysfs-root", hint=_ROOT_HINT) from error


def product_names() -> ProductNames:
    """Names from Debian's libdrm-common and pci.ids, where they are installed."""
    return ProductNames(amdgpu_ids=AMDGPU_IDS, pci_ids=PCI_IDS)

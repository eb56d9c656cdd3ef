"""The state directory's memory: what a later daemon of the same boot must know, in one JSON file.

It carries the boot and the sysfs root (or simulated shape) it belongs to; what belongs to another is ignored.
"""

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from amdgpu_plugin import kept_file
from amdgpu_plugin.discovery.inventory import ComputeDevice, Gpu
from amdgpu_plugin.discovery.naming import GivenNames, Naming
from amdgpu_plugin.node import ListedDevice

log = logging.getLogger(__name__)

FILE = "state.json"
_FORMAT = 1
_MOST = 65535
"""Of NUMA nodes and of replicas, to be sure."""
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_PART = re.compile(r"-[a-z]{3}[0-9]{1,4}")
_RESOURCE = re.compile(r"amd\.com/[a-z0-9][a-z0-9_.-]{0,61}")
_STYLE = re.compile(r"[a-z0-9_]{0,61}")
_RENDER_NODE = re.compile(r"renderD[0-9]{1,7}")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose memory it is: the boot's id, and the resolved sysfs root or the simulated shape."""

    boot_id: str
    source: str


@dataclass(frozen=True, slots=True)
class Memory:
    """`gpus` are plain JSON objects by PCI address, made and understood by health.policy.

    `given` is None where the file is of a version that kept no names.
    """

    gpus: Mapping[str, Mapping[str, Any]]
    listed: tuple[ListedDevice, ...]
    given: GivenNames | None = None


NOTHING = Memory({}, ())


class StateFile:
    """`state.json` in the state directory. Blocks: for a lane, or before the loop runs."""

    def __init__(self, directory: str, owner: Owner) -> None:
        """Nothing is read or made yet."""
        self.path = os.path.join(directory, FILE)
        self._owner = owner

    def load(self) -> Memory:
        """What was saved for this owner; NOTHING where there is none, or it is not to be understood."""
        try:
            return self._understood(kept_file.read(self.path))
        except FileNotFoundError:
            return NOTHING
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            told = {"file": self.path, "error": f"{type(error).__name__}: {error}"}
            log.warning("an earlier daemon's state cannot be used: starting anew", extra={"fields": told})
            return NOTHING

    def is_there(self) -> bool:
        """Whether something is at its path: its directory may have been deleted."""
        return os.path.lexists(self.path)

    def save(self, memory: Memory) -> None:
        """Replace the file as a whole. OSError where that cannot be done."""
        said = {
            "format": _FORMAT,
            "boot_id": self._owner.boot_id,
            "source": self._owner.source,
            "gpus": memory.gpus,
            "listed": [_written(listed) for listed in memory.listed],
        }
        if memory.given is not None:
            said |= {"naming": memory.given.naming, "names": dict(memory.given.names)}
        kept_file.replace(self.path, said)

    def _understood(self, said: Mapping[str, Any]) -> Memory:
        if said["format"] != _FORMAT:
            raise ValueError(f"format {said['format']!r}, this version writes {_FORMAT}")
        if (said["boot_id"], said["source"]) != (self._owner.boot_id, self._owner.source):
            told = {"file": self.path, "of": str(said["source"]), "here": self._owner.source}
            log.info("the state of another boot or node is ignored", extra={"fields": told})
            return NOTHING
        gpus = {_fitting(_ADDRESS, address): dict(gpu) for address, gpu in said["gpus"].items()}
        return Memory(gpus, tuple(_read(each) for each in said["listed"]), _given(said))


def _written(listed: ListedDevice) -> dict[str, Any]:
    gpu = asdict(listed.gpu)
    del gpu["devices"]
    return {"device": asdict(listed.device), "gpu": gpu}


def _given(said: Mapping[str, Any]) -> GivenNames | None:
    if "names" not in said:
        return None
    naming = said["naming"]
    if naming not in get_args(Naming):
        raise ValueError(f"naming {naming!r}")
    names = {_fitting(_STYLE, style): _fitting(_RESOURCE, name) for style, name in said["names"].items()}
    return GivenNames(naming, names)


def _fitting(form: re.Pattern[str], text: object) -> str:
    """ValueError for a text of another form, or none."""
    if not isinstance(text, str) or not form.fullmatch(text):
        raise ValueError(f"{text!r} is not {form.pattern}")
    return text


def _read(said: Mapping[str, Any]) -> ListedDevice:
    gpu, device = _made(Gpu, {**said["gpu"], "devices": ()}), _made(ComputeDevice, said["device"])
    address = _fitting(_ADDRESS, gpu.pci_address)
    if device.id != address:
        _fitting(_PART, device.id.removeprefix(address))
    _fitting(_RESOURCE, device.resource)
    _fitting(_RENDER_NODE, device.render_node)
    if not 0 <= (gpu.numa_node or 0) <= _MOST or not 1 <= device.replicas <= _MOST:
        raise ValueError(f"{device.id}: numbers out of range")
    return ListedDevice(device, gpu)


def _made(kind: type[T], said: Mapping[str, Any]) -> T:
    """A value of plain fields. TypeError where one is missing or of another type than the field's."""
    types = get_type_hints(kind)
    for name, value in said.items():
        is_odd = name in types and name != "devices" and not isinstance(value, types[name])
        if is_odd or (isinstance(value, bool) and name != "integrated"):  # Python takes True for 1
            raise TypeError(f"{name} cannot be {type(value).__name__}")
    return kind(**{name: value for name, value in said.items() if name in types})

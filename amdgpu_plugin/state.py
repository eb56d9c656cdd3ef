"""The state directory's memory: what a later daemon of the same boot must know, in one JSON file.

It carries the boot and the sysfs root (or simulated shape) it belongs to; what belongs to another is ignored.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from amdgpu_plugin.discovery.inventory import ComputeDevice, Gpu
from amdgpu_plugin.discovery.naming import GivenNames, Naming
from amdgpu_plugin.node import ListedDevice

log = logging.getLogger(__name__)

FILE = "state.json"
_FORMAT = 1
_LIMIT_BYTES = 16 * 1024 * 1024

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
            with open(self.path, "rb") as file:
                said = json.loads(file.read(_LIMIT_BYTES))
            return self._understood(said)
        except FileNotFoundError:
            return NOTHING
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            told = {"file": self.path, "error": f"{type(error).__name__}: {error}"}
            log.warning("an earlier daemon's state cannot be used: starting anew", extra={"fields": told})
            return NOTHING

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
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        beside = f"{self.path}.new"
        text = json.dumps(said)  # at once, in C: dump() makes it bit by bit, and holds up the loop for longer
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        os.replace(beside, self.path)

    def _understood(self, said: Mapping[str, Any]) -> Memory:
        if said["format"] != _FORMAT:
            raise ValueError(f"format {said['format']!r}, this version writes {_FORMAT}")
        if (said["boot_id"], said["source"]) != (self._owner.boot_id, self._owner.source):
            told = {"file": self.path, "of": str(said["source"]), "here": self._owner.source}
            log.info("the state of another boot or node is ignored", extra={"fields": told})
            return NOTHING
        gpus = {str(address): dict(kept) for address, kept in said["gpus"].items()}
        return Memory(gpus, tuple(_read(each) for each in said["listed"]), _given(said))


def _written(listed: ListedDevice) -> dict[str, Any]:
    gpu = asdict(listed.gpu)
    del gpu["devices"]
    return {"device": asdict(listed.device), "gpu": gpu}


def _given(said: Mapping[str, Any]) -> GivenNames | None:
    if "names" not in said:
        return None
    naming, names = said["naming"], dict(said["names"])
    if naming not in get_args(Naming) or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f"naming {naming!r} with names {names!r}")
    return GivenNames(naming, names)


def _read(said: Mapping[str, Any]) -> ListedDevice:
    gpu = _made(Gpu, {**said["gpu"], "devices": ()})
    return ListedDevice(_made(ComputeDevice, said["device"]), gpu)


def _made(kind: type[T], said: Mapping[str, Any]) -> T:
    """A value of plain fields. TypeError where one is missing or of another type than the field's."""
    types = get_type_hints(kind)
    for name, value in said.items():
        if name in types and name != "devices" and not isinstance(value, types[name]):
            raise TypeError(f"{name} cannot be {type(value).__name__}")
    return kind(**{name: value for name, value in said.items() if name in types})

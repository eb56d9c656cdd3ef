"""What was told of conditions that stand, for a later daemon of the same boot: `events.json`. Blocks."""

import os
from collections.abc import Mapping
from typing import Any, get_args

from amdgpu_plugin import kept_file
from amdgpu_plugin.exposition.kubernetes.standing import Subject, Weight
from amdgpu_plugin.exposition.kubernetes.story import Told

FILE = "events.json"
_FORMAT = 1
_MOST = 4096
"""Subjects: more than a node can have, and few enough to be looked at on every change."""
Owner = tuple[str, str]
"""Whose it is: the boot's id, and the sysfs root or the simulated shape."""


class ToldFile:
    """In the state directory."""

    def __init__(self, directory: str, owner: Owner) -> None:
        """Nothing is read or made yet."""
        self.path = os.path.join(directory, FILE)
        self._owner = owner

    def load(self) -> dict[Subject, Told]:
        """Nothing where it is not there, of another boot, or not to be understood."""
        try:
            said = kept_file.read(self.path)
            ours = said["format"] == _FORMAT and tuple(said["owner"]) == self._owner
            if not ours or len(said["told"]) > _MOST:
                return {}
            return dict(_read(each) for each in said["told"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}

    def save(self, told: Mapping[Subject, Told]) -> None:
        """Replace it as a whole. OSError where that cannot be done."""
        said = {
            "format": _FORMAT,
            "owner": self._owner,
            "told": [[*subject, *what] for subject, what in told.items()],
        }
        kept_file.replace(self.path, said)


def _read(said: Any) -> tuple[Subject, Told]:
    gpu, condition, namespace, pod, weight, since = said
    if not all(isinstance(word, str) for word in (gpu, condition, namespace, pod)):
        raise TypeError("not a subject")
    if weight not in get_args(Weight) or not isinstance(since, int | float):
        raise TypeError("not what is told of one")
    return Subject(gpu, condition, namespace, pod), Told(weight, float(since))

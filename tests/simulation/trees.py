"""What a simulated node's tree holds, as values to compare."""

import os
from collections.abc import Iterable
from pathlib import Path

Snapshot = dict[str, bytes | str]
"""Every file with its bytes, every link with its text, by path below the root."""


def snapshot(root: str) -> Snapshot:
    found: Snapshot = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                found[os.path.relpath(path, root)] = os.readlink(path)
            elif name in files:
                found[os.path.relpath(path, root)] = Path(path).read_bytes()
    return found


def difference(before: Snapshot, after: Snapshot) -> set[str]:
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def outside_kfd(tree: Snapshot) -> Snapshot:
    """Without KFD's topology, whose numbers and generation depend on what was bound when."""
    return {path: content for path, content in tree.items() if "/kfd/kfd/topology/" not in path}


def headlines(events: Iterable[bytes]) -> list[str]:
    """`action@last part of the path`."""
    return [
        f"{action}@{path.rpartition('/')[2]}"
        for action, _, path in (e.decode().split("\0")[0].partition("@") for e in events)
    ]


def fields(event: bytes) -> list[str]:
    """All of a message but its header and its number."""
    return event.decode().split("\0")[1:-2]

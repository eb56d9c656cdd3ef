"""XGMI hives: which of a hive's GPUs show it, and how."""

from collections.abc import Sequence

from amdgpu_plugin.simulation.gpu import Gpu
from amdgpu_plugin.simulation.parts import Board
from amdgpu_plugin.simulation.tree import Content, Link, Tree


class Hives:
    """The hive's folder is in that of its first GPU; the others have a link to it (amdgpu_xgmi.c)."""

    def __init__(self, tree: Tree, board: Board, gpus: Sequence[Gpu]) -> None:
        """Nobody has joined yet."""
        self._tree = tree
        self._board = board
        self._gpus = gpus

    def join(self, gpu: Gpu) -> None:
        """The driver has taken the GPU."""
        members = self._members(gpu)
        if not members:
            return
        folder = f"{members[0].path}/xgmi_hive_info"
        entries: dict[str, Content] = {}
        if members[0].on_bus:
            entries[f"{folder}/xgmi_hive_id"] = f"{self._board.hive_of(gpu.index)}\n".encode()
            for number, member in enumerate(members, 1):
                if member.driver is not None:
                    entries[f"{folder}/node{number}"] = Link(member.path)
        if gpu is not members[0]:
            entries[f"{gpu.path}/xgmi_hive_info"] = Link(folder)
        self._tree.plant(entries)

    def leave(self, gpu: Gpu) -> None:
        """The driver has let go of the GPU."""
        members = self._members(gpu)
        if not members:
            return
        folder = f"{members[0].path}/xgmi_hive_info"
        self._tree.uproot(f"{folder}/node{members.index(gpu) + 1}")
        if gpu is not members[0]:
            self._tree.uproot(f"{gpu.path}/xgmi_hive_info")
        if not any(member.driver for member in members):
            self._tree.uproot(folder)

    def _members(self, gpu: Gpu) -> list[Gpu]:
        members = self._board.hives.get(self._board.hive_of(gpu.index) or 0, ())
        return [self._gpus[member] for member in members]

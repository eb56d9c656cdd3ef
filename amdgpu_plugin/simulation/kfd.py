"""KFD's GPU nodes as they come and go."""

import zlib
from collections.abc import Sequence

from amdgpu_plugin.simulation.links import GpuNode
from amdgpu_plugin.simulation.parts import Board
from amdgpu_plugin.simulation.topology import CLASS, KFD, NODES, generation_entries, grow, kfd_entries
from amdgpu_plugin.simulation.tree import Tree

_FIRST_SIMD_ID = 0x80001000


class Kfd:
    """The nodes in the order in which they were added; on disk after publish().

    A removal shifts the numbers of all nodes behind it. The generation moves by one for every node added or
    removed, after the tree has changed (kfd_topology_update_sysfs() rebuilds all of it).
    """

    def __init__(self, tree: Tree, board: Board) -> None:
        """Not there, as before amdgpu is loaded."""
        self._tree = tree
        self._board = board
        self._there = False
        self._nodes: list[GpuNode] = []
        self._generation = 1
        self._next_simd_id = _FIRST_SIMD_ID

    def appear(self) -> None:
        """The module is loaded: KFD's folder is there, with CPU nodes only."""
        self._there = True
        self._tree.plant(kfd_entries())
        self.publish()

    def vanish(self) -> None:
        """The module goes: so do the folder and what was counted."""
        self._there = False
        self._nodes, self._generation, self._next_simd_id = [], 1, _FIRST_SIMD_ID
        self._tree.uproot(CLASS)
        self._tree.uproot(KFD)

    def add(self, slot: int, mode: str | None, render_minors: Sequence[int]) -> None:
        """One node for each partition of the mode; one whose device got no minor is left out."""
        product = self._board.product
        siblings = 1 if mode is None else product.modes[mode]
        for partition, render_minor in enumerate(render_minors[:siblings]):
            gpu_id = self._free_gpu_id(f"{self._board.slots[slot].address} {mode} {partition}")
            self._nodes.append(GpuNode(slot, partition, siblings, gpu_id, render_minor, self._next_simd_id))
            self._next_simd_id += product.arrays_per_xcc * product.kfd["cu_per_simd_array"]
            self._generation += 1

    def drop(self, slot: int) -> None:
        """All nodes of a GPU."""
        kept = [node for node in self._nodes if node.slot != slot]
        self._generation += len(self._nodes) - len(kept)
        self._nodes = kept

    def publish(self) -> None:
        """Write what was added and dropped, if there is a folder for it."""
        if not self._there:
            return
        self._tree.rebuild(NODES, lambda directory: grow(self._board, self._nodes, directory))
        self._tree.plant(generation_entries(self._generation))

    def _free_gpu_id(self, seed: str) -> int:
        """16 bits that are the same for the same hardware and mode, and never 0 (kfd_generate_gpu_id())."""
        taken = {node.gpu_id for node in self._nodes} | {0}
        gpu_id = zlib.crc32(seed.encode()) & 0xFFFF
        while gpu_id in taken:
            gpu_id = (gpu_id + 1) & 0xFFFF
        return gpu_id

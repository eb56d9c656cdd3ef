"""How often a request takes each device: distinct ones first, and those by how shared they are. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Spread = Literal["distinct", "packed"]


@dataclass(frozen=True, slots=True)
class Supply:
    """One device: replicas to be had, how many of those must be taken, and how many others hold."""

    free: int
    must: int
    held: int


@dataclass(frozen=True, slots=True)
class Shares:
    """Replicas taken of each device whatever else is weighed; and the devices that may give one more."""

    taken: tuple[int, ...]
    open: frozenset[int]


def shares(supplies: Sequence[Supply], size: int, spread: Spread) -> Shares:
    """`size` replicas in all, no fewer than must be and no more than there are.

    A device gives its second replica once every other has given its first, and so on. Of those that may
    give one, the least shared do so first (`packed`: the most shared). Those that are left equal are open.
    """
    taken = [supply.must for supply in supplies]
    missing = size - sum(taken)
    turn = 0
    while missing:
        by_held: defaultdict[int, list[int]] = defaultdict(list)
        for index, supply in enumerate(supplies):
            if taken[index] == turn < supply.free:
                by_held[supply.held].append(index)
        for held in sorted(by_held, reverse=spread == "packed"):
            if missing < len(by_held[held]):
                return Shares(tuple(taken), frozenset(by_held[held] if missing else ()))
            for index in by_held[held]:
                taken[index] += 1
            missing -= len(by_held[held])
        turn += 1
    return Shares(tuple(taken), frozenset())

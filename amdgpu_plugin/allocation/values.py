"""One integer for all that a choice is judged by, so that the lesser is the better. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Score:
    """What a value stands for: `counts` are devices taken of each GPU."""

    cost: int
    gpus_left_whole: int
    hives_left_whole: int
    counts: tuple[int, ...]


class Code:
    """How much each thing weighs: `distance` one unit of cost (even), then `gpu`, `hive` and a GPU's place.

    Each weighs more than all that come after it together.
    """

    def __init__(self, gpus: int, hives: int, most: int) -> None:
        """For so many GPUs, hives, and devices of one GPU."""
        self._gpus = gpus
        self._hives = hives
        self._bits = max(1, most.bit_length())
        self.hive = 1 << self._bits * gpus
        self.gpu = self.hive * (hives + 1)
        self.distance = self.gpu * 2 * (gpus + 1)

    def place(self, gpu: int) -> int:
        """What one device of a GPU weighs: taken from a lower GPU, more than any number of a higher one."""
        return 1 << self._bits * (self._gpus - 1 - gpu)

    def key(self, value: int) -> int:
        """The value without its counts."""
        return -(-value // self.hive)

    def score(self, value: int) -> Score:
        """What the value stands for."""
        digits = -value % self.hive
        rest, hives = divmod(-self.key(value), self._hives + 1)
        whole = rest % (2 * (self._gpus + 1))
        cost = (whole - rest) // (2 * (self._gpus + 1))
        mask = (1 << self._bits) - 1
        counts = tuple(digits >> self._bits * (self._gpus - 1 - gpu) & mask for gpu in range(self._gpus))
        return Score(cost, whole, hives, counts)


def two_least(code: Code, values: Iterable[int]) -> tuple[int, int | None]:
    """The least value, and the least of those that differ from it by more than the counts."""
    ordered = sorted(values)
    key = code.key(ordered[0])
    return ordered[0], next((value for value in ordered if code.key(value) != key), None)

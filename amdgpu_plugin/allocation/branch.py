"""The search among modules that nothing regular joins: branch and bound. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from amdgpu_plugin.allocation.values import Code


@dataclass(frozen=True, slots=True)
class Part:
    """A module: its values for `base` devices and more; `second` as `best`, empty where not asked for.

    `unsplit` has a bit for each number of devices beyond the base that leaves no GPU half used. `hive` is the
    one it is a part of, None where it splits none.
    """

    base: int
    best: tuple[int, ...]
    second: tuple[int | None, ...]
    unsplit: int
    hive: int | None


class Search:
    """`best`, `second` and `exact` are what `run` found; best is None where the budget did not reach."""

    def __init__(
        self,
        code: Code,
        parts: Sequence[Part],
        between: Sequence[Sequence[int]],
        open_hives: frozenset[int],
        budget: int,
    ) -> None:
        """`between` are the parts' distances; `open_hives` are whole if none of their parts is used."""
        self.best: int | None = None
        self.second: int | None = None
        self.exact = True
        self._code = code
        self._parts = parts
        self._between = [[distance * code.distance for distance in row] for row in between]
        self._open_hives = open_hives
        self._left = budget
        self._taken = [0] * len(parts)
        self._two = any(part.second for part in parts)

    def run(self, spare: int) -> None:
        """Place `spare` devices beyond the bases."""
        parts = range(len(self._parts))
        bases = [part.base for part in self._parts]
        near = [
            sum(bases[other] * self._between[one][other] for other in parts if other != one) for one in parts
        ]
        fixed = sum(base * distance for base, distance in zip(bases, near, strict=True)) // 2
        able = frozenset(part for part in parts if len(self._parts[part].best) > 1)
        self._units = sum(len(self._parts[part].best) - 1 for part in able)
        # Each device of the others, nearest first, at half the distance: both ends pay.
        self._others = [
            sorted(
                (self._between[part][other] // 2, other)
                for other in able - {part}
                for _ in self._parts[other].best[1:]
            )
            for part in parts
        ]
        start = fixed + sum(part.best[0] for part in self._parts)
        self._branch(able, spare, start, near, split=False)

    def _branch(
        self, rest: frozenset[int], spare: int, value: int, near: Sequence[int], *, split: bool
    ) -> None:
        """`rest` are parts not yet decided on, `near` what a device of each part costs by those that are."""
        self._left -= 1 + len(rest) * self._units
        if self._left < 0:
            self.exact = False
        elif spare == 0:
            self._offer(value)
        else:
            prices = sorted((self._price(part, rest, spare, near[part]), part) for part in rest)
            bound, missing = value - self._code.hive * len(self._open_hives), spare
            for price, part in prices:
                taken = min(missing, len(self._parts[part].best) - 1)
                bound += taken * price
                missing -= taken
            if not missing and not self._is_worse(bound):
                self._divide(prices[0][1], rest, spare, value, near, split=split)

    def _divide(
        self, part: int, rest: frozenset[int], spare: int, value: int, near: Sequence[int], *, split: bool
    ) -> None:
        there, distances, rest = self._parts[part], self._between[part], rest - {part}
        for count in range(min(spare, len(there.best) - 1), -1, -1):
            splits = not there.unsplit >> count & 1
            if splits and split:
                continue
            self._taken[part] = count
            farther = [here + count * distance for here, distance in zip(near, distances, strict=True)]
            more = there.best[count] - there.best[0] + count * near[part]
            self._branch(rest, spare - count, value + more, farther, split=split or splits)
        self._taken[part] = 0

    def _price(self, part: int, rest: frozenset[int], spare: int, near: int) -> int:
        """What a device of this part adds at the least, one half of each distance to others yet to come."""
        best = self._parts[part].best
        halves = [half for half, other in self._others[part] if other in rest]
        if len(best) == 2:  # a GPU with one device: by far the most frequent  # noqa: PLR2004
            return near + best[1] - best[0] + sum(halves[: spare - 1])
        sums = list(accumulate(halves[: spare - 1], initial=0))
        return near + min(
            (best[count] - best[0]) // count + sums[min(spare - count, len(sums) - 1)]
            for count in range(1, min(spare, len(best) - 1) + 1)
        )

    def _is_worse(self, bound: int) -> bool:
        limit = self.second if self._two else self.best
        return limit is not None and bound >= limit

    def _offer(self, value: int) -> None:
        used = {
            part.hive for part, taken in zip(self._parts, self._taken, strict=True) if part.base + taken > 0
        }
        value -= self._code.hive * len(self._open_hives - used)
        self._keep(value)
        if self._two:
            for part, taken in zip(self._parts, self._taken, strict=True):
                second = part.second[taken]
                if second is not None:
                    self._keep(value - part.best[taken] + second)

    def _keep(self, value: int) -> None:
        if self.best is None or value < self.best:
            value, self.best = self.best if self.best is not None else value, value
        if self._two and self._code.key(value) != self._code.key(self.best):
            self.second = value if self.second is None else min(value, self.second)

"""How many devices to take from each GPU: the exact minimum, in lexicographic order. Pure.

(1) lowest sum of all pairs' distances, (2) most GPUs left whole, (3) most hives left whole, (4) the lowest
GPUs first. The four are one integer, so that sums and minima of it do all the comparing; its last digits are
the counts themselves, so that the least value is the answer, and nothing has to be traced back.

Along the graph's joins no search is needed: the best for each number of devices of two modules gives the best
for each number of both. Only where several tops are left is there a search, by branch and bound.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import add

from amdgpu_plugin.allocation.branch import Part, Search
from amdgpu_plugin.allocation.graph import Graph
from amdgpu_plugin.allocation.values import Code, Score, two_least


@dataclass(frozen=True, slots=True)
class Demand:
    """`least` and `most` devices of each GPU, `size` in all.

    `whole_gpus` and `whole_hives` tell which are whole as long as nothing is taken of them.
    """

    size: int
    least: tuple[int, ...]
    most: tuple[int, ...]
    whole_gpus: tuple[bool, ...]
    whole_hives: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """The best; `exact` is False where the budget ended before it was proven.

    `runner_up` is the best of all that are worse by more than their IDs; None where there is none, or none
    was asked for.
    """

    best: Score
    runner_up: Score | None
    exact: bool


@dataclass(frozen=True, slots=True)
class _Table:
    """The least values for `base` devices of a module, for one more, and so on.

    `second` are the next that differ by more than the counts; empty where not asked for.
    """

    base: int
    best: list[int]
    second: list[int | None]


def search(graph: Graph, demand: Demand, *, budget: int, runner_up: bool = False) -> Found | None:
    """The best counts; None where the budget ended before any was found, or none exists.

    `budget` counts elementary steps, of roughly a tenth of a microsecond each.
    """
    spare = demand.size - sum(demand.least)
    if spare < 0 or sum(demand.most) < demand.size:
        return None
    code = Code(graph.gpu_count, graph.hive_count, max(demand.most, default=0))
    tables: list[_Table] = []
    steps = 0
    for module, hive in enumerate(graph.completes):
        if module < graph.gpu_count:
            table = _of_gpu(code, demand, module, spare, runner_up=runner_up)
        else:
            join = graph.joins[module - graph.gpu_count]
            left, right = tables[join.left], tables[join.right]
            steps += len(left.best) * len(right.best) * (4 if runner_up else 1)
            if steps > budget:
                return None
            table = _joined(code, left, right, join.distance, spare)
        if hive is not None and demand.whole_hives[hive] and table.base == 0:
            table.best[0] -= code.hive
        tables.append(table)
    found = _from_tops(code, graph, demand, tables, budget - steps)
    if found is None or found.exact or not runner_up:
        return found
    # What the runner-up cost must not change the answer.
    best = search(graph, demand, budget=budget)
    return found if best is None else Found(best.best, found.runner_up, best.exact)


def _of_gpu(code: Code, demand: Demand, gpu: int, spare: int, *, runner_up: bool) -> _Table:
    least = demand.least[gpu]
    counts = range(least, min(demand.most[gpu], least + spare) + 1)
    best = [-count * code.place(gpu) for count in counts]
    if demand.whole_gpus[gpu] and least == 0:
        best[0] -= code.gpu
    return _Table(least, best, [None] * len(best) if runner_up else [])


def _joined(code: Code, left: _Table, right: _Table, distance: int, spare: int) -> _Table:
    """For each number of devices of both, the best way to divide it."""
    # a·b = ((a+b)² - a² - b²) / 2: what lies between the two splits into a part of each and one of both.
    half = code.distance // 2 * distance
    ours, theirs = _without(left, half), _without(right, half)
    base, most = left.base + right.base, min(spare, len(left.best) + len(right.best) - 2)
    between = [half * (base + extra) ** 2 for extra in range(most + 1)]
    if not left.second:
        sums = map(add, _least_sums(ours.best, theirs.best, most), between)
        return _Table(base, list(sums), [])
    both = [two_least(code, _all_sums(ours, theirs, extra)) for extra in range(most + 1)]
    return _Table(
        base,
        [least + more for (least, _), more in zip(both, between, strict=True)],
        [None if next_ is None else next_ + more for (_, next_), more in zip(both, between, strict=True)],
    )


def _least_sums(left: list[int], right: list[int], most: int) -> Iterator[int]:
    """For each number up to `most` the least sum of one of each list whose places add up to it."""
    backwards, last = right[::-1], len(right) - 1
    for total in range(most + 1):
        first = max(0, total - last)
        yield min(map(add, left[first : total + 1], backwards[last - total + first :]))


def _all_sums(left: _Table, right: _Table, total: int) -> Iterator[int]:
    for place in range(max(0, total - len(right.best) + 1), min(total, len(left.best) - 1) + 1):
        for one in (left.best[place], left.second[place]):
            for other in (right.best[total - place], right.second[total - place]):
                if one is not None and other is not None:
                    yield one + other


def _without(table: _Table, half: int) -> _Table:
    squares = [half * (table.base + extra) ** 2 for extra in range(len(table.best))]
    second = zip(table.second, squares, strict=False)
    return _Table(
        table.base,
        [value - square for value, square in zip(table.best, squares, strict=True)],
        [None if value is None else value - square for value, square in second],
    )


def _from_tops(
    code: Code, graph: Graph, demand: Demand, tables: Sequence[_Table], budget: int
) -> Found | None:
    spare = demand.size - sum(demand.least)
    if len(graph.tops) == 1:
        only = tables[graph.tops[0]]
        return _found(code, only.best[spare], only.second[spare] if only.second else None, exact=True)
    unsplit = _unsplit(graph, demand)
    parts = [
        Part(
            base=tables[top].base,
            best=tuple(tables[top].best),
            second=tuple(tables[top].second),
            unsplit=_ANY if tables[top].second else unsplit[top],
            hive=hive,
        )
        for top, hive in zip(graph.tops, graph.top_hives, strict=True)
    ]
    open_hives = {hive for hive in graph.top_hives if hive is not None and demand.whole_hives[hive]}
    branching = Search(code, parts, graph.between, frozenset(open_hives), budget)
    branching.run(spare)
    if branching.best is None:
        return None
    return _found(code, branching.best, branching.second, exact=branching.exact)


def _unsplit(graph: Graph, demand: Demand) -> list[int]:
    """For each module a bit for each number of devices that uses every GPU as much, or as little, as may be.

    Of two GPUs half used, one can always give to the other at a gain: no best choice has two.
    """
    masks = [1 | 1 << most - least for least, most in zip(demand.least, demand.most, strict=True)]
    for join in graph.joins:
        mask = 0
        for count in range(masks[join.right].bit_length()):
            if masks[join.right] >> count & 1:
                mask |= masks[join.left] << count
        masks.append(mask)
    return masks


def _found(code: Code, best: int, second: int | None, *, exact: bool) -> Found:
    return Found(code.score(best), None if second is None else code.score(second), exact)


_ANY = -1

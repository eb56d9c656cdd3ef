"""The search by counts, against all counts there are, on graphs regular and not."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amdgpu_plugin.allocation.graph import graph_of
from amdgpu_plugin.allocation.search import Demand, Found, search
from amdgpu_plugin.allocation.values import Score

ENOUGH = 10**9


def square(count: int, far: Sequence[int]) -> list[list[int]]:
    """A matrix of the distances of all pairs, given in their order."""
    rows = [[0] * count for _ in range(count)]
    for (a, b), distance in zip(combinations(range(count), 2), far, strict=True):
        rows[a][b] = rows[b][a] = distance
    return rows


def all_scores(rows: Sequence[Sequence[int]], hives: Sequence[str | None], demand: Demand) -> Iterator[Score]:
    names = sorted({hive for hive in hives if hive is not None})
    ranges = (range(least, most + 1) for least, most in zip(demand.least, demand.most, strict=True))
    for counts in product(*ranges):
        if sum(counts) == demand.size:
            untouched = {
                hive: not any(count for count, own in zip(counts, hives, strict=True) if own == hive)
                for hive in names
            }
            yield Score(
                sum(counts[a] * counts[b] * rows[a][b] for a, b in combinations(range(len(counts)), 2)),
                sum(whole and not count for whole, count in zip(demand.whole_gpus, counts, strict=True)),
                sum(whole and untouched[hive] for hive, whole in zip(names, demand.whole_hives, strict=True)),
                counts,
            )


def order(score: Score) -> tuple[int, int, int, tuple[int, ...]]:
    """Lower is better; of equals, the one that takes more of the lower GPUs."""
    return (
        score.cost,
        -score.gpus_left_whole,
        -score.hives_left_whole,
        tuple(-count for count in score.counts),
    )


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[list[int]], list[str | None], Demand]:
    count = draw(st.integers(1, 5))
    few = draw(st.lists(st.sampled_from([100, 110, 200, 400, 500, 1000]), min_size=1, max_size=6))
    pairs = count * (count - 1) // 2
    rows = square(count, draw(st.lists(st.sampled_from(few), min_size=pairs, max_size=pairs)))
    hives = draw(st.lists(st.sampled_from([None, "a", "b"]), min_size=count, max_size=count))
    bounds = [sorted(draw(st.tuples(st.integers(0, 1), st.integers(0, 3)))) for _ in range(count)]
    least, most = (tuple(bound[end] for bound in bounds) for end in (0, 1))
    demand = Demand(
        size=draw(st.integers(sum(least), sum(most))),
        least=least,
        most=most,
        whole_gpus=tuple(draw(st.booleans()) for _ in range(count)),
        whole_hives=tuple(draw(st.booleans()) for _ in {hive for hive in hives if hive}),
    )
    return rows, hives, demand


@settings(max_examples=300)
@given(problems())
def test_best_and_runner_up_are_those_of_trying_all(
    problem: tuple[list[list[int]], list[str | None], Demand],
) -> None:
    rows, hives, demand = problem
    scores = sorted(all_scores(rows, hives, demand), key=order)
    worse = (score for score in scores if order(score)[:3] != order(scores[0])[:3])
    graph = graph_of(rows, hives)
    assert search(graph, demand, budget=ENOUGH) == Found(scores[0], None, exact=True)
    found = search(graph, demand, budget=ENOUGH, runner_up=True)
    assert found == Found(scores[0], next(worse, None), exact=True)


def no_regularity(count: int, random: Random) -> list[list[int]]:
    return square(count, [random.choice([100, 110, 120, 230, 240]) for _ in range(count * (count - 1) // 2)])


def asked(count: int, devices: int, random: Random) -> Demand:
    most = tuple(random.randint(0, devices) for _ in range(count))
    return Demand(
        size=random.randint(1, max(1, sum(most) * 3 // 4)),
        least=(0,) * count,
        most=(devices, *most[1:]),
        whole_gpus=tuple(number == devices for number in most),
        whole_hives=(False,),
    )


@pytest.mark.parametrize(("count", "devices", "budget"), [(8, 1, 500), (16, 1, 3000), (8, 8, 14_000)])
def test_where_nothing_is_regular_the_search_is_short(count: int, devices: int, budget: int) -> None:
    random = Random(count)
    graph = graph_of(no_regularity(count, random), ["a"] * count)
    assert len(graph.tops) == count
    for _ in range(10):
        found = search(graph, asked(count, devices, random), budget=budget)
        assert found is not None
        assert found.exact


def test_of_irregular_gpus_no_two_need_be_half_used() -> None:
    random = Random(3)
    for _ in range(30):
        rows = no_regularity(4, random)
        demand = asked(4, 4, random)
        found = search(graph_of(rows, ["a"] * 4), demand, budget=ENOUGH)
        assert found == Found(min(all_scores(rows, ["a"] * 4, demand), key=order), None, exact=True)


def test_when_the_budget_ends_the_best_found_is_answered_as_not_exact() -> None:
    random = Random(5)
    rows = no_regularity(12, random)
    demand = Demand(6, (0,) * 12, (1,) * 12, (True,) * 12, (False,))
    graph = graph_of(rows, ["a"] * 12)
    full, brief = search(graph, demand, budget=ENOUGH), search(graph, demand, budget=1500)
    assert full is not None
    assert brief is not None
    assert (full.exact, brief.exact, sum(brief.best.counts)) == (True, False, 6)
    assert brief.best.cost >= full.best.cost


def test_looking_for_a_runner_up_does_not_change_the_answer() -> None:
    random = Random(5)
    graph = graph_of(no_regularity(12, random), ["a"] * 12)
    demand = Demand(6, (0,) * 12, (1,) * 12, (True,) * 12, (False,))
    for budget in (*range(3000, 9000, 500), ENOUGH):
        alone = search(graph, demand, budget=budget)
        beside = search(graph, demand, budget=budget, runner_up=True)
        assert alone is not None
        assert beside is not None
        assert replace(beside, runner_up=None) == alone


def test_a_budget_that_reaches_nothing_answers_nothing() -> None:
    regular = graph_of(square(3, [100] * 3), ["a"] * 3)
    demand = Demand(2, (0,) * 3, (1,) * 3, (True,) * 3, (True,))
    assert search(regular, demand, budget=1) is None
    irregular = graph_of(square(4, [100, 200, 300, 110, 210, 310]), ["a"] * 4)
    of_four = Demand(2, (0,) * 4, (1,) * 4, (True,) * 4, (True,))
    assert search(irregular, of_four, budget=1) is None


@pytest.mark.parametrize(("size", "least", "most"), [(4, (0, 0), (1, 2)), (1, (1, 1), (2, 2)), (1, (), ())])
def test_what_cannot_be_met_is_no_choice(size: int, least: tuple[int, ...], most: tuple[int, ...]) -> None:
    graph = graph_of(square(len(least), [100] * (len(least) // 2)), [None] * len(least))
    assert search(graph, Demand(size, least, most, (False,) * len(least), ()), budget=ENOUGH) is None

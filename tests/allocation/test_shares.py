import pytest

from amdgpu_plugin.allocation.shares import Shares, Spread, Supply, shares


@pytest.mark.parametrize(
    ("supplies", "size", "spread", "expected"),
    [
        ([Supply(1, 0, 0)] * 3, 2, "distinct", Shares((0, 0, 0), frozenset({0, 1, 2}))),
        ([Supply(1, 0, 0)] * 3, 3, "distinct", Shares((1, 1, 1), frozenset())),
        ([Supply(1, 1, 0), *[Supply(1, 0, 0)] * 2], 2, "distinct", Shares((1, 0, 0), frozenset({1, 2}))),
        ([Supply(2, 0, 0)] * 2, 3, "distinct", Shares((1, 1), frozenset({0, 1}))),
        ([Supply(2, 2, 0), Supply(2, 0, 0)], 3, "distinct", Shares((2, 1), frozenset())),
        ([Supply(3, 2, 0), Supply(3, 0, 0)], 4, "distinct", Shares((2, 2), frozenset())),
        (
            [Supply(1, 0, 3), Supply(3, 0, 1), Supply(3, 0, 1)],
            1,
            "distinct",
            Shares((0, 0, 0), frozenset({1, 2})),
        ),
        (
            [Supply(1, 0, 3), Supply(3, 0, 1), Supply(3, 0, 1)],
            2,
            "packed",
            Shares((1, 0, 0), frozenset({1, 2})),
        ),
        ([Supply(1, 0, 3), Supply(3, 0, 1), Supply(3, 0, 1)], 5, "packed", Shares((1, 2, 2), frozenset())),
    ],
)
def test_distinct_devices_first_and_then_by_how_shared_they_are(
    supplies: list[Supply], size: int, spread: Spread, expected: Shares
) -> None:
    assert shares(supplies, size, spread) == expected

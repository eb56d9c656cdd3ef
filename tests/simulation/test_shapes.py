import pytest

from amdgpu_plugin.simulation.shapes import SHAPE_NAMES, Shape, ShapeError, board_of, modes_of, parse_shape


def test_name_alone_is_a_full_board_and_a_single_radeon() -> None:
    assert {name: parse_shape(name).count for name in SHAPE_NAMES} == {
        "mi300x": 8,
        "mi300x-cpx": 8,
        "mi300x-dpx": 8,
        "mi210": 8,
        "mi250x": 8,
        "mi300a": 4,
        "radeon": 1,
        "apu": 1,
        "mixed": 8,
    }


def test_count_follows_a_colon() -> None:
    assert parse_shape("mi300x-cpx:3") == Shape("mi300x-cpx", 3)
    assert str(parse_shape("radeon")) == "radeon:1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mi300y",
        "MI300X",
        "mi300x:",
        "mi300x:0",
        "mi300x:9",
        "mi300x:-1",
        "mi300x: 4",
        "mi300x:04",
        "mi300x:٤",
        "mi300x:4:4",
        "mi300x:many",
        "mi300a:5",
        "apu:2",
        "mixed:1",
        f"mi300x:{'9' * 5000}",
    ],
)
def test_error_quotes_the_text_and_lists_the_shapes(text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        parse_shape(text)
    assert repr(text) in str(caught.value)
    assert ", ".join(SHAPE_NAMES) in str(caught.value)


def test_bad_count_says_what_the_shape_can_have() -> None:
    with pytest.raises(ShapeError, match=r"mixed has 2 to 8 GPUs"):
        parse_shape("mixed:1")
    with pytest.raises(ShapeError, match=r"apu has 1 GPU;"):
        parse_shape("apu:2")


def test_mixed_is_half_whole_and_half_partitioned() -> None:
    assert modes_of(Shape("mixed", 5)) == ("SPX", "SPX", "SPX", "CPX", "CPX")
    assert modes_of(Shape("mi210", 2)) == (None, None)


def test_fewer_gpus_leave_no_trace_of_the_empty_slots() -> None:
    board = board_of(Shape("mi210", 5))
    assert [slot.address for slot in board.slots] == [
        "0000:63:00.0",
        "0000:43:00.0",
        "0000:03:00.0",
        "0000:26:00.0",
        "0000:e3:00.0",
    ]
    assert dict(board.hives) == {12609507387757274807: (0, 1, 2, 3)}
    assert set(board.xgmi_links) == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_every_count_of_a_hive_is_connected() -> None:
    for count in range(2, 9):
        board = board_of(Shape("mi250x", count))
        assert max(board.xgmi_hops(0, other) for other in range(count)) <= 2

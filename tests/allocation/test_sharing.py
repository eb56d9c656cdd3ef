from hypothesis import given
from hypothesis import strategies as st

from amdgpu_plugin.allocation.sharing import replicas_by_device, shared_with_itself

A, B, PART = "0000:05:00.0", "0000:27:00.0", "0000:05:00.0-cpx3"
SERVED = st.builds(
    lambda device, number: device if number is None else f"{device}::{number}",
    st.sampled_from([A, B, PART]),
    st.none() | st.integers(0, 3),
)


def test_replicas_are_told_by_device_in_the_order_asked_for() -> None:
    assert replicas_by_device([f"{B}::1", f"{A}::0", PART, f"{B}::0", f"{B}::1"]) == {
        B: (f"{B}::1", f"{B}::0"),
        A: (f"{A}::0",),
        PART: (PART,),
    }


def test_ids_of_one_device_are_named() -> None:
    assert shared_with_itself([f"{A}::0", f"{B}::2", f"{A}::3", f"{PART}::0"]) == (f"{A}::0", f"{A}::3")


def test_the_same_id_twice_is_no_sharing() -> None:
    assert shared_with_itself([f"{A}::0", f"{A}::0"]) == ()


@given(st.lists(SERVED))
def test_each_id_belongs_to_one_device_and_is_told_once(served_ids: list[str]) -> None:
    found = replicas_by_device(served_ids)
    assert sorted(each for ids in found.values() for each in ids) == sorted(set(served_ids))
    assert all(each.split("::")[0] == device for device, ids in found.items() for each in ids)

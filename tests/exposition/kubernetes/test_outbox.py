from amdgpu_plugin.exposition.kubernetes.bucket import Bucket
from amdgpu_plugin.exposition.kubernetes.event import Event
from amdgpu_plugin.exposition.kubernetes.outbox import Outbox
from amdgpu_plugin.exposition.kubernetes.standing import Subject
from amdgpu_plugin.exposition.kubernetes.story import Change
from tests.exposition.states import A


def made(namespace: str = "", pod: str = "") -> Event:
    return Event(Change(Subject(A, "Hot", namespace, pod), "raised", None, 0.0, 0.0), {}, 0.0)


def test_oldest_first_and_kept_until_done() -> None:
    box, (one, two) = Outbox(), (made(), made())
    box.put(one)
    box.put(two)
    assert box.next(0) is one
    assert box.next(0) is one
    box.done(one)
    assert box.next(0) is two
    box.done(two)
    assert (box.next(0), len(box)) == (None, 0)


def test_too_many_cost_the_oldest() -> None:
    box, all_made = Outbox(limit=3), [made() for _ in range(5)]
    for each in all_made:
        box.put(each)
    assert (box.dropped, [id(each) for each in box.waiting]) == (2, [id(each) for each in all_made[2:]])
    box.done(all_made[0])
    assert len(box) == 3


def test_held_way_lets_others_pass_until_its_time_is_over() -> None:
    box, of_node, of_pod, other = Outbox(), made(), made("default", "train"), made("team", "train")
    for each in (of_node, of_pod, other):
        box.put(each)
    box.hold(of_node, until=300)
    assert box.next(10) is of_pod
    box.hold(of_pod, until=400)
    assert box.next(10) is other
    box.done(other)
    assert box.next(10) is None
    assert box.next(300) is of_node


def test_bucket_gives_a_burst_and_then_one_at_a_time() -> None:
    bucket = Bucket(2, 10.0)
    taken = []
    for second in (0, 0, 0, 9, 10, 10, 19, 20, 100, 100, 100):
        taken.append(bucket.has(second))
        if taken[-1]:
            bucket.take(second)
    assert taken == [True, True, False, False, True, False, False, True, True, True, False]


def test_bucket_is_full_again_in_the_end() -> None:
    bucket = Bucket(2, 10.0)
    bucket.take(5)
    assert [bucket.is_full(second) for second in (5, 14, 15, 1000)] == [False, False, True, True]

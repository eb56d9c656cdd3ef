"""When a change counts as one that no kernel event told of."""

import pytest

from amdgpu_plugin.health.hearing import AFTER_SECONDS, BEFORE_SECONDS, Hearing
from amdgpu_plugin.telemetry.presence import Bound, Gone, NotSeen, Presence, Unbound

A, B = "0000:05:00.0", "0000:27:00.0"
BOUND, UNBOUND, GONE, UNSEEN = Bound("devices/x", "SPX"), Unbound(None), Gone(), NotSeen("EIO")


def after(*steps: tuple[float, str | Presence]) -> int:
    """What is missed at last of GPU A. Words are `heard`, `lost` and `deaf`."""
    hearing, counted = Hearing(), 0
    for now, step in steps:
        match step:
            case "heard":
                hearing.heard(A, now)
            case "other heard":
                hearing.heard(B, now)
            case "lost":
                hearing.lost(now)
            case "deaf":
                hearing.deafened()
            case Bound() | Unbound() | Gone() | NotSeen():
                hearing.seen(A, step, now)
        counted += hearing.passed(now)
    counted += hearing.passed(1000.0 + AFTER_SECONDS)
    assert counted == hearing.missed
    return counted


@pytest.mark.parametrize(
    ("steps", "missed"),
    [
        ([(0, BOUND), (5, UNBOUND)], 1),
        ([(0, BOUND), (5, GONE), (6 + AFTER_SECONDS, GONE), (500, BOUND)], 2),
        ([(0, BOUND), (5, "heard"), (5, UNBOUND)], 0),
        ([(0, BOUND), (5, UNBOUND), (5.003, "heard")], 0),
        ([(0, BOUND), (5, UNBOUND), (5 + AFTER_SECONDS - 0.1, "heard")], 0),
        ([(0, BOUND), (5, UNBOUND), (5 + AFTER_SECONDS, UNBOUND), (6 + AFTER_SECONDS, "heard")], 1),
        # a probe takes its time: the link is there from its begin, the event comes at its end
        ([(0, UNBOUND), (5, BOUND), (125, "heard")], 0),
        # and one that fails sends none
        ([(0, UNBOUND), (5, BOUND), (60, UNBOUND)], 0),
        ([(0, BOUND), (5, UNBOUND), (60, BOUND)], 1),
        ([(0, "heard"), (1, BOUND), (BEFORE_SECONDS, UNBOUND)], 0),
        ([(0, "heard"), (1, BOUND), (BEFORE_SECONDS + 0.1, UNBOUND)], 1),
        ([(0, BOUND), (5, "other heard"), (5, UNBOUND)], 1),
        ([(0, BOUND), (4, "lost"), (5, UNBOUND)], 0),
        ([(0, BOUND), (5, UNBOUND), (6, "lost")], 0),
        ([(0, BOUND), (4, "deaf"), (5, UNBOUND)], 0),
        ([(0, BOUND), (5, UNBOUND), (6, "deaf")], 0),
        ([(0, UNBOUND)], 0),
        ([(0, BOUND), (5, UNSEEN), (10, BOUND)], 0),
        ([(0, BOUND), (5, UNSEEN), (10, UNBOUND)], 1),
        ([(0, BOUND), (5, Bound("devices/x", "CPX"))], 0),
        ([(0, UNBOUND), (5, Unbound("vfio-pci"))], 0),
    ],
)
def test_a_change_is_missed_when_no_event_told_of_it_in_time(
    steps: list[tuple[float, str | Presence]], missed: int
) -> None:
    assert after(*steps) == missed

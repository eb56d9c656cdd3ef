from dataclasses import replace

import pytest

from amdgpu_plugin.discovery.inventory import Skipped
from amdgpu_plugin.exposition.readiness import Readiness, readiness
from amdgpu_plugin.exposition.snapshot import Registration
from tests.exposition.states import CPX, GPU, REGISTERED, UNBOUND, A, B, node, partitioned, shot, whole

LOST = Registration(
    registered=False, streams=0, phase="not registered", detail="the ListAndWatch stream was lost"
)


def test_ready_when_every_resource_has_a_live_stream() -> None:
    both = shot(node(whole(A), *partitioned(B, 1)))
    assert readiness(both) == Readiness(True, (f"{CPX}: registered", f"{GPU}: registered"))


@pytest.mark.parametrize(
    ("registration", "reason"),
    [
        (LOST, "not registered: the ListAndWatch stream was lost"),
        (replace(REGISTERED, streams=0), "registered, without a stream"),
        (
            Registration(
                False, 0, "waiting: another plugin serves this resource", "amd.com_gpu answers", True
            ),
            "waiting: another plugin serves this resource: amd.com_gpu answers",
        ),
    ],
)
def test_not_ready_when_one_resource_is_not_and_why(registration: Registration, reason: str) -> None:
    registrations = {GPU: registration, CPX: REGISTERED}
    found = readiness(shot(node(whole(A), *partitioned(B, 1)), registrations=registrations))
    assert found == Readiness(False, (f"{CPX}: registered", f"{GPU}: {reason}"))


def test_not_ready_before_a_resource_has_a_registration() -> None:
    found = readiness(shot(node(whole()), registrations={}))
    assert found == Readiness(False, (f"{GPU}: not started",))


def test_unhealthy_devices_are_no_reason() -> None:
    assert readiness(shot(node(replace(whole(), verdict=UNBOUND)))).ready


def test_ready_when_there_is_nothing_to_serve() -> None:
    state = node()
    skipped = (Skipped("class/drm/card0", "not an amdgpu device"),)
    with_skipped = replace(state, inventory=replace(state.inventory, skipped=skipped))
    assert readiness(shot(with_skipped)) == Readiness(
        True, ("nothing to serve: no GPU to offer was found (1 skipped)",)
    )

"""GetPreferredAllocation beyond what is answered: off the loop, explained, by the operator's spread."""

import logging
import threading
from typing import Any

import pytest

from amdgpu_plugin.allocation.preference import Choice, NoPreference, prefer
from amdgpu_plugin.kubelet import service as service_module
from amdgpu_plugin.kubelet.service import DevicePluginService
from amdgpu_plugin.node import Latest
from tests.kubelet.test_service import PAIRS, Served, asked, ids, paired_gpus, served
from tests.kubelet.worlds import GPU, GUARD_SECONDS, device, device_plugin, lines, state


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every choice took long."""
    monkeypatch.setattr(service_module, "prefer_at_once", lambda *_, **__: None)


@pytest.mark.usefixtures("slow")
async def test_what_takes_long_is_weighed_off_the_loop(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def noted(*args: Any, **kwargs: Any) -> Choice | NoPreference:
        threads.append(threading.current_thread().name)
        return prefer(*args, **kwargs)

    threads: list[str] = []
    monkeypatch.setattr(service_module, "prefer", noted)
    async with served(directory, state(*paired_gpus(), links=PAIRS)) as plugin:
        assert await plugin.prefer(asked(2), asked(99)) == [ids(1, 3), []]
    assert threads == [f"preference {GPU}"] * 2


@pytest.mark.usefixtures("slow")
async def test_what_takes_too_long_gets_an_empty_preference(
    directory: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    released = threading.Event()
    monkeypatch.setattr(service_module, "prefer", lambda *_, **__: released.wait(GUARD_SECONDS))
    monkeypatch.setattr(service_module, "_PREFERENCE_SECONDS", 0.0)
    try:
        async with served(directory, state(*paired_gpus())) as plugin:
            assert await plugin.prefer(asked(2)) == [[]]
    finally:
        released.set()
    (record,) = lines(caplog, service_module.log)
    assert record.message == "no preference"
    assert record.__dict__["fields"] == {"resource": GPU, "reason": "no answer in 0 s"}


async def test_what_was_weighed_is_in_the_debug_log(directory: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, service_module.log.name)
    async with served(directory, state(*paired_gpus(), links=PAIRS)) as plugin:
        await plugin.prefer(asked(2))
    (record,) = lines(caplog, service_module.log)
    assert record.message == "preferred"
    assert record.__dict__["fields"] == {
        "resource": GPU,
        "devices": "0000:01:00.0,0000:03:00.0",
        "why": "on 2 GPUs, joined by 1 × XGMI weight 15; NUMA node 0; total distance 100: no choice has less; "
        "leaves 2 GPUs whole; next best: total distance 400",
    }


async def test_replicas_are_spread_as_the_operator_says(directory: str) -> None:
    free = ["0000:01:00.0::1", "0000:02:00.0::0", "0000:02:00.0::1"]
    node = Latest(state(device(1, replicas=2), device(2, replicas=2)))
    service = DevicePluginService(GPU, node, simulated=False, spread="packed")
    async with device_plugin(f"{directory}/plugin.sock", service) as stub:
        assert await Served(service, node, stub).prefer(asked(1, free)) == [["0000:01:00.0::1"]]
    async with served(directory, node.value) as plugin:
        assert await plugin.prefer(asked(1, free)) == [["0000:02:00.0::0"]]

import asyncio
import shutil
import socket
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amdgpu_plugin import control
from amdgpu_plugin.control import (
    ControlError,
    ControlServer,
    ack_handler,
    ask,
    inject_handler,
    status_handler,
)
from amdgpu_plugin.health.evidence import Acknowledged
from amdgpu_plugin.node import Condition, GpuStatus, Latest
from amdgpu_plugin.simulation.node import SimulatedNode
from tests.exposition.states import A, B, largest


async def echo(request: Mapping[str, Any]) -> str:
    if request.get("refuse"):
        raise ControlError("no")
    return f"heard {request.get('word')}"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a file has no event to wait for
            await asyncio.sleep(0)


@asynccontextmanager
async def serving(server: ControlServer, state_dir: Path) -> AsyncIterator[None]:
    running = asyncio.create_task(server.run())
    await until((state_dir / control.SOCKET).exists)
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


async def asked(state_dir: Path, **request: object) -> str:
    return await asyncio.to_thread(ask, str(state_dir), request)


async def test_a_request_is_answered_and_the_socket_is_private_and_goes(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "when" / "missing"
    async with serving(ControlServer(str(directory), {"echo": echo}), directory):
        assert await asked(directory, verb="echo", word="this") == "heard this"
        assert stat.S_IMODE((directory / control.SOCKET).stat().st_mode) == 0o600
    assert list(directory.iterdir()) == []


async def test_status_is_told_as_it_was_rendered(tmp_path: Path) -> None:
    async def rendered() -> bytes:
        return b'{"revision": 7}'

    async with serving(ControlServer(str(tmp_path), {"status": status_handler(rendered)}), tmp_path):
        told: object = await asked(tmp_path, verb="status")
    assert told == {"revision": 7}


async def test_a_status_that_is_not_rendered_in_time_is_refused_and_says_so(tmp_path: Path) -> None:
    async def late() -> bytes:
        raise TimeoutError("no answer in 5 s")

    async with serving(ControlServer(str(tmp_path), {"status": status_handler(late)}), tmp_path):
        with pytest.raises(ControlError, match="the answer is not ready in time: no answer in 5 s"):
            await asked(tmp_path, verb="status")


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"verb": "echo", "refuse": True}, "no"),
        ({"verb": "reboot"}, "unknown verb; this daemon knows echo"),
        ({}, "unknown verb"),
        ({"verb": "inject"}, "this daemon's GPUs are real"),
    ],
)
async def test_a_refusal_says_why(tmp_path: Path, request_: dict[str, object], said: str) -> None:
    async with serving(ControlServer(str(tmp_path), {"echo": echo}), tmp_path):
        with pytest.raises(ControlError, match=said):
            await asked(tmp_path, **request_)


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b"{\n",
        b"\xff\n",
        b"x" * 200_000 + b"\n",
        b'{"verb": []}\n',
        b"[" * 60_000 + b"\n",
    ],
)
async def test_nonsense_is_answered_or_dropped_and_harms_nobody(tmp_path: Path, line: bytes) -> None:
    async with serving(ControlServer(str(tmp_path), {"echo": echo}), tmp_path):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / control.SOCKET))
        writer.write(line)
        answer = await reader.read()
        assert answer == b"" or answer.startswith(b'{"error": ')
        writer.close()
        assert await asked(tmp_path, verb="echo", word="still here") == "heard still here"


async def test_whenever_it_is_ended_no_socket_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(function: Callable[[str], str | None], path: str) -> str | None:
        return function(path)

    monkeypatch.setattr(asyncio, "to_thread", at_once)
    for turns in range(8):
        serving = asyncio.create_task(ControlServer(str(tmp_path), {}).run())
        for _ in range(turns):
            await asyncio.sleep(0)
        serving.cancel()
        await asyncio.wait([serving])
        assert not list(tmp_path.iterdir()), f"ended after {turns} turns of the loop"


async def test_a_dead_daemons_socket_is_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / control.SOCKET))
    socket_file = tmp_path / control.SOCKET
    before = socket_file.stat().st_ctime_ns

    def is_anew() -> bool:
        try:
            return socket_file.stat().st_ctime_ns != before
        except FileNotFoundError:
            return False

    running = asyncio.create_task(ControlServer(str(tmp_path), {"echo": echo}).run())
    await until(is_anew)
    assert await asked(tmp_path, verb="echo", word="anew") == "heard anew"
    running.cancel()
    await asyncio.wait([running])


async def test_a_socket_that_is_deleted_with_its_directory_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "RETRY_SECONDS", 0.01)
    directory = tmp_path / "state"
    async with serving(ControlServer(str(directory), {"echo": echo}), directory):
        for _ in range(2):
            shutil.rmtree(directory)
            await until((directory / control.SOCKET).exists)
        assert await asked(directory, verb="echo", word="again") == "heard again"
        assert [record.message for record in caplog.records] == ["the control socket was taken away"] * 2


async def test_a_socket_that_another_daemon_put_in_place_of_ours_is_left_to_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "RETRY_SECONDS", 0.01)

    async def other_echo(_request: Mapping[str, Any]) -> str:
        return "other"

    async with serving(ControlServer(str(tmp_path), {"echo": echo}), tmp_path):
        assert await asked(tmp_path, verb="echo", word="ours") == "heard ours"
        serve = ControlServer(str(tmp_path), {"echo": other_echo})._serve
        other = await asyncio.start_unix_server(serve, tmp_path / "other.sock")
        (tmp_path / "other.sock").rename(tmp_path / control.SOCKET)
        await until(lambda: "no control socket" in caplog.messages)
        assert await asked(tmp_path, verb="echo") == "other"
        other.close()


async def test_the_socket_belongs_to_the_first_live_daemon(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(ControlServer(str(tmp_path), {"echo": echo}), tmp_path):
        second = asyncio.create_task(ControlServer(str(tmp_path), {}).run())
        await until(lambda: bool(caplog.records))
        second.cancel()
        await asyncio.wait([second])
        assert [record.message for record in caplog.records] == ["no control socket"]
        assert await asked(tmp_path, verb="echo", word="first") == "heard first"


async def test_the_second_daemon_gets_the_socket_when_the_first_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "RETRY_SECONDS", 0.01)

    async def second_echo(_request: Mapping[str, Any]) -> str:
        return "second"

    async with serving(ControlServer(str(tmp_path), {"echo": echo}), tmp_path):
        second = asyncio.create_task(ControlServer(str(tmp_path), {"echo": second_echo}).run())
        await until(lambda: bool(caplog.records))
    await until((tmp_path / control.SOCKET).exists)
    assert await asked(tmp_path, verb="echo") == "second"
    assert [record.message for record in caplog.records] == ["no control socket"]
    second.cancel()
    await asyncio.wait([second])


@pytest.mark.parametrize("make", ["touch", "mkdir"])
async def test_what_is_no_socket_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, make: str
) -> None:
    getattr(tmp_path / control.SOCKET, make)()
    running = asyncio.create_task(ControlServer(str(tmp_path), {"echo": echo}).run())
    await until(lambda: bool(caplog.records))
    running.cancel()
    await asyncio.wait([running])
    assert (tmp_path / control.SOCKET).exists()
    assert not (tmp_path / control.SOCKET).is_socket()


def test_no_daemon_is_said_with_what_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match=r"control.sock .*is a daemon running here"):
        ask(str(tmp_path), {"verb": "echo"})


@pytest.mark.parametrize(
    ("what", "device", "said"),
    [
        ("explode", "0000:03:00.0", "cannot inject 'explode'; there are unbind, bind, remove, add"),
        ("unbind", "0000:99:00.0", "no GPU '0000:99:00.0' here; there are 0000:03:00.0"),
        ("repartition=CPX", "0000:03:00.0", "cannot be partitioned"),
        ("unbind", "0000:03:00.01", "no GPU"),
    ],
)
async def test_inject_refuses_what_cannot_be_done(tmp_path: Path, what: str, device: str, said: str) -> None:
    handle = inject_handler(SimulatedNode.create(tmp_path, "radeon"))
    with pytest.raises(ControlError, match=said):
        await handle({"device": device, "what": what})


def acks(
    acknowledge: Callable[[str, Acknowledged], None],
    in_force: Mapping[str, tuple[str, ...]],
    stands: tuple[str, str] | None = None,
) -> control.Handler:
    """The handler on a node of MI300X with these conditions and no other."""
    statuses = {
        address: GpuStatus(tuple(Condition(name, "", "control", 1.0, "inform", held=True) for name in names))
        for address, names in in_force.items()
    }
    node = Latest(replace(largest().state, statuses=statuses))
    return ack_handler(node, acknowledge, lambda: 0.0, stands=lambda *asked: asked == stands)


@pytest.mark.parametrize(
    ("in_force", "told"),
    [
        ({B: ("Wedged", "Hot"), A: ("BusError",)}, f"{A} BusError, {B} Wedged"),
        ({B: ("Hot",)}, "none that can be acknowledged"),
        (
            {f"0000:{bus:02x}:00.0": ("Wedged",) for bus in range(0x10, 0x1A)},
            ", ".join([*(f"0000:{bus:02x}:00.0 Wedged" for bus in range(0x10, 0x18)), "2 more"]),
        ),
    ],
)
async def test_ack_refuses_what_is_not_in_force_and_names_what_is(
    in_force: Mapping[str, tuple[str, ...]], told: str
) -> None:
    words: list[Acknowledged] = []
    handle = acks(lambda _, word: words.append(word), in_force)
    with pytest.raises(ControlError) as refused:
        await handle({"device": A, "condition": "Wedged"})
    assert (str(refused.value), words) == (
        f"{A} has no Wedged: nothing to acknowledge (in force: {told})",
        [],
    )


async def test_ack_takes_a_word_anew_where_the_one_before_hides_the_condition() -> None:
    words: list[tuple[str, Acknowledged]] = []
    handle = acks(lambda *word: words.append(word), {}, stands=(A, "BadPageThreshold"))
    await handle({"device": A, "condition": "BadPageThreshold", "seconds": 60})
    assert words == [(A, Acknowledged("BadPageThreshold", "", 60.0))]


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("x" * 201, "the reason has 201 characters, at most 200 are kept: make it shorter, or name a ticket"),
        ("one\ntwo", "the reason must be one line of printable characters"),
        ("\ud800", "the reason must be one line of printable characters"),
    ],
)
async def test_ack_refuses_reasons_that_would_fill_logs_and_pages(reason: str, said: str) -> None:
    words: list[Acknowledged] = []
    handle = acks(lambda _, word: words.append(word), {A: ("Wedged",)})
    request = {"device": A, "condition": "wedged"}
    with pytest.raises(ControlError) as refused:
        await handle({**request, "reason": reason})
    assert (str(refused.value), words) == (said, [])
    await handle({**request, "reason": "x" * 200})
    assert words == [Acknowledged("Wedged", "x" * 200, None)]


@pytest.mark.parametrize("seconds", [-1, "ten", 1e9, True])
async def test_inject_refuses_odd_durations(tmp_path: Path, seconds: object) -> None:
    handle = inject_handler(SimulatedNode.create(tmp_path, "radeon"))
    with pytest.raises(ControlError, match="seconds must be"):
        await handle({"device": "0000:03:00.0", "what": "unbind", "seconds": seconds})


async def test_inject_does_it_and_undoes_it_in_time(tmp_path: Path) -> None:
    node = SimulatedNode.create(tmp_path, "mi300x:1")
    (address,) = node.addresses
    driver = Path(node.root, "bus/pci/drivers/amdgpu", address)
    handle = inject_handler(node)
    await handle({"device": f"{address}-cpx3", "what": "unbind"})
    assert not driver.exists()
    await handle({"device": address, "what": "bind"})
    assert await handle({"device": address, "what": "repartition=CPX", "seconds": 0}) == (
        f"repartition=CPX at {address}, for 0 s"
    )
    await until(lambda: node.mode_of(address) == "SPX")


async def test_clear_mends_one_gpu_and_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    node = SimulatedNode.create(tmp_path, "mi210:2")
    first, second = node.addresses
    handle = inject_handler(node)
    for address in (first, second):
        await handle({"device": address, "what": "unbind"})
    await handle({"device": first, "what": "clear"})
    bound = Path(node.root, "bus/pci/drivers/amdgpu")
    assert [(bound / address).exists() for address in (first, second)] == [True, False]


async def test_modes_may_be_written_in_lower_case(tmp_path: Path) -> None:
    node = SimulatedNode.create(tmp_path, "mi300x:1")
    await inject_handler(node)({"device": node.addresses[0], "what": "repartition=dpx"})
    assert node.mode_of(node.addresses[0]) == "DPX"

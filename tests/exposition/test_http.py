"""The listener as clients meet it, by their bytes: those who mean well, and the others."""

import asyncio
import contextlib
import socket

import pytest

from amdgpu_plugin.exposition.http import PIPELINED, HttpServer, Limits
from amdgpu_plugin.exposition.listening import bind
from amdgpu_plugin.exposition.messages import Request, Response, text
from tests.exposition.clients import GUARD_SECONDS, Client, hello, listening, port_of

GET = b"GET /x HTTP/1.1\r\nHost: here\r\n\r\n"
LARGE = b"0123456789abcdef" * 65536
NEVER = 3600.0


async def test_get_is_answered_with_its_headers() -> None:
    async with listening() as listener:
        client = await listener.connect()
        answered = await client.ask("/x?y=1")
    assert (answered.status, answered.body) == (200, b"hello /x\n")
    assert answered.headers.pop("date").endswith(" gmt")
    assert answered.headers == {
        "content-type": "text/plain; charset=utf-8",
        "content-length": "9",
        "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }


async def test_head_tells_the_length_and_sends_nothing() -> None:
    async with listening() as listener:
        client = await listener.connect()
        assert (await client.ask("/x", method="HEAD")).headers["content-length"] == "9"
        # what came after the head would be taken for the next answer
        assert (await client.ask("/y")).body == b"hello /y\n"


async def test_connection_is_kept_for_many_requests() -> None:
    async with listening() as listener:
        client = await listener.connect()
        assert [(await client.ask(f"/{number}")).body for number in range(3)] == [
            b"hello /0\n",
            b"hello /1\n",
            b"hello /2\n",
        ]


async def test_a_body_does_not_wait_for_the_head_to_be_acknowledged() -> None:
    """Nagle's algorithm off: with it each answer on a kept connection took 44 ms instead of 0.3."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(made) for made in bind("127.0.0.1", 0)]
        server = HttpServer(sockets, hello)
        task = asyncio.create_task(server.run())
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(sockets[0]))
        writer.write(GET)
        await reader.readuntil(b"hello /x\n")
        (connection,) = server._open
        accepted = connection.writer.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        writer.close()
        task.cancel()
        await asyncio.wait([task])


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with listening() as listener:
        client = await listener.connect()
        await client.send(b"".join(GET.replace(b"/x", b"/%d" % number) for number in range(20)))
        assert [(await client.answer()).body for _ in range(20)] == [b"hello /%d\n" % n for n in range(20)]


async def test_who_sends_thousands_ahead_gets_a_few_answers_and_an_end() -> None:
    async with listening() as listener:
        client = await listener.connect()
        await client.send(GET * 2000)
        answers = 0
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await client.answer()
                answers += 1
        assert answers <= PIPELINED + 1


@pytest.mark.parametrize("cut", [1, 5, 17, len(GET) - 1])
async def test_a_head_in_pieces_is_put_together(cut: int) -> None:
    async with listening() as listener:
        client = await listener.connect()
        await client.send(GET[:cut])
        await asyncio.sleep(0)
        await client.send(GET[cut:])
        assert (await client.answer()).body == b"hello /x\n"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://node:9400/metrics?a=b", "/metrics"),
        ("HTTP://node", "/"),
        ("//node/metrics", "//node/metrics"),
    ],
)
async def test_target_of_any_form_gives_its_path(target: str, path: str) -> None:
    async with listening() as listener:
        assert (await (await listener.connect()).ask(target)).body == f"hello {path}\n".encode()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "BREW", "get"])
async def test_other_methods_are_refused_with_those_allowed(method: str) -> None:
    async with listening() as listener:
        answered = await (await listener.connect()).ask("/x", method=method)
    assert (answered.status, answered.headers["allow"]) == (405, "get, head")


async def test_a_body_is_not_read_and_ends_the_connection_after_the_answer() -> None:
    async with listening() as listener:
        client = await listener.connect()
        answered = await client.ask("/x", method="POST", headers="Content-Length: 100000\r\n")
        await client.send(b"x" * 100_000)
        assert (answered.status, answered.headers["connection"]) == (405, "close")
        client.writer.write_eof()
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "asks", ["GET /x HTTP/1.0\r\n", "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"]
)
async def test_connection_ends_when_the_client_says_so(asks: str) -> None:
    async with listening() as listener:
        client = await listener.connect()
        await client.send(f"{asks}\r\n".encode())
        answered = await client.answer()
        assert (answered.status, answered.headers["connection"]) == (200, "close")
        assert await client.rest() == b""


async def test_an_upgrade_is_not_taken_up() -> None:
    async with listening() as listener:
        client = await listener.connect()
        answered = await client.ask("/x", headers="Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n")
    assert answered.status == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\n\r\n", 400),
        (b"GET  HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /x y HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /\xff\x00 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 431),
        (b"GET /x HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 10_000 + b"\r\n", 431),
        (b"x" * 100_000, 431),
        (b"GET /x HTT", 400),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else None,
)
async def test_nonsense_is_refused_with_why_and_the_next_client_is_served(sent: bytes, status: int) -> None:
    async with listening() as listener:
        client = await listener.connect()
        await client.send(sent)
        client.writer.write_eof()
        answered = await client.answer()
        assert (answered.status, answered.headers["connection"]) == (status, "close")
        assert await client.rest() == b""
        assert (await (await listener.connect()).ask("/x")).status == 200


async def test_http2_unasked_is_refused() -> None:
    async with listening() as listener:
        client = await listener.connect()
        await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (await client.answer()).status == 405


async def test_half_sent_head_is_told_so_when_its_time_is_over() -> None:
    async with listening(limits=Limits(head_seconds=0.02)) as listener:
        client = await listener.connect()
        await client.send(b"GET /x HT")
        answered = await client.answer()
    assert (answered.status, answered.headers["connection"]) == (408, "close")


async def test_dripping_head_has_no_more_time_than_a_silent_one() -> None:
    async with listening(limits=Limits(head_seconds=0.05)) as listener:
        client = await listener.connect()

        async def drip() -> None:
            for byte in b"GET /" + b"x" * 100_000:
                await client.send(bytes([byte]))
                await asyncio.sleep(0.001)

        dripping = asyncio.create_task(drip())
        assert (await client.answer()).status == 408
        dripping.cancel()
        await asyncio.wait([dripping])


@pytest.mark.parametrize("before", [b"", GET])
async def test_idle_connection_is_closed_without_a_word(before: bytes) -> None:
    async with listening(limits=Limits(idle_seconds=0.02)) as listener:
        client = await listener.connect()
        if before:
            await client.send(before)
            await client.answer()
        assert await client.rest() == b""


async def test_slow_reader_is_cut_off_and_delays_nobody() -> None:
    # more than the kernel's buffers take
    pieces = (LARGE,) * 64

    async def large(_request: Request) -> Response:
        return Response(200, pieces)

    async with listening(large, Limits(write_seconds=0.05)) as listener:
        slow = await listener.connect()
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await slow.send(GET.replace(b"Host", b"Connection: close\r\nHost"))
        other = await listener.connect()
        assert (await other.ask("/x", method="HEAD")).status == 200
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await slow.rest()) < len(LARGE) * len(pieces)


async def test_body_in_pieces_arrives_whole() -> None:
    async def large(_request: Request) -> Response:
        return Response(200, (LARGE, b"", b"end"))

    async with listening(large) as listener:
        assert (await (await listener.connect()).ask("/x")).body == LARGE + b"end"


async def test_a_fault_of_ours_is_a_500_and_no_end(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: Request) -> Response:
        if request.path == "/broken":
            raise ValueError("secret")
        return await hello(request)

    async with listening(broken) as listener:
        client = await listener.connect()
        answered = await client.ask("/broken")
        assert (answered.status, b"secret" in answered.body) == (500, False)
        assert (await client.ask("/x")).status == 200
    assert [record.message for record in caplog.records] == ["a fault of ours"]


async def test_a_page_that_never_comes_is_a_503() -> None:
    async def never(_request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with listening(never, Limits(answer_seconds=0.02)) as listener:
        assert (await (await listener.connect()).ask("/x")).status == 503


async def test_page_gets_all_accept_headers() -> None:
    async def told(request: Request) -> Response:
        return text(200, request.accept)

    async with listening(told) as listener:
        client = await listener.connect()
        assert (
            await client.ask("/x", headers="Accept: a/b\r\naccept: c/d;q=0.5\r\n")
        ).body == b"a/b,c/d;q=0.5\n"


async def test_200_idle_and_40_half_sending_clients_and_a_scraper() -> None:
    async with listening(limits=Limits(idle_seconds=NEVER, head_seconds=NEVER)) as listener:
        for number in range(240):
            client = await listener.connect()
            if number % 6 == 0:
                await client.send(GET[:20])
        kept = await listener.connect()
        for number in range(20):
            assert (await kept.ask(f"/{number}")).status == 200
            fresh = await listener.connect()
            assert (await fresh.ask(f"/{number}")).status == 200
            fresh.close()


async def test_at_the_limit_who_has_been_silent_longest_makes_room() -> None:
    async with listening(limits=Limits(connections=3, idle_seconds=NEVER)) as listener:
        silent = await listener.connect()
        first, second = [await listener.connect() for _ in range(2)]
        for client in (first, second):
            await client.ask("/x")
        newest = await listener.connect()
        assert (await newest.ask("/x")).status == 200
        assert await silent.rest() == b""
        assert (await first.ask("/x")).status == 200
        assert (await second.ask("/x")).status == 200


async def test_more_clients_at_once_than_the_limit_all_end() -> None:
    async with listening(limits=Limits(connections=2, idle_seconds=NEVER)) as listener:
        clients = await asyncio.gather(*(listener.connect() for _ in range(20)))
        rests = [asyncio.create_task(client.rest()) for client in clients]
        async with asyncio.timeout(GUARD_SECONDS):
            while sum(rest.done() for rest in rests) < 18:
                await asyncio.wait([rest for rest in rests if not rest.done()], return_when="FIRST_COMPLETED")
        assert (await (await listener.connect()).ask("/x")).status == 200
        for rest in rests:
            rest.cancel()
        await asyncio.wait(rests)


async def test_who_waits_for_us_does_not_make_room_for_others() -> None:
    asked, goes = asyncio.Event(), asyncio.Event()

    async def slowly(request: Request) -> Response:
        if request.path == "/slow":
            asked.set()
            await goes.wait()
        return await hello(request)

    async with listening(slowly, Limits(connections=2)) as listener:
        waiting = await listener.connect()
        await waiting.send(GET.replace(b"/x", b"/slow"))
        await asked.wait()
        for _ in range(3):
            assert (await (await listener.connect()).ask("/x")).status == 200
        goes.set()
        assert (await waiting.answer()).body == b"hello /slow\n"


async def test_a_stopped_server_closes_its_connections_and_can_run_again() -> None:
    sockets = bind("127.0.0.1", 0)
    server = HttpServer(sockets, hello)
    for _ in range(2):
        running = asyncio.create_task(server.run())
        client = Client(*await asyncio.open_connection("127.0.0.1", port_of(sockets[0])))
        assert (await client.ask("/x")).status == 200
        running.cancel()
        async with asyncio.timeout(GUARD_SECONDS):
            await asyncio.wait([running])
        assert await client.rest() == b""
        client.close()
    sockets[0].close()


async def test_a_client_that_resets_harms_nobody() -> None:
    async with listening() as listener:
        for _ in range(5):
            client = await listener.connect()
            await client.send(GET)
            client.close()
        assert (await (await listener.connect()).ask("/x")).status == 200

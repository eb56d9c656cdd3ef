"""The client against a real TLS server: whatever that does is an answer or a Problem, and never waits for ever."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from amdgpu_plugin.exposition.kubernetes import service_account
from amdgpu_plugin.exposition.kubernetes.problems import Problem
from amdgpu_plugin.exposition.kubernetes.rest import Client, Limits, Request
from tests.exposition.kubernetes.apiservers import (
    Answer,
    ApiServer,
    Authority,
    account,
    api_server,
    refusal,
    serving,
)
from tests.exposition.kubernetes.apiservers import (
    authority as new_authority,
)

POST = Request(
    "POST", "/api/v1/namespaces/default/events", "create events in namespace default", b'{"kind": "Event"}'
)
SOON = 0.1
"""A deadline that is to pass."""


@pytest.fixture
async def api(authority: Authority) -> AsyncIterator[ApiServer]:
    async with api_server(authority) as started:
        yield started


def client(port: int, folder: Path, *, host: str = "127.0.0.1", limits: Limits | None = None) -> Client:
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port)}
    return Client(partial(service_account.api_server, environ, str(folder)), limits or Limits())


@pytest.fixture
def asker(api: ApiServer, authority: Authority, account_folder: Path) -> Client:
    return client(api.port, account(account_folder, authority))


async def problem(asker: Client, request: Request = POST) -> Problem:
    answer = await asker.ask(request)
    assert isinstance(answer, Problem), answer
    return answer


async def test_request_has_what_the_api_server_needs(api: ApiServer, asker: Client) -> None:
    assert await asker.ask(POST) == b'{"kind": "Event"}'
    (asked,) = api.asked
    agent = asked.headers["user-agent"]
    assert agent.startswith("amdgpu-plugin/")
    assert (asked.method, asked.path, asked.body) == (POST.method, POST.path, POST.body)
    assert asked.headers == {
        "host": f"127.0.0.1:{api.port}",
        "user-agent": agent,
        "authorization": "Bearer first",
        "accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        "connection": "close",
        "content-type": "application/json",
        "content-length": "17",
    }


async def test_token_and_authority_are_those_of_the_moment(
    api: ApiServer, asker: Client, authority: Authority, account_folder: Path, tmp_path: Path
) -> None:
    await asker.ask(POST)
    account(account_folder, authority, token="second")
    await asker.ask(POST)
    assert [asked.headers["authorization"] for asked in api.asked] == ["Bearer first", "Bearer second"]
    other = tmp_path / "other"
    other.mkdir()
    account(account_folder, new_authority(other))
    assert (await problem(asker)).kind == "untrusted"
    account(account_folder, authority)
    assert await asker.ask(POST) == b'{"kind": "Event"}'


async def test_address_may_be_ipv6(authority: Authority, account_folder: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        async with api_server(authority, host="::1") as api:
            asker = client(api.port, account(account_folder, authority), host="::1")
            assert await asker.ask(POST) == b'{"kind": "Event"}'
            assert api.asked[0].headers["host"] == f"[::1]:{api.port}"
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")


async def test_certificate_of_another_host_is_refused(authority: Authority, account_folder: Path) -> None:
    async with api_server(authority, certificate="elsewhere") as api:
        found = await problem(client(api.port, account(account_folder, authority)))
        assert api.asked == []
    assert (found.kind, found.passes) == ("untrusted", True)
    assert "certificate that is not to be trusted: IP address mismatch" in found.told


async def test_certificate_of_an_unknown_authority_is_refused(
    api: ApiServer, account_folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    found = await problem(client(api.port, account(account_folder, new_authority(other))))
    assert found.kind == "untrusted"
    assert api.asked == []


async def test_server_without_tls_is_not_spoken_to(authority: Authority, account_folder: Path) -> None:
    heard = bytearray()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(10))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with serving(talk) as port:
        found = await problem(client(port, account(account_folder, authority)))
    assert found.kind in {"untrusted", "unreachable"}
    assert b"POST" not in heard


async def test_nobody_there(authority: Authority, account_folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = await problem(client(port, account(account_folder, authority)))
    assert (found.kind, found.passes) == ("unreachable", True)
    assert found.told.startswith(f"cannot reach the API server at 127.0.0.1:{port}: ")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 64 + ".x", "."])
async def test_host_that_is_no_host(authority: Authority, account_folder: Path, host: str) -> None:
    assert (await problem(client(1, account(account_folder, authority), host=host))).kind == "unreachable"


NOT_DONE = "the API server did not create events in namespace default"
LATER, NEVER = True, False


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, ("unauthorized", LATER, "the API server does not know our token")),
        (403, ("forbidden", NEVER, "not allowed to create events in namespace default")),
        (404, ("not_found", NEVER, NOT_DONE)),
        (409, ("conflict", NEVER, NOT_DONE)),
        (422, ("refused", NEVER, NOT_DONE)),
        (302, ("refused", NEVER, NOT_DONE)),
        (429, ("throttled", LATER, NOT_DONE)),
        (500, ("server", LATER, NOT_DONE)),
        (503, ("server", LATER, NOT_DONE)),
    ],
)
async def test_refusals_are_told_apart(
    api: ApiServer, asker: Client, status: int, expected: tuple[str, bool, str]
) -> None:
    api.refuse = lambda _asked: refusal(status, "said so")
    found = await problem(asker)
    kind, passes, told = expected
    assert (found.kind, found.passes, found.told) == (kind, passes, f"{told} (HTTP {status}: said so)")


async def test_forbidden_names_the_remedy(api: ApiServer, asker: Client) -> None:
    api.refuse = lambda _asked: refusal(403, "events is forbidden")
    assert "kubernetesEvents.enabled" in (await problem(asker)).remedy


async def test_namespace_that_ends_is_known(api: ApiServer, asker: Client) -> None:
    details = {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}
    api.refuse = lambda _asked: refusal(403, "is being terminated", details=details)
    assert (await problem(asker)).namespace_ends


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), ("99999", 600.0), ("soon", None), ("-1", None), ("", None)]
)
async def test_retry_after_is_read(api: ApiServer, asker: Client, value: str, seconds: float | None) -> None:
    api.refuse = lambda _asked: Answer(429, {}, (("Retry-After", value),))
    assert (await problem(asker)).retry_after_seconds == seconds


@pytest.mark.parametrize("body", ["", "[]", "null", '{"message": 7, "details": []}', "[" * 5000])
async def test_refusal_in_odd_words_is_still_one(api: ApiServer, asker: Client, body: str) -> None:
    api.raw = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    assert (await problem(asker)).kind == "forbidden"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_half_an_answer_is_none(api: ApiServer, asker: Client, raw: bytes) -> None:
    api.raw = raw
    found = await problem(asker)
    assert (found.kind, found.passes) == ("garbled", True)


async def test_word_ahead_of_the_answer_is_passed_over(api: ApiServer, asker: Client) -> None:
    api.raw = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"
    assert await asker.ask(POST) == b"{}"


@pytest.mark.parametrize("head", [b"Content-Length: 100000\r\n", b""])
async def test_huge_answer_is_left(
    api: ApiServer, authority: Authority, account_folder: Path, head: bytes
) -> None:
    asker = client(api.port, account(account_folder, authority), limits=Limits(answer_bytes=50_000))
    api.raw = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + b"x" * 100_000
    found = await problem(asker)
    assert (found.kind, found.told) == (
        "garbled",
        f"the API server at 127.0.0.1:{api.port} answered with more than 50000 bytes",
    )


@pytest.mark.parametrize("raw", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}"])
async def test_silent_server_is_left(
    api: ApiServer, authority: Authority, account_folder: Path, raw: bytes | None
) -> None:
    limits = Limits(head_seconds=SOON, body_seconds=SOON)
    asker = client(api.port, account(account_folder, authority), limits=limits)
    api.silent = True
    found = await problem(asker)
    assert (found.kind, found.told) == (
        "unreachable",
        f"the API server at 127.0.0.1:{api.port} does not answer in time",
    )


async def test_server_that_never_ends_its_answer_is_left(authority: Authority, account_folder: Path) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}")
        await reader.read()

    async with serving(half, context=authority.context("here")) as port:
        asker = client(port, account(account_folder, authority), limits=Limits(body_seconds=SOON))
        assert (await problem(asker)).kind == "unreachable"


async def test_server_that_does_not_shake_hands_is_left(authority: Authority, account_folder: Path) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass

    async with serving(mute) as port:
        asker = client(port, account(account_folder, authority), limits=Limits(connect_seconds=SOON))
        assert (await problem(asker)).kind == "unreachable"


async def test_old_tls_is_not_spoken(authority: Authority, account_folder: Path) -> None:
    asker = client(1, account(account_folder, authority))
    context = asker._context(authority.pem)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
)
async def test_server_that_answers_in_crumbs_is_left_and_holds_nobody_up(
    api: ApiServer, asker: Client, head: bytes, piece: bytes
) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    api.raw = head + piece * 10_000
    waiting = asyncio.create_task(others())
    found = await problem(asker)
    waiting.cancel()
    where = f"the API server at 127.0.0.1:{api.port}"
    assert (found.kind, found.told) == ("garbled", f"{where} answered in more than 8192 pieces")
    assert turns > asker.limits.answer_pieces

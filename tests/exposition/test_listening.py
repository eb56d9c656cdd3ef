import socket
from contextlib import ExitStack

import pytest

from amdgpu_plugin.exposition.listening import CannotListenError, addresses_of, bind
from tests.exposition.clients import port_of


def bound(stack: ExitStack, host: str, port: int = 0) -> list[socket.socket]:
    return [stack.enter_context(made) for made in bind(host, port)]


@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1"])
def test_empty_host_is_every_address_of_both_families(loopback: str) -> None:
    with ExitStack() as stack:
        if ":" in loopback and not socket.has_dualstack_ipv6():
            pytest.skip("this machine has no IPv6")
        [listening] = bound(stack, "")
        stack.enter_context(socket.create_connection((loopback, port_of(listening)), timeout=10))


def test_a_machine_without_ipv6_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with ExitStack() as stack:
        [listening] = bound(stack, "")
        assert listening.family is socket.AF_INET
        stack.enter_context(socket.create_connection(("127.0.0.1", port_of(listening)), timeout=10))


def test_a_name_gives_all_its_addresses_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    def two(*_asked: object, **_flags: object) -> list[tuple[object, ...]]:
        addresses = [("127.0.0.1", 0), ("127.0.0.2", 0), ("127.0.0.1", 0)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with ExitStack() as stack:
        made = bound(stack, "node.example")
        assert [each.getsockname()[0] for each in made] == ["127.0.0.1", "127.0.0.2"]
        assert len({port_of(each) for each in made}) == 1


@pytest.mark.parametrize(
    ("hosts", "told"), [(("127.0.0.1",), "127.0.0.1:{}"), (("127.0.0.1", "::1"), "127.0.0.1:{}, [::1]:{}")]
)
def test_addresses_are_told_as_they_were_bound(hosts: tuple[str, ...], told: str) -> None:
    if "::1" in hosts and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with ExitStack() as stack:
        made = [each for host in hosts for each in bound(stack, host)]
        assert addresses_of(made) == told.format(*map(port_of, made))


def test_a_port_in_use_is_said_with_what_to_try() -> None:
    with ExitStack() as stack:
        [first] = bound(stack, "127.0.0.1")
        port = port_of(first)
        with pytest.raises(CannotListenError) as refused:
            bind("127.0.0.1", port)
    assert str(refused.value) == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use "
        "(something else listens there: choose another --http-address, or an empty one for none)"
    )


def test_every_address_is_refused_where_one_is_in_use() -> None:
    with ExitStack() as stack:
        [first] = bound(stack, "")
        with pytest.raises(CannotListenError, match=rf"cannot listen on :{port_of(first)}: Address already"):
            bind("", port_of(first))


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("192.0.2.1", r"cannot listen on 192.0.2.1:9400: .* \(this machine has no such address\)"),
        ("2001:db8::1", r"cannot listen on \[2001:db8::1\]:9400: "),
    ],
)
def test_an_address_that_is_not_here_is_said(host: str, said: str) -> None:
    with pytest.raises(CannotListenError, match=said):
        bind(host, 9400)


def test_a_name_that_nobody_knows_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_asked: object, **_flags: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(CannotListenError) as refused:
        bind("no.example", 9400)
    assert str(refused.value) == "cannot listen on no.example:9400: Name or service not known"

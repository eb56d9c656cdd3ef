import os
from pathlib import Path

import pytest

from amdgpu_plugin.exposition.kubernetes.problems import Problem
from amdgpu_plugin.exposition.kubernetes.service_account import ApiServer, api_server

ENVIRON = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
AUTOMOUNT = "automountServiceAccountToken: true"


def place(folder: Path, *, token: bytes = b"secret\n", ca: bytes = b"-----BEGIN\n") -> str:
    (folder / "token").write_bytes(token)
    (folder / "ca.crt").write_bytes(ca)
    return str(folder)


def test_everything_is_there(tmp_path: Path) -> None:
    found = api_server(ENVIRON, place(tmp_path))
    assert found == ApiServer("10.0.0.1", 443, "-----BEGIN\n", "secret")
    assert isinstance(found, ApiServer)
    assert found.authority_name == "10.0.0.1:443"


def test_token_is_not_shown() -> None:
    assert "secret" not in repr(ApiServer("10.0.0.1", 443, "", "secret"))


@pytest.mark.parametrize("host", ["fd00::1", "[fd00::1]"])
def test_ipv6_has_brackets_in_a_header_only(tmp_path: Path, host: str) -> None:
    found = api_server(ENVIRON | {"KUBERNETES_SERVICE_HOST": host}, place(tmp_path))
    assert isinstance(found, ApiServer)
    assert (found.host, found.authority_name) == ("fd00::1", "[fd00::1]:443")


@pytest.mark.parametrize("missing", sorted(ENVIRON))
def test_not_in_a_pod(tmp_path: Path, missing: str) -> None:
    found = api_server({name: text for name, text in ENVIRON.items() if name != missing}, place(tmp_path))
    assert isinstance(found, Problem)
    assert (found.kind, found.remedy) == ("not_in_cluster", "run it in a pod")


@pytest.mark.parametrize("port", ["0", "65536", "https", "-1", "٣", "9" * 5000])
def test_port_that_is_none(tmp_path: Path, port: str) -> None:
    found = api_server(ENVIRON | {"KUBERNETES_SERVICE_PORT": port}, place(tmp_path))
    assert isinstance(found, Problem)
    assert found.told.startswith("KUBERNETES_SERVICE_PORT is no port: ")


def test_no_service_account(tmp_path: Path) -> None:
    found = api_server(ENVIRON, str(tmp_path))
    assert isinstance(found, Problem)
    assert found.told == f"{tmp_path}/token: No such file or directory"
    assert (found.kind, found.passes) == ("not_in_cluster", True)
    assert AUTOMOUNT in found.remedy


@pytest.mark.parametrize(
    "files", [{"token": b" \n"}, {"token": b"a\nb"}, {"token": b"\xff"}, {"token": b"a\0"}, {"ca": b""}]
)
def test_files_of_no_use(tmp_path: Path, files: dict[str, bytes]) -> None:
    found = api_server(ENVIRON, place(tmp_path, **files))
    assert isinstance(found, Problem)
    assert found.kind == "not_in_cluster"


@pytest.mark.parametrize("host", ["[]", "https://10.0.0.1", "10.0.0.1\n", "a b", "\udcff", "10.0.0.1/x"])
def test_host_that_is_none(tmp_path: Path, host: str) -> None:
    found = api_server(ENVIRON | {"KUBERNETES_SERVICE_HOST": host}, place(tmp_path))
    assert isinstance(found, Problem)
    assert (found.kind, found.told) == ("not_in_cluster", f"KUBERNETES_SERVICE_HOST is no host: {host!r}")


@pytest.mark.parametrize("name", ["token", "ca.crt"])
def test_pipe_in_place_of_a_file_holds_nobody_up(tmp_path: Path, name: str) -> None:
    folder = place(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    keeps_it_open = os.open(tmp_path / name, os.O_RDWR)
    try:
        found = api_server(ENVIRON, folder)
    finally:
        os.close(keeps_it_open)
    assert isinstance(found, Problem)
    assert (found.kind, found.told) == ("not_in_cluster", f"{tmp_path}/{name}: not a plain file")


def test_files_may_be_links(tmp_path: Path) -> None:
    """As the kubelet makes them, to change all at once."""
    folder = tmp_path / "..data"
    folder.mkdir()
    place(folder)
    for name in ("token", "ca.crt"):
        (tmp_path / name).symlink_to(folder / name)
    assert isinstance(api_server(ENVIRON, str(tmp_path)), ApiServer)

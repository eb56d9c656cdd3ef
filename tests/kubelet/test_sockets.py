import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import grpc
import pytest

from amdgpu_plugin.kubelet import sockets
from amdgpu_plugin.kubelet.api import deviceplugin_pb2 as api
from amdgpu_plugin.kubelet.api import deviceplugin_pb2_grpc as wire
from tests.kubelet.worlds import OtherPlugin, device_plugin, lines, make_dead_socket, silent_listener

OURS = "amdgpu-plugin-0123abcd-1.sock"


def test_no_socket_name_is_used_twice() -> None:
    one, other = sockets.SocketNames(), sockets.SocketNames()
    names = [one.next(), one.next(), other.next(), other.next()]
    assert len(set(names)) == 4
    assert [one.is_own(name) for name in names] == [True, True, False, False]
    assert all(sockets.is_of_this_product(name) for name in names)


@pytest.mark.parametrize(
    "name",
    [
        "amd.com_gpu",
        "kubelet.sock",
        "amdgpu-plugin.sock",
        "amdgpu-plugin-0123abcd.sock",
        "amdgpu-plugin-0123ABCD-1.sock",
        "amdgpu-plugin-0123abcd-1.sock.bak",
        "x-amdgpu-plugin-0123abcd-1.sock",
        "amdgpu-plugin-0123abcd-1.sock\n",
    ],
)
def test_other_names_are_not_of_this_product(name: str) -> None:
    assert not sockets.is_of_this_product(name)


def test_amds_plugin_is_expected_under_the_resources_name() -> None:
    assert sockets.of_other_plugin("amd.com/gpu") == "amd.com_gpu"
    assert sockets.of_other_plugin("amd.com/cpx_nps4") == "amd.com_cpx_nps4"


def test_a_directory_is_too_long_when_a_name_of_ours_would_pass_107_bytes() -> None:
    longest = "/" + "d" * (sockets.PATH_LIMIT - len("//amdgpu-plugin-0123abcd-123456.sock"))
    assert not sockets.path_is_too_long(longest)
    assert sockets.path_is_too_long(longest + "d")
    assert sockets.path_is_too_long(longest[:-1] + "é")


def test_a_dead_socket_of_ours_is_removed(directory: str) -> None:
    make_dead_socket(f"{directory}/{OURS}")
    assert sockets.remove_if_dead(directory, OURS)
    assert os.listdir(directory) == []


def test_a_socket_that_is_gone_counts_as_removed(directory: str) -> None:
    assert sockets.remove_if_dead(directory, OURS)


@contextmanager
def dead(path: str) -> Iterator[None]:
    make_dead_socket(path)
    yield


@contextmanager
def plain_file(path: str) -> Iterator[None]:
    Path(path).write_text("notes")
    yield


@contextmanager
def link_to_dead_socket(path: str) -> Iterator[None]:
    make_dead_socket(f"{path}.target")
    Path(path).symlink_to(f"{path}.target")
    yield


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        pytest.param(OURS, silent_listener, id="ours, and somebody listens"),
        pytest.param(OURS, plain_file, id="ours by name, but a plain file"),
        pytest.param(OURS, link_to_dead_socket, id="ours by name, but a link"),
        pytest.param("amd.com_gpu", dead, id="AMD's, dead"),
        pytest.param("kubelet.sock", dead, id="the kubelet's, dead"),
    ],
)
def test_anything_else_is_left_alone(
    directory: str, name: str, entry: Callable[[str], AbstractContextManager[None]]
) -> None:
    with entry(f"{directory}/{name}"):
        before = os.lstat(f"{directory}/{name}")
        assert not sockets.remove_if_dead(directory, name)
        assert os.lstat(f"{directory}/{name}").st_ino == before.st_ino


def test_a_leftover_that_cannot_be_removed_is_said(
    directory: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    make_dead_socket(f"{directory}/{OURS}")
    monkeypatch.setattr(os, "unlink", refuse)
    assert not sockets.remove_if_dead(directory, OURS)
    assert [record.message for record in lines(caplog, sockets.log)] == ["leftover socket stays"]
    assert stat.S_ISSOCK(os.lstat(f"{directory}/{OURS}").st_mode)


async def test_a_living_plugin_answers(directory: str) -> None:
    async with device_plugin(f"{directory}/amd.com_gpu", OtherPlugin()):
        assert await sockets.answers(f"{directory}/amd.com_gpu")


async def test_no_plugin_answers_at_a_dead_socket(directory: str) -> None:
    make_dead_socket(f"{directory}/amd.com_gpu")
    assert not await sockets.answers(f"{directory}/amd.com_gpu")


async def test_no_plugin_answers_where_nothing_is(directory: str) -> None:
    assert not await sockets.answers(f"{directory}/amd.com_gpu")


async def test_a_listener_that_says_nothing_does_not_answer(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "ANSWER_SECONDS", 0.05)
    with silent_listener(f"{directory}/amd.com_gpu"):
        assert not await sockets.answers(f"{directory}/amd.com_gpu")


async def test_a_plugin_that_cannot_tell_its_options_does_not_answer(directory: str) -> None:
    async with device_plugin(f"{directory}/amd.com_gpu", OtherPlugin(broken=True)):
        assert not await sockets.answers(f"{directory}/amd.com_gpu")


async def test_a_connection_is_not_held_up_by_another_that_failed(directory: str) -> None:
    path = f"{directory}/amd.com_gpu"
    async with sockets.connect(path) as failed:
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await wire.DevicePluginStub(failed).GetDevicePluginOptions(api.Empty())
        async with device_plugin(path, OtherPlugin()):  # while gRPC has the other wait a second
            assert await sockets.answers(path)

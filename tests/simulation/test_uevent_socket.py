import socket
from pathlib import Path

from amdgpu_plugin.simulation.node import SimulatedNode
from amdgpu_plugin.simulation.uevent_socket import uevent_pair

LONG = b"change@/x\0" + b"PAD=" + b"x" * 8000 + b"\0"


def drained(receiving: socket.socket) -> list[bytes]:
    messages = []
    while True:
        try:
            messages.append(receiving.recv(1 << 16))
        except BlockingIOError:
            return messages


def test_messages_of_a_whole_node_arrive_whole_and_in_order(scratch: Path) -> None:
    send, receiving = uevent_pair()
    sent: list[bytes] = []

    def sending(message: bytes) -> None:
        sent.append(message)
        send(message)

    with receiving:
        node = SimulatedNode.create(scratch / "node", "mi300x-cpx", on_uevent=sending)
        for address in node.addresses:
            node.unbind(address)
        assert drained(receiving) == sent
        assert len(sent) == 8 * (7 * 3 + 3)
        assert send.lost == 0
        send.close()


def test_full_buffer_loses_messages_counts_them_and_never_waits() -> None:
    send, receiving = uevent_pair()
    with receiving:
        while not send.lost:
            send(LONG)
        send(LONG)
        lost = send.lost
        assert lost == 2
        assert set(drained(receiving)) == {LONG}
        send(b"after")
        assert drained(receiving) == [b"after"]
        assert send.lost == lost
        send.close()


def test_nobody_listening_is_counted_as_lost() -> None:
    send, receiving = uevent_pair()
    receiving.close()
    send(b"x")
    assert send.lost == 1
    send.close()

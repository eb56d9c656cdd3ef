"""How a simulated kernel's uevents reach the daemon: a pair of sockets in place of netlink."""

import socket

BUFFER_BYTES = 1 << 20
"""Asked for; what is granted without privileges (net.core.wmem_max) is still some hundreds of messages."""


class UeventSender:
    """Takes messages as SimulatedNode's `on_uevent`, from whatever thread; never waits.

    A message that finds the buffer full is lost, as on netlink. There the reader is told by ENOBUFS; a pair
    of sockets has no such answer, so who reads looks at `lost` after each time it has emptied its end:
    messages are lost only while others wait, so that a read to the end always follows a loss.
    """

    def __init__(self, end: socket.socket) -> None:
        """The sending end, which is then this object's to close."""
        self._end = end
        self.lost = 0

    def __call__(self, message: bytes) -> None:
        """Send it, or count it as lost; nobody listens any more counts as lost too."""
        try:
            self._end.send(message)
        except OSError:
            self.lost += 1

    def close(self) -> None:
        """No more messages."""
        self._end.close()


def uevent_pair() -> tuple[UeventSender, socket.socket]:
    """What sends, and the socket where each message arrives whole. Neither end blocks."""
    sending, receiving = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in (sending, receiving):
        end.setblocking(False)
    # What waits between AF_UNIX sockets is charged to the sender.
    sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    return UeventSender(sending), receiving

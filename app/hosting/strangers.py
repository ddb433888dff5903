"""What a server does about clients that send or read too slowly, or send too much.

Values, and one option of a socket. What a request may ask for is not its matter.
"""

import socket
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Strangers:
    """How much patience clients get that nobody knows. A connection without a request gets `headers_within_s`, too."""

    headers_within_s: float
    max_header_bytes: int
    read_within_s: float


def cut_off_who_does_not_read(listener: socket.socket, strangers: Strangers) -> None:
    """Have the kernel break connections from `listener` whose client takes nothing that is sent to it for that long.

    Servers keep what they have written until it is read, and do not end a connection before: it would stay for ever.
    """
    if sys.platform == "linux":
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(strangers.read_within_s * 1000))

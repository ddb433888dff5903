"""Hypercorn's HTTP/2, made fit for connections on which a Restate server sends all its requests for weeks.

Changes what the libraries do in this process, once it is asked to. Serves nothing.
"""

from typing import Any

import hypercorn.protocol
from h2.connection import H2Connection
from hypercorn.protocol.h2 import H2Protocol

# Of 65536 for each connection, 120 bytes each and eight streams a turn: 18,000 turns kept 16 MiB. Only a frame that
# comes after the end of its stream asks for it, which is on its way by then, or does not come at all.
_REMEMBERED_STREAMS = 1000


def make_fit() -> None:
    """Make connections that are opened from here on survive late frames and forget streams that are over."""
    H2Connection.MAX_CLOSED_STREAMS = _REMEMBERED_STREAMS
    hypercorn.protocol.H2Protocol = _Forgiving  # type: ignore[attr-defined]


class _Forgiving(H2Protocol):
    """A connection on which a frame for a request that has been answered is dropped.

    Hypercorn forgets a stream with the last byte of its response. One more frame from the client then was a KeyError,
    which broke the connection and all other streams on it.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.streams = _Streams()


class _Streams(dict[int, Any]):
    """The open streams of a connection by their number. What is sent to another goes nowhere."""

    def __missing__(self, stream_id: int) -> "_Streams":
        return self

    async def handle(self, event: object) -> None:
        """Drop what is for a stream that has ended."""

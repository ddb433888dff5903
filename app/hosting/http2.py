"""Hypercorn's HTTP/2, made fit for connections on which a Restate server sends all its requests for weeks.

Changes what the libraries do in this process, once it is asked to. Serves nothing.
"""

from collections import OrderedDict
from typing import Any

import h11
import hypercorn.protocol
from h2.connection import H2Connection
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from priority.priority import DeadlockError, MissingStreamError

# Of 65536 for each connection, 120 bytes each and eight streams a turn: 18,000 turns kept 16 MiB. Only a frame that
# comes after the end of its stream asks for it, which is on its way by then, or does not come at all.
_REMEMBERED_STREAMS = 1000


def make_fit() -> None:
    """Make connections that are opened from here on survive late frames and forget streams that are over."""
    H2Connection.MAX_CLOSED_STREAMS = _REMEMBERED_STREAMS
    hypercorn.protocol.H2Protocol = _Forgiving  # type: ignore[attr-defined]
    hypercorn.protocol.H11Protocol = _AsTold  # type: ignore[attr-defined]


class _AsTold(H11Protocol):
    """A connection that becomes one of HTTP/2 only where the configuration offers that.

    Otherwise who begins so would hold a connection that nothing ends, or send headers that no limit holds for.
    """

    async def _check_protocol(self, event: h11.Request) -> None:
        if "h2" in self.config.alpn_protocols:
            await super()._check_protocol(event)


class _Forgiving(H2Protocol):
    """A connection that costs the same however many streams are open, and on which a late frame is dropped.

    Hypercorn forgets a stream with the last byte of its response. One more frame from the client then was a KeyError,
    which broke the connection and all other streams on it.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.streams = _Streams()
        self.priority = FairTurns()  # type: ignore[assignment]  # has what Hypercorn uses of a tree


class _Streams(dict[int, Any]):
    """The open streams of a connection by their number. What is sent to another goes nowhere."""

    def __missing__(self, stream_id: int) -> "_Streams":
        return self

    async def handle(self, event: object) -> None:
        """Drop what is for a stream that has ended."""


class FairTurns:
    """Which stream may send next: those that have something to send, one after the other.

    In place of a tree of priorities, which looks at every stream that has nothing to send each time it is asked: with
    128 open streams that was two thirds of what a short turn costs. A Restate server gives no priorities.
    """

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._ready: OrderedDict[int, None] = OrderedDict()  # in the order of their turns

    def __next__(self) -> int:
        """Errors: DeadlockError when none has anything to send."""
        for stream_id in self._ready:
            self._ready.move_to_end(stream_id)
            return stream_id
        raise DeadlockError("no stream has anything to send")

    def insert_stream(self, stream_id: int, **_: object) -> None:
        self._known.add(stream_id)
        self._ready[stream_id] = None

    def remove_stream(self, stream_id: int) -> None:
        self._known.discard(stream_id)
        self._ready.pop(stream_id, None)

    def block(self, stream_id: int) -> None:
        self._ready.pop(stream_id, None)

    def unblock(self, stream_id: int) -> None:
        """Errors: MissingStreamError."""
        if stream_id not in self._known:
            raise MissingStreamError(f"stream {stream_id} is not open")
        self._ready.setdefault(stream_id)

    def reprioritize(self, stream_id: int, **_: object) -> None:
        """Do nothing: all have the same priority."""

"""Serves an ASGI application with Granian, in this process and on its event loop.

Imports the optional package `granian`, so it is imported only where `SERVER=granian` asks for it. Knows nothing of
signals, nor of what it serves.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server.embed import Server

from app.hosting.strangers import Strangers

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

_UNBOUNDED = 2**31 - 1
_BACKLOG = 1024
_CONNECTIONS = 100_000  # then it stops accepting, and health checks wait; by default that begins at 128

# Only errors, by the handlers of this process: it would log each start and stop, that it is experimental (which
# docs/operations.md says), and each write to a client that has gone. Incremental: else it closes those handlers.
_LOGGING = {"incremental": True, "formatters": {}, "handlers": {}, "loggers": {"_granian": {}}}

logger = logging.getLogger("granian.error")


async def serve(
    app: "ASGIFramework",
    listener: socket.socket,
    finished: Callable[[], Awaitable[None]],
    *,
    streams_per_connection: int | None,
    strangers: Strangers | None,
    close_s: float,
) -> None:
    """Serve `app` on `listener` until `finished` returns; what is still open then is cut off after `close_s`."""
    server = _Server(app, listener, streams_per_connection or _UNBOUNDED, strangers)
    serving = asyncio.create_task(server.serve())
    ending = asyncio.create_task(_finish(server, finished))
    try:
        await asyncio.wait((serving, ending), return_when=asyncio.FIRST_COMPLETED)
        with suppress(TimeoutError):
            # It waits for connections whose client does not close them.
            await asyncio.wait_for(serving, close_s)
    finally:
        ending.cancel()
        serving.cancel()
        await asyncio.gather(ending, serving, return_exceptions=True)


async def _finish(server: "_Server", finished: Callable[[], Awaitable[None]]) -> None:
    await finished()
    server.stop()  # type: ignore[no-untyped-call]


class _Server(Server):
    """The embedded server on a socket that listens already: its own may share a port with another process unseen."""

    def __init__(
        self,
        app: "ASGIFramework",
        listener: socket.socket,
        streams_per_connection: int,
        strangers: Strangers | None,
    ) -> None:
        super().__init__(
            _told(app),
            interface=Interfaces.ASGINL,
            # Restate begins with HTTP/2 at once; health checks come by HTTP/1.1.
            http=HTTPModes.auto if strangers is None else HTTPModes.http1,
            http1_settings=_patience(strangers),
            http2_settings=HTTP2Settings(max_concurrent_streams=streams_per_connection),
            websockets=True,  # so that the application refuses them itself
            backlog=_BACKLOG,
            backpressure=_CONNECTIONS,
            log_level=LogLevels.error,
            log_dictconfig=_LOGGING,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # Accepted sockets inherit it; without it small answers wait 40 ms for the acknowledgement of the one before.
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fd = self._listener.detach()
        arguments = (fd, False, _BACKLOG) if sys.platform in ("linux", "freebsd") else (fd, False)
        self._shd = SocketHolder(*arguments)  # type: ignore[assignment]


def _patience(strangers: Strangers | None) -> HTTP1Settings:
    if strangers is None:
        return HTTP1Settings()
    return HTTP1Settings(
        header_read_timeout=round(strangers.headers_within_s * 1000),
        max_buffer_size=max(strangers.max_header_bytes, 8192),  # less is refused
    )


def _told(app: "ASGIFramework") -> Callable[..., Awaitable[None]]:
    """Return `app` with its failures in our log: Granian's own lines have the traceback in the message."""

    async def call(scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            return  # at the end: nobody else cancels a request
        except Exception:
            logger.exception("Error in the application")

    return call

"""Serves an ASGI application, with Hypercorn or Granian, until the process is asked to end.

Knows nothing of what it serves. Ends within 4 s, however many requests are open.
"""

import asyncio
import gc
import logging
import signal
import socket
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from hypercorn.asyncio import serve
from hypercorn.config import Config
from restate.server import install_shutdown_hook

from app.errors import UsageError
from app.hosting.http2 import make_fit
from app.hosting.place import Place
from app.hosting.stall_watch import watch_stalls

if TYPE_CHECKING:
    from hypercorn.typing import (
        ASGIFramework,
        ASGIReceiveCallable,
        ASGIReceiveEvent,
        ASGISendCallable,
        ASGISendEvent,
        Scope,
    )

Server = Literal["hypercorn", "granian"]

_UNBOUNDED = 2**31 - 1
_DRAIN_S = 2
_CLOSE_S = 1
_BROKEN_CONNECTION = "Unhandled exception in client_connected_cb"  # asyncio's words

logger = logging.getLogger("main")


def require_installed(server: Server) -> None:
    """Raise UsageError with the cure if `server` is not installed here."""
    if find_spec(server) is None:
        raise UsageError(
            f"SERVER={server} needs a package that is not installed here. Install it with `pip install "
            f"--require-hashes -r requirements-{server}.txt`, or set SERVER=hypercorn."
        )


async def serve_until_stopped(
    app: "ASGIFramework",
    place: Place,
    *,
    server: Server = "hypercorn",
    listener: socket.socket | None = None,
    streams_per_connection: int | None = None,
) -> None:
    """Serve `app` at `place` until SIGINT or SIGTERM. Requests that are open then get 2 s to finish.

    A `listener` is a socket that listens there already. `streams_per_connection` bounds how many requests are open on
    one connection; None does not.
    Errors: UsageError when the place cannot be listened on, or the server is not installed.
    """
    require_installed(server)
    requests = _Requests(app)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Through the SDK: it owns the handler of SIGTERM and would replace one that is set beside it. It listens to
    # SIGTERM only, so Ctrl-C becomes one.
    install_shutdown_hook(loop, stop.set, signal.SIGTERM)
    install_shutdown_hook(loop, lambda: signal.raise_signal(signal.SIGTERM), signal.SIGINT)

    async def finished() -> None:
        # The server hears of the end last: from then on Hypercorn breaks a connection on which one more request
        # arrives, and a turn that finishes makes such requests.
        await stop.wait()
        await requests.finish()

    loop.set_exception_handler(lambda loop, context: _tell(loop, context, ending=stop.is_set()))
    if listener is None:
        listener = place.listen()
        logger.info("Listening on http://%s", place)
    # What the imports have made lives as long as the process: each full collection would look at it, for 0.1 s.
    gc.collect()
    gc.freeze()
    serve = _granian if server == "granian" else _hypercorn
    try:
        async with watch_stalls():
            await serve(requests, listener, finished, streams_per_connection)
    except ExceptionGroup:
        if not stop.is_set():
            raise
        logger.debug("A connection broke while it was closed", exc_info=True)


async def _hypercorn(
    app: "ASGIFramework", listener: socket.socket, finished: Callable[[], Awaitable[None]], streams: int | None
) -> None:
    # Hypercorn makes it for a connection that is closed meanwhile.
    warnings.filterwarnings("ignore", message="coroutine 'TCPServer._idle_timeout' was never awaited")
    make_fit()
    await serve(app, _config(listener, streams or _UNBOUNDED), shutdown_trigger=finished)


async def _granian(
    app: "ASGIFramework", listener: socket.socket, finished: Callable[[], Awaitable[None]], streams: int | None
) -> None:
    from app.hosting import granian_server  # an optional package

    await granian_server.serve(app, listener, finished, streams_per_connection=streams, close_s=_CLOSE_S)


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any], *, ending: bool) -> None:
    """Log what nobody caught: at the end nothing, of a connection one line, of all else what asyncio logs."""
    if ending:
        logger.debug("While it ended: %s", context["message"], exc_info=context.get("exception"))
    elif context["message"] == _BROKEN_CONNECTION:
        logger.warning("A connection broke: %r", context.get("exception"))
        logger.debug("It broke here", exc_info=context.get("exception"))
    else:
        loop.default_exception_handler(context)


class _Requests:
    """The application, with a list of its open requests, each of which ends in an order that servers survive.

    Hypercorn forgets a stream with the last byte of its response: one more frame from the client then breaks the
    connection and all other streams on it, and at SIGTERM the SDK no longer waits for the client to be done. What is
    open at the very end Hypercorn would leave to the end of the event loop, with a page of tracebacks for each.
    """

    def __init__(self, app: "ASGIFramework") -> None:
        self._app = app
        self._open: set[asyncio.Task[object]] = set()
        self._cut = False

    async def __call__(self, scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        if self._cut and scope["type"] == "http":
            await send({"type": "http.response.start", "status": 503, "headers": [], "trailers": False})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        input_ended = asyncio.Event()
        reading = False

        async def receive_and_note() -> "ASGIReceiveEvent":
            nonlocal reading
            reading = True
            event = await receive()
            if event["type"] == "http.disconnect" or not event.get("more_body"):
                input_ended.set()
            return event

        async def send_last_byte_last(event: "ASGISendEvent") -> None:
            if reading and event["type"] == "http.response.body" and not event.get("more_body"):
                if self._cut:
                    raise asyncio.CancelledError
                await input_ended.wait()
            await send(event)

        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in one
        self._open.add(task)
        try:
            await self._app(scope, receive_and_note, send_last_byte_last)
        finally:
            self._open.discard(task)

    async def finish(self) -> None:
        """Give the open requests 2 s, then cancel the rest. Restate takes these invocations up again elsewhere."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while self._open:  # one that finishes may have called another
                    await asyncio.wait(self._open)
        self._cut = True
        for request in self._open:
            request.cancel()
        if self._open:
            await asyncio.wait(self._open, timeout=_CLOSE_S)


def _config(listener: socket.socket, streams: int) -> Config:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    # Restate multiplexes many invocations, each open for as long as it runs, over few connections: with the defaults
    # they would queue behind 100 streams, and a connection would be dropped after 1000 requests or 5 silent seconds.
    config.h2_max_concurrent_streams = streams
    config.keep_alive_max_requests = _UNBOUNDED
    config.keep_alive_timeout = _UNBOUNDED
    config.graceful_timeout = _CLOSE_S
    config.errorlog = logging.getLogger("hypercorn.error")
    return config

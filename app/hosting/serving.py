"""Serves an ASGI application with Hypercorn until the process is asked to end.

Knows nothing of what it serves. Ends within 4 s, however many requests are open.
"""

import asyncio
import logging
import signal
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from restate.server import install_shutdown_hook

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

_UNBOUNDED = 2**31 - 1
_DRAIN_S = 2
_CLOSE_S = 1
_BROKEN_CONNECTION = "Unhandled exception in client_connected_cb"  # asyncio's words

logger = logging.getLogger("main")


async def serve_until_stopped(app: "ASGIFramework", place: Place) -> None:
    """Serve `app` at `place` until SIGINT or SIGTERM. Requests that are open then get 2 s to finish.

    Errors: UsageError when the place cannot be listened on.
    """
    requests = _Requests(app)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Through the SDK: it owns the handler of SIGTERM and would replace one that is set beside it. It listens to
    # SIGTERM only, so Ctrl-C becomes one.
    install_shutdown_hook(loop, stop.set, signal.SIGTERM)
    install_shutdown_hook(loop, lambda: signal.raise_signal(signal.SIGTERM), signal.SIGINT)

    async def finished() -> None:
        # Hypercorn hears of the end last: from then on it breaks a connection on which one more request arrives, and a
        # turn that finishes makes such requests.
        await stop.wait()
        await requests.finish()

    loop.set_exception_handler(lambda loop, context: _tell(loop, context, ending=stop.is_set()))
    # Hypercorn makes it for a connection that is closed meanwhile.
    warnings.filterwarnings("ignore", message="coroutine 'TCPServer._idle_timeout' was never awaited")
    make_fit()
    config = _config(place)
    logger.info("Listening on http://%s", place)
    try:
        async with watch_stalls():
            await serve(requests, config, shutdown_trigger=finished)
    except ExceptionGroup:
        if not stop.is_set():
            raise
        logger.debug("A connection broke while it was closed", exc_info=True)


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
    """The application, with a list of its open requests, each of which ends in an order that Hypercorn survives.

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


def _config(place: Place) -> Config:
    config = Config()
    config.bind = [f"fd://{place.listen().detach()}"]
    # Restate multiplexes many invocations, each open for as long as it runs, over few connections: with the defaults
    # they would queue behind 100 streams, and a connection would be dropped after 1000 requests or 5 silent seconds.
    config.h2_max_concurrent_streams = _UNBOUNDED
    config.keep_alive_max_requests = _UNBOUNDED
    config.keep_alive_timeout = _UNBOUNDED
    config.graceful_timeout = _CLOSE_S
    config.errorlog = logging.getLogger("hypercorn.error")
    return config

"""Serves an ASGI application with Hypercorn until the process is asked to end.

Knows nothing of what it serves. Ends within 3 s, however many requests are open.
"""

import asyncio
import logging
import signal
from typing import TYPE_CHECKING

from hypercorn.asyncio import serve
from hypercorn.config import Config
from restate.server import install_shutdown_hook

from app.place import Place

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

_UNBOUNDED = 2**31 - 1
_DRAIN_S = 2
_CLOSE_S = 1

logger = logging.getLogger("main")


async def serve_until_stopped(app: "ASGIFramework", place: Place) -> None:
    """Serve `app` at `place` until SIGINT or SIGTERM; requests that are open then get 2 s to finish.

    Errors: UsageError when the place cannot be listened on.
    """
    requests = _Requests(app)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopping.set()
        loop.call_later(_DRAIN_S, requests.cut)

    # Through the SDK: it owns the handler of SIGTERM and would replace one that is set beside it. It listens to
    # SIGTERM only, so Ctrl-C becomes one.
    install_shutdown_hook(loop, stop, signal.SIGTERM)
    install_shutdown_hook(loop, lambda: signal.raise_signal(signal.SIGTERM), signal.SIGINT)

    config = _config(place)
    logger.info("Listening on http://%s", place)
    await serve(requests, config, shutdown_trigger=stopping.wait)


class _Requests:
    """The application, with a list of its open requests.

    Hypercorn would leave them to the end of the event loop, which tears them down with a page of tracebacks each.
    """

    def __init__(self, app: "ASGIFramework") -> None:
        self._app = app
        self._open: set[asyncio.Task[object]] = set()

    async def __call__(self, scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in one
        self._open.add(task)
        try:
            await self._app(scope, receive, send)
        finally:
            self._open.discard(task)

    def cut(self) -> None:
        """Cancel what is still open; Restate takes these invocations up again elsewhere."""
        for request in self._open:
            request.cancel()


def _config(place: Place) -> Config:
    config = Config()
    config.bind = [f"fd://{place.listen().detach()}"]
    # Restate multiplexes many invocations, each open for as long as it runs, over few connections: with the defaults
    # they would queue behind 100 streams, and a connection would be dropped after 1000 requests or 5 silent seconds.
    config.h2_max_concurrent_streams = _UNBOUNDED
    config.keep_alive_max_requests = _UNBOUNDED
    config.keep_alive_timeout = _UNBOUNDED
    config.graceful_timeout = _DRAIN_S + _CLOSE_S
    config.errorlog = logging.getLogger("hypercorn.error")
    return config

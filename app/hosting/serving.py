"""Serves an ASGI application, with Hypercorn or Granian, until the process is asked to end.

Knows nothing of what it serves. Ends within 4 s, however many requests are open.
"""

import asyncio
import gc
import logging
import signal
import socket
import warnings
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from hypercorn.asyncio import serve
from hypercorn.config import Config
from restate.server import install_shutdown_hook

from app.errors import UsageError
from app.hosting.http2 import make_fit
from app.hosting.open_requests import OpenRequests
from app.hosting.place import Place
from app.hosting.stall_watch import watch_stalls
from app.hosting.strangers import Strangers, cut_off_who_does_not_read

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework

Server = Literal["hypercorn", "granian"]

_UNBOUNDED = 2**31 - 1
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


@dataclass(frozen=True)
class Site:
    """An application, and where it is served.

    `name` begins the line of the log that says where. A `listener` is a socket that listens there already.
    `streams_per_connection` bounds how many requests are open on one connection; None does not. With `strangers`,
    clients are cut off that send or read too slowly, or too much.
    `on_stop` is called when the process is asked to end, before open requests get their time.
    """

    app: "ASGIFramework"
    place: Place
    name: str = "Listening"
    listener: socket.socket | None = None
    streams_per_connection: int | None = None
    strangers: Strangers | None = None
    on_stop: Callable[[], None] | None = None


async def serve_until_stopped(
    app: "ASGIFramework",
    place: Place,
    *,
    server: Server = "hypercorn",
    listener: socket.socket | None = None,
    streams_per_connection: int | None = None,
) -> None:
    """Serve `app` at `place`, as `serve_sites` does."""
    await serve_sites(
        [Site(app, place, listener=listener, streams_per_connection=streams_per_connection)], server=server
    )


async def serve_sites(sites: Sequence[Site], *, server: Server = "hypercorn") -> None:
    """Serve all `sites` until SIGINT or SIGTERM. Requests that are open then get 2 s to finish.

    Errors: UsageError when a place cannot be listened on, or the server is not installed.
    """
    require_installed(server)
    requests = OpenRequests()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Through the SDK: it owns the handler of SIGTERM and would replace one that is set beside it. It listens to
    # SIGTERM only, so Ctrl-C becomes one.
    install_shutdown_hook(loop, stop.set, signal.SIGTERM)
    install_shutdown_hook(loop, lambda: signal.raise_signal(signal.SIGTERM), signal.SIGINT)

    async def finish() -> None:
        await stop.wait()
        for site in sites:
            if site.on_stop is not None:
                site.on_stop()
        await requests.finish()

    loop.set_exception_handler(lambda loop, context: _tell(loop, context, ending=stop.is_set()))
    with ExitStack() as listeners:
        listening = [(site, listeners.enter_context(_listener_of(site))) for site in sites]
        # What the imports have made lives as long as the process: each full collection would look at it, for 0.1 s.
        gc.collect()
        gc.freeze()
        serve = _granian if server == "granian" else _hypercorn
        finishing = asyncio.create_task(finish())
        serving = [
            asyncio.create_task(
                serve(
                    site,
                    requests.counted(site.app, patient=site.strangers is None),
                    listener,
                    partial(_over, finishing),
                )
            )
            for site, listener in listening
        ]
        try:
            async with watch_stalls():
                await _all_or_none(serving)
        except ExceptionGroup:
            if not stop.is_set():
                raise
            logger.debug("A connection broke while it was closed", exc_info=True)
        finally:
            finishing.cancel()


def _listener_of(site: Site) -> socket.socket:
    if site.listener is None:
        listener = site.place.listen()
        logger.info("%s on http://%s", site.name, site.place)
    else:
        listener = site.listener
    if site.strangers is not None:
        cut_off_who_does_not_read(listener, site.strangers)
    return listener


async def _over(task: "asyncio.Task[None]") -> None:
    """Return when a task is over.

    The server hears of the end last: from then on Hypercorn breaks a connection on which one more request arrives, and
    a turn that finishes makes such requests.
    """
    await asyncio.wait((task,))


async def _all_or_none(serving: "Sequence[asyncio.Task[None]]") -> None:
    """Wait until all have ended; when one fails, or ends before its time, so do the others."""
    try:
        await asyncio.wait(serving, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(serving, timeout=_CLOSE_S + 1)
    finally:
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
    for task in serving:
        if not task.cancelled():
            task.result()


async def _hypercorn(
    site: Site, app: "ASGIFramework", listener: socket.socket, finished: Callable[[], Awaitable[None]]
) -> None:
    # Hypercorn makes it for a connection that is closed meanwhile.
    warnings.filterwarnings("ignore", message="coroutine 'TCPServer._idle_timeout' was never awaited")
    make_fit()
    await serve(app, _config(site, listener), shutdown_trigger=finished)


async def _granian(
    site: Site, app: "ASGIFramework", listener: socket.socket, finished: Callable[[], Awaitable[None]]
) -> None:
    from app.hosting import granian_server  # an optional package

    await granian_server.serve(
        app,
        listener,
        finished,
        streams_per_connection=site.streams_per_connection,
        strangers=site.strangers,
        close_s=_CLOSE_S,
    )


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any], *, ending: bool) -> None:
    """Log what nobody caught: at the end nothing, of a connection one line, of all else what asyncio logs."""
    if ending:
        logger.debug("While it ended: %s", context["message"], exc_info=context.get("exception"))
    elif context["message"] == _BROKEN_CONNECTION:
        logger.warning("A connection broke: %r", context.get("exception"))
        logger.debug("It broke here", exc_info=context.get("exception"))
    else:
        loop.default_exception_handler(context)


def _config(site: Site, listener: socket.socket) -> Config:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.graceful_timeout = _CLOSE_S
    config.errorlog = logging.getLogger("hypercorn.error")
    if site.strangers is not None:
        config.keep_alive_timeout = site.strangers.headers_within_s  # it begins with the connection, too
        config.h11_max_incomplete_size = site.strangers.max_header_bytes
        config.include_server_header = False
        config.alpn_protocols = ["http/1.1"]
        return config
    # Restate multiplexes many invocations, each open for as long as it runs, over few connections: with the defaults
    # they would queue behind 100 streams, and a connection would be dropped after 1000 requests or 5 silent seconds.
    config.h2_max_concurrent_streams = site.streams_per_connection or _UNBOUNDED
    config.keep_alive_max_requests = _UNBOUNDED
    config.keep_alive_timeout = _UNBOUNDED
    return config

"""The requests that are open in this process, and their end.

Knows nothing of what they ask for.
"""

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from hypercorn.typing import (
        ASGIFramework,
        ASGIReceiveCallable,
        ASGIReceiveEvent,
        ASGISendCallable,
        ASGISendEvent,
        Scope,
    )

_DRAIN_S = 2
_CLOSE_S = 1


class OpenRequests:
    """The open requests of this process, each of which ends in an order that servers survive.

    Hypercorn forgets a stream with the last byte of its response: one more frame from the client then breaks the
    connection and all other streams on it, and at SIGTERM the SDK no longer waits for the client to be done. What is
    open at the very end Hypercorn would leave to the end of the event loop, with a page of tracebacks for each.
    """

    def __init__(self) -> None:
        self._open: set[asyncio.Task[object]] = set()
        self._cut = False

    def counted(self, app: "ASGIFramework", *, patient: bool) -> "ASGIFramework":
        """Return `app` with its requests among these. `patient`: the last byte waits until the client has sent all."""
        return cast("ASGIFramework", partial(self._call, app, patient))

    async def _call(
        self,
        app: "ASGIFramework",
        patient: bool,
        scope: "Scope",
        receive: "ASGIReceiveCallable",
        send: "ASGISendCallable",
    ) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
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
            if patient and reading and event["type"] == "http.response.body" and not event.get("more_body"):
                if self._cut:
                    raise asyncio.CancelledError
                await input_ended.wait()
            await send(event)

        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in one
        self._open.add(task)
        try:
            await app(scope, receive_and_note, send_last_byte_last)
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

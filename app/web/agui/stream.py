"""Streams of server-sent events: as HTTP answers, and what they carry.

A client that goes away ends its stream and nothing else. One that does not read is cut off.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import TypeVar

from ag_ui.core import BaseEvent, RunErrorEvent
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.web.agui.following import Following, Telling
from app.web.agui.native import NativeEvents
from app.web.agui.run import RunEvents
from app.web.gateway import Gateway, gateway_of

PING_S = 15
ENDING = "The service ends or starts again: connect to go on watching. The agent goes on by itself."

T = TypeVar("T")

logger = logging.getLogger("agui")


class EventStream(EventSourceResponse):
    """An answer that streams. What `held` holds is let go when it ends, also if it never began."""

    def __init__(self, content: AsyncIterator[ServerSentEvent], held: AsyncExitStack, *, send_timeout_s: float) -> None:
        super().__init__(
            content,
            sep="\n",  # the official client of AG-UI knows no other
            ping=PING_S,
            ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
            send_timeout=send_timeout_s,
            headers={"x-accel-buffering": "no"},
        )
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            try:
                await super().__call__(scope, receive, send)
            except SendTimeoutError:
                logger.info("Cut off a client that did not read its stream")


async def joined(request: Request, key: str, telling: Telling[T], held: AsyncExitStack) -> Following[T]:
    """Return a chat that is watched from here on. Errors: Refused if the caller has too many streams open."""
    gateway = gateway_of(request)
    await held.enter_async_context(gateway.stream(request))
    following = Following(gateway, key, telling, held)
    await following.join()
    return following


def streamed(request: Request, events: AsyncIterator[ServerSentEvent], held: AsyncExitStack) -> Response:
    """Return the answer, which lets go of what is held here when it ends."""
    return EventStream(events, held.pop_all(), send_timeout_s=gateway_of(request).settings.web_send_timeout_s)


async def native_events(gateway: Gateway, key: str, last_event_id: str | None) -> AsyncIterator[ServerSentEvent]:
    """Yield what happens in a chat, without end; behind `last_event_id` where that still holds."""
    events = NativeEvents(last_event_id)
    async with gateway.views.watch(key) as watcher, aclosing(gateway.until_ending(watcher)) as told:
        async for seen in told:
            for cursor, event in events.take(seen):
                yield ServerSentEvent(id=cursor, data=_json(event), sep="\n")


async def run_events(following: Following[BaseEvent], run: RunEvents) -> AsyncIterator[ServerSentEvent]:
    """Yield a run, from its beginning to its terminal event."""
    try:
        async with aclosing(following.told()) as told:
            async for event in told:
                yield _sse(event)
    except Exception:
        logger.exception("Bug in a run")
        yield _sse(RunErrorEvent(message="Internal error: the log of the service says more.", code="internal"))
        return
    if following.end is None:
        yield _sse(RunErrorEvent(message=ENDING, code="ending"))
        return
    for event in run.finish(following.end):
        yield _sse(event)


def _json(event: BaseEvent) -> str:
    return event.model_dump_json(by_alias=True)


def _sse(event: BaseEvent) -> ServerSentEvent:
    return ServerSentEvent(data=_json(event), sep="\n")

"""Streams of server-sent events: as HTTP answers, and what they carry.

A client that goes away ends its stream and nothing else. One that does not read is cut off.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, suppress

from ag_ui.core import BaseEvent, RunErrorEvent
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

from app.errors import AgentError
from app.live.events import Resync
from app.turns.protocol import History, HistoryEntry
from app.web.agui.goal import End, Goal
from app.web.agui.native import NativeEvents
from app.web.agui.run import RunEvents
from app.web.gateway import Gateway
from app.web.watch.events import ViewEvent

PING_S = 15
SNAPSHOT_TURNS = 50  # of the chat that a run begins with
ENDING = "The service ends or starts again: connect to go on watching. The agent goes on by itself."

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


async def native_events(gateway: Gateway, key: str, last_event_id: str | None) -> AsyncIterator[ServerSentEvent]:
    """Yield what happens in a chat, without end; behind `last_event_id` where that still holds."""
    events = NativeEvents(last_event_id)
    async with gateway.views.watch(key) as watcher, aclosing(gateway.until_ending(watcher)) as told:
        async for seen in told:
            for cursor, event in events.take(seen):
                yield ServerSentEvent(id=cursor, data=_json(event), sep="\n")


class Following:
    """One run, followed to its end. `held` is let go with the stream.

    `join` before anything is sent and `begin` after that, so that nothing is missed; what fails in these can still be
    answered with a status.
    """

    def __init__(self, gateway: Gateway, key: str, events: RunEvents, held: AsyncExitStack) -> None:
        self._gateway = gateway
        self._key = key
        self._events = events
        self._held = held
        self._begun: list[BaseEvent] = []
        self._end: End | None = None

    async def join(self) -> None:
        """Watch the chat from here on."""
        self._watcher = await self._held.enter_async_context(self._gateway.views.watch(self._key))
        self._joined = await self._watcher.join()

    async def begin(self, goal: Goal, ignored: Sequence[str] = ()) -> None:
        """Read the chat so far, and follow it until `goal`. Errors: as Ingress.call."""
        self._goal = goal
        entries = await self._history()
        self._begun = self._events.start(entries, ignored)
        self._end = goal.look(entries)
        for seen in self._joined:
            if not isinstance(seen, goal.reads_anew):  # the history is newer
                self._end = self._end or goal.take(seen)
                self._begun += self._events.take(seen)

    async def stream(self) -> AsyncIterator[ServerSentEvent]:
        """Yield the run, up to its terminal event."""
        for event in self._begun:
            yield _sse(event)
        try:
            async with aclosing(self._gateway.until_ending(self._watcher)) as told:
                while self._end is None and (seen := await anext(told, None)) is not None:
                    for event in await self._take(seen):
                        yield _sse(event)
        except Exception:
            logger.exception("Bug in a run")
            yield _sse(RunErrorEvent(message="Internal error: the log of the service says more.", code="internal"))
            return
        if self._end is None:
            yield _sse(RunErrorEvent(message=ENDING, code="ending"))
            return
        for event in self._events.finish(self._end):
            yield _sse(event)

    async def _take(self, seen: ViewEvent) -> list[BaseEvent]:
        events = list(self._events.take(seen))
        self._end = self._goal.take(seen)
        if self._goal.in_doubt or isinstance(seen, Resync):
            with suppress(AgentError):  # while Restate is away the goal stays in doubt, and what follows asks again
                entries = await self._history()
                events += self._events.catch_up(entries)
                self._end = self._end or self._goal.look(entries)
        return events

    async def _history(self) -> list[HistoryEntry]:
        answer = await self._gateway.ingress.call(self._key, "get_chat_history", {"limit": SNAPSHOT_TURNS})
        return History.model_validate(answer).entries


def _json(event: BaseEvent) -> str:
    return event.model_dump_json(by_alias=True)


def _sse(event: BaseEvent) -> ServerSentEvent:
    return ServerSentEvent(data=_json(event), sep="\n")

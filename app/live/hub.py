"""The hub: what happens in a chat, told to whoever watches it in this process.

Stores nothing. Whoever publishes never waits, and hears of no failure. Belongs to one event loop.
"""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from app.live.events import CallStarted, ChatChanged, LiveEvent, Resync, TextAdded, ThoughtAdded, ToolStarted
from app.live.feed import Feed, Reader
from app.live.running import Running

LINGER_S = 5.0  # in which the text of a call that is over gets into the record, at the latest when its tools are over
LOST_S = 3600.0  # after which what runs and says nothing is taken to run elsewhere, or to be dead
FEED_EVENTS = 2000  # by which a watcher may be behind, 200 bytes each

logger = logging.getLogger("live")


class Subscription(Protocol):
    """What one watcher gets."""

    async def next(self) -> list[LiveEvent | Resync]:
        """Return what has happened since the last time, as soon as something has.

        The first time, at once, all that runs now; after a Resync that again.
        """


class Hub(Protocol):
    """Tells watchers what happens. `reaches_all` tells whether they hear of all that happens now, wherever it does."""

    @property
    def reaches_all(self) -> bool: ...

    def publish(self, key: str, event: LiveEvent) -> None:
        """Tell those who watch the chat `key`; costs next to nothing without any. Never raises."""

    def subscribe(self, key: str) -> AbstractAsyncContextManager[Subscription]:
        """Watch the chat `key`."""

    async def start(self) -> None:
        """Begin to tell; in the event loop in which it will be used."""

    async def aclose(self) -> None:
        """Give up what it holds; nothing is told any more."""


class LocalHub:
    """The hub of one process. `max_chars` bounds the text of a call, `alone` tells that no other process runs turns."""

    def __init__(self, *, max_chars: int, alone: bool = True, linger_s: float = LINGER_S) -> None:
        self._max_chars = max_chars
        self._linger_s = linger_s
        self._channels: dict[str, _Channel] = {}
        self._unused: dict[str, float] = {}  # since when, the longest first
        self._unwatched: dict[str, float] = {}  # in which something runs, the same
        self.reaches_all = alone

    def publish(self, key: str, event: LiveEvent) -> None:
        channel = self._channels.get(key)
        if channel is None:
            if not isinstance(event, CallStarted | ToolStarted):
                return
            channel = self._channels[key] = _Channel(self._max_chars)
        channel.publish(event)
        if not isinstance(event, TextAdded | ThoughtAdded):
            self._note_use(key, channel)

    @asynccontextmanager
    async def subscribe(self, key: str) -> AsyncIterator[Subscription]:
        channel = self._channels.setdefault(key, _Channel(self._max_chars))
        channel.watchers += 1
        self._note_use(key, channel)
        try:
            yield _LocalSubscription(channel)
        finally:
            channel.watchers -= 1
            self._note_use(key, channel)

    async def start(self) -> None:
        """Nothing is to be done."""

    async def aclose(self) -> None:
        for each in (self._channels, self._unused, self._unwatched):
            each.clear()

    def _note_use(self, key: str, channel: "_Channel") -> None:
        """Note whether a chat is used, and drop those that were not for a while.

        Without a timer: this also runs on the durable loop, whose timers are journaled.
        """
        now = time.monotonic()
        self._unused.pop(key, None)
        self._unwatched.pop(key, None)
        if not channel.watchers:
            (self._unused if channel.running.idle else self._unwatched)[key] = now
        self._drop(self._unused, now - self._linger_s)
        self._drop(self._unwatched, now - LOST_S)

    def _drop(self, since: dict[str, float], before: float) -> None:
        while since and (key := next(iter(since))) is not None and since[key] <= before:
            del since[key], self._channels[key]


class _Channel:
    """One chat: what runs in it, and the newest events for those who watch."""

    def __init__(self, max_chars: int) -> None:
        self.running = Running(max_chars)
        self.feed: Feed[LiveEvent] = Feed(FEED_EVENTS)
        self.watchers = 0

    def publish(self, event: LiveEvent) -> None:
        if isinstance(event, ChatChanged):
            news: tuple[LiveEvent, ...] = (*(self.running.clear() if event.forgotten else ()), event)
        else:
            news = self.running.take(event)
        if self.watchers:
            for each in news:
                self.feed.add(each)


class _LocalSubscription:
    """Everything so far, then what the feed of the channel brings."""

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel
        self._reader: Reader[LiveEvent] | None = None

    async def next(self) -> list[LiveEvent | Resync]:
        if self._reader is None:
            self._reader = self._channel.feed.reader()
            return [*self._channel.running.snapshot()]
        events = await self._reader.next()
        if events is None:  # the reader now goes on with what comes after this very moment
            return [Resync(), *self._channel.running.snapshot()]
        return [*events]

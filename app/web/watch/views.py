"""The views of all chats that somebody watches in this process.

A view lives as long as somebody watches. Belongs to one event loop.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Self

from app.live.events import Resync
from app.live.feed import Reader
from app.live.hub import Hub
from app.live.texts import joined
from app.web.watch.events import ViewEvent
from app.web.watch.reads import Reads
from app.web.watch.view import View

BATCHES_PER_S = 4000  # to all watchers of a process: each costs it a write to the network
AT_ONCE_S = 0.05  # of these may go without a pause


class Views:
    """`max_chars` bounds the text of a running call."""

    def __init__(self, hub: Hub, reads: Reads, *, max_chars: int = 200_000) -> None:
        self._hub = hub
        self._reads = reads
        self._max_chars = max_chars
        self._views: dict[str, View] = {}
        self._free_at = 0.0  # when the next batch may go
        self.watchers = 0

    @asynccontextmanager
    async def watch(self, key: str) -> "AsyncIterator[Watcher]":
        """Watch the chat `key`: what it is, then what becomes of it, without end.

        An `anext` of it may be cancelled, by a timeout for one, and nothing is lost.
        """
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = View(key, self._hub, self._reads, max_chars=self._max_chars)
            view.start()
        view.watchers += 1
        self.watchers += 1
        try:
            yield Watcher(view, self)
        finally:
            self.watchers -= 1
            view.watchers -= 1
            if not view.watchers:
                del self._views[key]
                await view.end()

    async def pause(self) -> None:
        """Wait until one more batch may go to a watcher: what comes meanwhile comes along."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at + 1 / BATCHES_PER_S, now - AT_ONCE_S)
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


class Watcher:
    """One who watches, with what it has not taken yet."""

    def __init__(self, view: View, views: Views) -> None:
        self._view = view
        self._views = views
        self._reader: Reader[ViewEvent] | None = None
        self._told: deque[ViewEvent] = deque()

    def __aiter__(self) -> Self:
        return self

    async def join(self) -> list[ViewEvent]:
        """Return what the chat is; the iteration goes on behind that. For who must know where the one begins."""
        self._reader, told = await self._view.join()
        return told

    async def __anext__(self) -> ViewEvent:
        if self._told:
            await asyncio.sleep(0)  # so that who takes a lot lets the others in
        while not self._told:
            self._told.extend(await self._next())
        return self._told.popleft()

    async def _next(self) -> Iterable[ViewEvent]:
        if self._reader is None:
            self._reader, told = await self._view.join()
            return told
        await self._reader.ready()
        await self._views.pause()
        news = self._reader.take()
        return [Resync(), *self._view.snapshot()] if news is None else joined(news)

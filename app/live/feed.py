"""A ring of events with readers at places of their own: whoever is too slow loses events, and nobody waits for them.

Knows nothing of the events but what each weighs. Belongs to one event loop.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

E = TypeVar("E")


class Feed(Generic[E]):
    """The newest events, of which all together weigh at most `limit`, or the newest one alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ring: deque[tuple[E, int]] = deque()
        self._weight = 0
        self._end = 0  # how many events there were
        self._waiting: dict[asyncio.Future[None], None] = {}  # in the order in which they wait

    def add(self, event: E, weight: int = 1) -> None:
        """Add an event, at the cost of the oldest ones."""
        self._ring.append((event, weight))
        self._weight += weight
        self._end += 1
        while self._weight > self._limit and len(self._ring) > 1:
            self._weight -= self._ring.popleft()[1]
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            for each in waiting:
                if not each.done():
                    each.set_result(None)

    def reader(self) -> "Reader[E]":
        """Return a reader of the events that come from here on."""
        return Reader(self)

    @property
    def end(self) -> int:
        return self._end

    def since(self, place: int) -> list[E] | None:
        """Return the events from a place on, None if not all of them are there."""
        behind = self._end - place
        if behind > len(self._ring):
            return None
        if behind == 1:
            return [self._ring[-1][0]]
        return [self._ring[n][0] for n in range(len(self._ring) - behind, len(self._ring))]

    async def added(self) -> None:
        """Wait for the next event."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiting] = None
        try:
            await waiting
        finally:
            self._waiting.pop(waiting, None)


class Reader(Generic[E]):
    """One reader of a feed."""

    def __init__(self, feed: Feed[E]) -> None:
        self._feed = feed
        self._place = feed.end

    async def next(self) -> list[E] | None:
        """Return what `take` does, as soon as there is something."""
        await self.ready()
        return self.take()

    async def ready(self) -> None:
        """Wait for an event that was not read yet."""
        while self._place == self._feed.end:
            await self._feed.added()

    def take(self) -> list[E] | None:
        """Return the events that were not read yet; None if some of them are lost. Reading goes on behind them."""
        events = self._feed.since(self._place)
        self._place = self._feed.end
        return events

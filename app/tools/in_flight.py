"""How many tool calls work at the same time in this process: the steps of the others wait for a place.

First come, first served. A call that sleeps, or waits for a person or an agent, works not: it takes no place.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

from app.settings import get_settings
from app.tools.progress import Tell


class InFlight:
    """`count` places."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = asyncio.Semaphore(count)

    @asynccontextmanager
    async def place(self, tell: Tell) -> AsyncIterator[None]:
        """Hold a place for the time of the block. Who watches is told of a wait for it."""
        waits = self._free.locked()
        if waits:
            tell(f"Waiting for a place: {self._count} tool calls work at the same time here (TOOLS_IN_FLIGHT).")
        async with self._free:
            if waits:
                tell("Working.")
            yield


@cache
def tools_in_flight() -> InFlight | None:
    """Return the places of this process, None without a limit."""
    count = get_settings().tools_in_flight
    return InFlight(count) if count else None

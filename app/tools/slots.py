"""The places for calls of tools that run side by side: so many at a time, or one alone.

First come, first served; knows nothing of tools.
"""

import asyncio


class Slots:
    """`count` places."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = asyncio.Semaphore(count)
        self._alone = asyncio.Lock()  # two that gather all places would wait for each other

    async def take(self, *, alone: bool = False) -> int:
        """Wait for a place, or for all of them; return how many were taken, for `give_back`."""
        if not alone:
            await self._free.acquire()
            return 1
        taken = 0
        async with self._alone:
            try:
                while taken < self._count:
                    await self._free.acquire()
                    taken += 1
            except asyncio.CancelledError:
                self.give_back(taken)
                raise
        return taken

    def give_back(self, taken: int) -> None:
        """Let others have what `take` has given."""
        for _ in range(taken):
            self._free.release()


class Place:
    """The place of one call, which leaves it for as long as it waits for a person."""

    def __init__(self, slots: Slots, *, alone: bool) -> None:
        self._slots = slots
        self._alone = alone
        self._taken = 0

    async def take(self) -> None:
        """Wait for the place."""
        self._taken = await self._slots.take(alone=self._alone)

    def leave(self) -> None:
        """Give the place back, if it is taken."""
        taken, self._taken = self._taken, 0
        self._slots.give_back(taken)

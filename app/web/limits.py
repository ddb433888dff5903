"""How much one caller may ask for: requests a second, and open streams.

Counts in the memory of this process. Knows callers by name only.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from app.web.refusals import later

_KEPT = 10_000  # names; the one that was silent longest is forgotten, and begins afresh
_NEXT_STREAM_S = 5


class Rate:
    """Lets each name do something `per_s` times a second, and `burst` times at once."""

    def __init__(self, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how many, at which time

    def take(self, name: str) -> None:
        """Count once. Errors: Refused (429) with the time until the next one."""
        now = self._clock()
        left, since = self._left.pop(name, (float(self._burst), now))
        left = min(float(self._burst), left + (now - since) * self._per_s)
        self._left[name] = (max(left - 1, 0.0) if left >= 1 else left, now)
        if len(self._left) > _KEPT:
            self._left.popitem(last=False)
        if left < 1:
            raise later(429, "Too many requests: wait a moment.", (1 - left) / self._per_s)


class Streams:
    """How many streams are open: of each name, and in all."""

    def __init__(self, per_name: int, in_all: int) -> None:
        self._per_name = per_name
        self._in_all = in_all
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        return self._open.total()

    @asynccontextmanager
    async def place(self, name: str) -> AsyncIterator[None]:
        """Hold a place for the time of the block. Errors: Refused: 429 for too many of this name, 503 in all."""
        if self._open[name] >= self._per_name:
            raise later(429, f"{self._per_name} streams of yours are open: close one first.", _NEXT_STREAM_S)
        if self.open >= self._in_all:
            raise later(503, "Too many streams are open here: try again later.", _NEXT_STREAM_S)
        self._open[name] += 1
        try:
            yield
        finally:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]

"""How much the LLM is asked in a minute: so many requests, so many tokens. Calls beyond that get a place in a queue.

Counts in the memory of this process, for all who ask from it. Knows callers by name only.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from app.errors import LLMLimited

MINUTE_S = 60.0
HELD_S = 2.0  # a shorter wait is not worth the journal entries of a durable one
LAPSES_AFTER_S = 10.0  # from the time of a place: who has not come by then has gone, or asks in another process
LEARNS = 0.2  # share of the last call in what is known of how far estimates are off
MAX_RATIO = 10.0  # a server that reports nonsense must not stop everything


@dataclass(frozen=True)
class Rates:
    """So many requests and tokens a minute, of all `processes` together; 0 is no limit."""

    requests: int = 0
    tokens: int = 0
    processes: int = 1

    @property
    def sentence(self) -> str:
        """What the user is told while a call waits."""
        named = [f"{self.requests} requests (LLM_REQUESTS_PER_MIN)"] if self.requests else []
        named += [f"{self.tokens} tokens (LLM_TOKENS_PER_MIN)"] if self.tokens else []
        return (
            f"The LLM is asked as much as it may be in a minute, {' and '.join(named)}: this call waits for its turn."
        )


NO_LIMIT = Rates()


@dataclass(eq=False)
class Place:
    """The place of one call, which may begin `at` this time of the clock. `estimated` are its tokens."""

    at: float
    estimated: int


class Allowance:
    """What `rates` allow this process. Places are given in the order in which they are asked for, one to each caller.

    In a minute no more calls begin than that. Tokens are estimated, and corrected when they are known: what a call took
    beyond its estimate is missing to those that ask later. A place that nobody takes is given to who comes next.
    """

    def __init__(self, rates: Rates, clock: Callable[[], float] = time.monotonic) -> None:
        self._rates = rates
        self._clock = clock
        self._requests = _window(rates.requests, rates.processes)
        self._tokens = _window(rates.tokens, rates.processes)
        self._windows = [window for window in (self._requests, self._tokens) if window is not None]
        self._last = clock()  # the latest time that was given: nobody begins before who has asked earlier
        self._waiting: OrderedDict[object, Place] = OrderedDict()  # by caller, in the order of their times
        self._ratio = 1.0

    @property
    def counts_tokens(self) -> bool:
        return self._tokens is not None

    @property
    def makes_wait(self) -> bool:
        """Whether who asks now for the first time has to wait, or others do."""
        now = self._clock()
        somebody = bool(self._waiting) and next(reversed(self._waiting.values())).at + LAPSES_AFTER_S >= now
        return somebody or any(window.is_full(now) for window in self._windows)

    async def enter(self, caller: str, tokens: int, *, patience_s: float) -> Place:
        """Wait until a call may begin, and return its place. `tokens` are an estimate.

        A caller with a name waits for HELD_S at most, and keeps the place: it comes again. One without waits here, for
        `patience_s`.
        Errors: LLMLimited with the seconds until its time comes.
        """
        name: object = caller or object()
        place, wait_s = self.ask(name, tokens)
        if wait_s > (HELD_S if caller else patience_s):
            raise LLMLimited(self._rates.sentence, retry_after_s=wait_s)
        while wait_s > 0:
            await asyncio.sleep(wait_s)
            place, wait_s = self.ask(name, tokens)
        return place

    def ask(self, caller: object, tokens: int) -> tuple[Place, float]:
        """Return the place of a caller, and the seconds until its call may begin: with 0 it has begun."""
        now = self._clock()
        place = self._kept(caller, now) or self._lapsed(now) or self._book(now, tokens)
        if place.at > now:
            self._waiting[caller] = place
            return place, place.at - now
        self._waiting.pop(caller, None)
        place.at = now  # it counts for a minute from here
        return place, 0.0

    def correct(self, place: Place, tokens: int) -> None:
        """Note how many tokens a call took."""
        if self._tokens is not None:
            self._tokens.change(place, tokens)
            off = min(tokens / max(place.estimated, 1), MAX_RATIO)
            self._ratio += LEARNS * (off - self._ratio)

    def _kept(self, caller: object, now: float) -> Place | None:
        """Return the place that a caller has, unless that is so old that it counts no more."""
        place = self._waiting.get(caller)
        if place is not None and place.at + MINUTE_S <= now:
            del self._waiting[caller]
            return None
        return place

    def _lapsed(self, now: float) -> Place | None:
        """Return a place whose caller has not come, if there is one that still counts."""
        while self._waiting:
            caller, place = next(iter(self._waiting.items()))
            if place.at + LAPSES_AFTER_S >= now:
                return None
            del self._waiting[caller]
            if place.at + MINUTE_S > now:
                return place
        return None

    def _book(self, now: float, estimated: int) -> Place:
        place = Place(max(now, self._last), estimated)
        tokens = round(estimated * self._ratio)
        if self._requests is not None:
            place.at = self._requests.room_at(place.at, 1)
        if self._tokens is not None:
            place.at = self._tokens.room_at(place.at, tokens)
            self._tokens.add(place, tokens)
        if self._requests is not None:
            self._requests.add(place, 1)
        self._last = place.at
        return place


class _Window:
    """What begins within `span_s` seconds: `limit` at most, or one place alone that counts for more.

    Places are added in the order of their times.
    """

    def __init__(self, limit: int, span_s: float) -> None:
        self._limit = limit
        self._span_s = span_s
        self._places: OrderedDict[Place, int] = OrderedDict()
        self._sum = 0

    def is_full(self, now: float) -> bool:
        """Return whether nothing can begin now."""
        while self._places and (first := next(iter(self._places))).at + self._span_s <= now:
            self._sum -= self._places.pop(first)
        return self._sum >= self._limit

    def room_at(self, at: float, amount: int) -> float:
        """Return when there is room for so much, `at` or later; what counts no more then is dropped."""
        while self._places:
            first = next(iter(self._places))
            if first.at + self._span_s > at and self._sum + amount <= self._limit:
                break
            at = max(at, first.at + self._span_s)
            self._sum -= self._places.pop(first)
        return at

    def add(self, place: Place, amount: int) -> None:
        self._places[place] = amount
        self._sum += amount

    def change(self, place: Place, amount: int) -> None:
        """Correct what a place counts for, if it still does."""
        if place in self._places:
            self._sum += amount - self._places[place]
            self._places[place] = amount


def _window(limit: int, processes: int) -> _Window | None:
    """Return the share of one process. Where that is less than one a minute, it is one in more than a minute."""
    if not limit:
        return None
    share = limit // processes
    return _Window(share, MINUTE_S) if share else _Window(1, MINUTE_S * processes / limit)

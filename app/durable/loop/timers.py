"""The clock of a durable loop and its timers: which fire together, and how a wait is longer than a sleep of the engine.

Completes no durable futures: the loop does, and runs what `fire` returns.
"""

from collections.abc import Callable
from datetime import timedelta

from restate import RestateDurableFuture

from app.durable.loop.futures import DurableTimer

Sleep = Callable[[timedelta], RestateDurableFuture[None]]

_LONGEST_S = 100 * 365.25 * 24 * 3600  # of one sleep of the engine; a longer wait is several, an infinite one goes on


class Timers:
    """The timers that have begun. `now` moves only when one fires.

    An instant is a time of the clock for which timers were made at one place, that is between the same two completions.
    Two such timers are due at the same moment of the real time too, so the first sleep that ends stands for both.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._instants: dict[tuple[int, float], dict[RestateDurableFuture[None], DurableTimer]] = {}

    def begin(self, timer: DurableTimer, sleep: Sleep, *, place: int) -> RestateDurableFuture[None]:
        """Begin the sleep of the engine for a timer and return it. It ends before the timer if it cannot be as long."""
        timer.place = place
        timer.wakes_at = min(max(timer.when(), self.now), self.now + _LONGEST_S)
        timer.sleep = sleep(timedelta(seconds=timer.wakes_at - self.now))
        self._instants.setdefault((place, timer.wakes_at), {})[timer.sleep] = timer
        return timer.sleep

    def fire(self, timer: DurableTimer) -> list[DurableTimer]:
        """Move the clock to a timer whose sleep has ended. Return all of its instant, in the order of their time."""
        self.now = max(self.now, timer.wakes_at)
        return sorted(self._instants.pop((timer.place, timer.wakes_at)).values(), key=DurableTimer.when)

    def forget(self, timer: DurableTimer) -> None:
        """Leave out a timer that was cancelled."""
        instant = self._instants.get((timer.place, timer.wakes_at))
        if instant is not None and timer.sleep is not None:
            instant.pop(timer.sleep, None)
            if not instant:
                del self._instants[timer.place, timer.wakes_at]

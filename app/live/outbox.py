"""What is to be written of one chat for other processes: all that happens, or if that is too much, what runs.

No I/O.
"""

import time

from app.live.events import ChatChanged, LiveEvent
from app.live.running import Running

MAX_PENDING = 5_000  # events that wait


class Outbox:
    """What is to be written of one chat. `written_at` is when that was done last."""

    def __init__(self, max_chars: int) -> None:
        self._running = Running(max_chars)
        self._pending: list[LiveEvent] = []
        self._lost = False
        self._forgotten = self._was_forgotten = False
        self.written_at = time.monotonic()

    @property
    def done(self) -> bool:
        """Whether nothing runs and nothing waits to be written."""
        return self._running.idle and not self._pending and not self._lost

    def take(self, event: LiveEvent) -> bool:
        """Take an event; return whether there is something to write."""
        if isinstance(event, ChatChanged):
            self._forgotten = self._forgotten or event.forgotten
            if event.forgotten:
                self._running.clear()
            news: tuple[LiveEvent, ...] = (event,)
        else:
            news = self._running.take(event)
        if not self._lost:
            self._pending += news
            if len(self._pending) > MAX_PENDING:
                self.lose()
        return bool(news)

    def lose(self) -> None:
        """Give up what waits or was taken last; all that runs is written in its place."""
        self._lost, self._pending = True, []
        self._forgotten = self._forgotten or self._was_forgotten

    def taken(self) -> list[LiveEvent]:
        """Return what is to be written. If that fails, `lose` must be called."""
        if self._lost:
            events: list[LiveEvent] = [ChatChanged(forgotten=self._forgotten), *self._running.snapshot()]
        else:
            events = self._pending
        self._pending, self._lost = [], False
        self._was_forgotten, self._forgotten = self._forgotten, False
        return events

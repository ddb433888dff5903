"""The view of a chat: one reader of its record and of its stream in this process, however many watch.

Decides nothing, changes nothing: who watches a chat leaves no trace in it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable

from app.live.ending import end
from app.live.events import CallStarted, ChatChanged, LiveEvent, Resync, ToolStarted
from app.live.feed import Feed, Reader
from app.live.hub import Hub
from app.live.running import Running
from app.turns.reading.history import LookRequest
from app.web.watch.events import StatusSeen, TurnSeen, Unavailable, ViewEvent
from app.web.watch.reads import Reads, RecordUnavailable
from app.web.watch.record import Record

BUSY_S = 2.0  # a hint may be lost with the process that gives it: then a change shows after this, at the latest
IDLE_S = 10.0
GAP_S = 0.03  # between two reads
SECOND_LOOKS_S = (0.05, 0.25)  # after a hint whose change does not show: it may have come before the change
HEAL_S = 10.0  # between two reads that have dead runs looked for
BACKOFF_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
FEED_WEIGHT = 1000  # by which a watcher may be behind, in texts: 20 s of a fast LLM
TURN_WEIGHT = 20  # of a turn, which may be long

logger = logging.getLogger("live")


class View:
    """One chat. `watchers` counts who watches it."""

    def __init__(self, key: str, hub: Hub, reads: Reads, *, max_chars: int) -> None:
        self._key = key
        self._hub = hub
        self._reads = reads
        self._feed: Feed[ViewEvent] = Feed(FEED_WEIGHT)
        self._record = Record()
        self._running = Running(max_chars)
        self._unavailable: Unavailable | None = None
        self._hinted = asyncio.Event()
        self._seen = asyncio.Event()  # the record, or that it cannot be read
        self._healed_at = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []
        self.watchers = 0

    def start(self) -> None:
        """Begin to read."""
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._read())]

    async def end(self) -> None:
        """Stop reading."""
        await end(self._tasks)

    async def join(self) -> tuple[Reader[ViewEvent], list[ViewEvent]]:
        """Return a reader of what becomes of the chat, and what it is at that moment."""
        self._hinted.set()  # who joins sees what is, whatever was lost
        await self._seen.wait()
        return self._feed.reader(), self.snapshot()

    def snapshot(self) -> list[ViewEvent]:
        """Return what the chat is."""
        status = self._record.status
        told: list[ViewEvent] = [] if status is None else [StatusSeen(status)]
        told += [TurnSeen(turn) for turn in self._record.turns]
        told += (event for event in self._running.snapshot() if not isinstance(event, ChatChanged))
        return told if self._unavailable is None else [*told, self._unavailable]

    def _tell(self, events: Iterable[LiveEvent | ViewEvent]) -> None:
        for event in events:
            if not isinstance(event, ChatChanged):
                self._feed.add(event, TURN_WEIGHT if isinstance(event, TurnSeen) else 1)

    # The stream

    async def _follow(self) -> None:
        while True:
            try:
                async with self._hub.subscribe(self._key) as stream:
                    while True:
                        for event in await stream.next():
                            self._take(event)
            except Exception:
                logger.exception("Bug in the stream of a chat")
                await asyncio.sleep(BACKOFF_S[-1])

    def _take(self, event: LiveEvent | Resync) -> None:
        if isinstance(event, ChatChanged):
            if event.forgotten:
                self._tell(self._running.clear())
            self._hinted.set()
        elif isinstance(event, Resync):
            self._hinted.set()
        elif not isinstance(event, CallStarted | ToolStarted) or not self._record.has(event.text_id):
            self._tell(self._running.take(event))

    # The record

    async def _read(self) -> None:
        failures = 0
        second_looks: list[float] = []
        while True:
            hinted = self._hinted.is_set()
            self._hinted.clear()
            try:
                changed = await self._look()
                failures = 0
            except RecordUnavailable as exc:
                self._tell_unavailable(exc.message)
                await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
                failures += 1
                continue
            except Exception:
                logger.exception("Bug in the view of a chat")
                self._tell_unavailable("The chat cannot be read: internal error")
                await asyncio.sleep(BACKOFF_S[-1])
                continue
            if changed:
                second_looks = []
            elif hinted:
                second_looks = [*SECOND_LOOKS_S]
            await asyncio.sleep(GAP_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(second_looks.pop(0) if second_looks else self._pause_s()):
                    await self._hinted.wait()

    def _pause_s(self) -> float:
        return BUSY_S if self._record.busy or not self._hub.reaches_all else IDLE_S

    async def _look(self) -> bool:
        """Read the record and tell what has changed; return whether anything has."""
        now = asyncio.get_running_loop().time()
        heal = now - self._healed_at > HEAL_S
        look = await self._reads.look(self._key, LookRequest(after_turn=self._record.after_turn, heal=heal))
        if heal:
            self._healed_at = now
        came_back = self._unavailable is not None
        self._unavailable = None
        before = self._record.status
        forgotten = before is not None and look.status.last_turn_id < before.last_turn_id
        new_status, turns = self._record.take(look)
        if forgotten:
            self._tell(self._running.clear())
        if (text_id := self._running.text_id) is not None and self._record.has(text_id):
            self._tell(self._running.clear())  # its end comes before the turn that has its text
        if new_status or came_back:
            self._tell([StatusSeen(look.status)])
        self._tell(TurnSeen(turn) for turn in turns)
        self._seen.set()
        return new_status or bool(turns)

    def _tell_unavailable(self, why: str) -> None:
        if self._unavailable is None:
            self._unavailable = Unavailable(why)
            self._tell([self._unavailable])
        self._seen.set()

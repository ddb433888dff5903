"""The hub of several processes: a stream of Redis or Valkey for each chat, written in batches, read by who watches.

Whoever publishes never waits for Redis. Without it watchers are left to the record, until it is back.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, cast

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.live.ending import end
from app.live.events import CallStarted, ChatChanged, LiveEvent
from app.live.hub import LOST_S, LocalHub, Subscription
from app.live.outbox import Outbox
from app.live.running import Running
from app.live.wire import read, written
from app.text import printable, words_of

PREFIX = "interruptible-agents:live:"
BATCH_S = 0.025  # between two writes
BLOCK_S = 1.0  # of a read that waits for events
TIMEOUT_S = 2.0
LIFE_S = 3600  # of a stream to which nothing is written
MAX_BATCHES = 20_000  # in a stream: more than a call may make in eight minutes
KEPT_S = 30  # of what was before the newest call, for readers that are behind
PAGE = 1000
BACKOFF_S = (0.1, 0.25, 0.5, 1.0, 2.0)

logger = logging.getLogger("live")


class RedisHub:
    """The streams of the server at `url`. `max_chars` bounds the text of a call."""

    def __init__(self, url: str, *, max_chars: int) -> None:
        self._writer, self._reader = _client(url, TIMEOUT_S), _client(url, BLOCK_S + TIMEOUT_S)
        self._max_chars = max_chars
        self._local = LocalHub(max_chars=max_chars)  # what has come back, for those who watch here
        self._outboxes: dict[str, Outbox] = {}
        self._to_write: set[str] = set()
        self._written = asyncio.Event()
        self._places: dict[str, str] = {}  # by chat, the id of what was read last
        self._watchers: dict[str, int] = {}
        self._bell = f"{PREFIX}bell:{secrets.token_hex(8)}"  # ends a read that waits for too few streams
        self._bell_place = "0"
        self._ring = False
        self._watched = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._fault: str | None = None

    @property
    def reaches_all(self) -> bool:
        return self._fault is None

    async def start(self) -> None:
        self._written.set()  # so that a server that is not there is told of at once
        self._tasks = [asyncio.create_task(self._write_for_ever()), asyncio.create_task(self._read_for_ever())]

    async def aclose(self) -> None:
        await end(self._tasks)
        for client in (self._writer, self._reader):
            with contextlib.suppress(Exception):  # it may be the connection that is broken
                await client.aclose()
        await self._local.aclose()

    def publish(self, key: str, event: LiveEvent) -> None:
        outbox = self._outboxes.get(key)
        if outbox is None:
            outbox = self._outboxes[key] = Outbox(self._max_chars)
        if outbox.take(event):
            self._to_write.add(key)
            self._written.set()

    @asynccontextmanager
    async def subscribe(self, key: str) -> AsyncIterator[Subscription]:
        self._watchers[key] = self._watchers.get(key, 0) + 1
        try:
            if key not in self._places and self.reaches_all:
                with contextlib.suppress(redis.RedisError, OSError, TimeoutError):  # who writes and reads notices too
                    await self._catch_up(key)
            self._places.setdefault(key, "0")
            self._ring = True
            self._watched.set()
            self._written.set()
            async with self._local.subscribe(key) as subscription:
                yield subscription
        finally:
            self._watchers[key] -= 1
            if not self._watchers[key]:
                del self._watchers[key]
                self._places.pop(key, None)

    # Writing

    async def _write_for_ever(self) -> None:
        failures = 0
        while True:
            await self._written.wait()
            self._written.clear()
            keys, self._to_write = self._to_write, set()
            try:
                await self._write(keys)
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is said and tried again
                self._fail(exc)
                for key in keys:
                    self._outboxes[key].lose()
                self._to_write |= keys
                self._written.set()
                await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
                failures += 1
                continue
            failures = 0
            self._recover()
            self._drop(keys)
            await asyncio.sleep(BATCH_S)

    def _drop(self, keys: set[str]) -> None:
        """Drop what need not be kept of these chats, and of those of which nothing was heard for long."""
        now = time.monotonic()
        for key in keys:
            outbox = self._outboxes.pop(key)
            if key in self._to_write or not outbox.done:
                outbox.written_at = now
                self._outboxes[key] = outbox  # the one that was written last is the last
        while self._outboxes:
            key, outbox = next(iter(self._outboxes.items()))
            if key in self._to_write or now - outbox.written_at < LOST_S:
                return
            del self._outboxes[key]

    async def _write(self, keys: set[str]) -> None:
        if self._fault is not None or not keys:
            await _within(self._writer.ping())
        async with self._writer.pipeline(transaction=False) as pipe:
            if self._ring:
                self._ring = False
                pipe.xadd(self._bell, {"e": ""}, maxlen=1)
                pipe.expire(self._bell, LIFE_S)
            for key in keys:
                self._put(pipe, PREFIX + key, self._outboxes[key].taken())
            await _within(pipe.execute())

    def _put(self, pipe: Any, stream: str, events: list[LiveEvent]) -> None:
        if any(isinstance(event, ChatChanged) and event.forgotten for event in events):
            pipe.xtrim(stream, maxlen=0, approximate=False)  # keeps the last id, unlike DEL: readers go on behind it
        elif any(isinstance(event, CallStarted) for event in events):
            pipe.xtrim(stream, minid=int((time.time() - KEPT_S) * 1000))
        pipe.xadd(stream, {"e": written(events)}, maxlen=MAX_BATCHES)
        pipe.expire(stream, LIFE_S)

    # Reading

    async def _read_for_ever(self) -> None:
        failures = 0
        while True:
            try:
                if failures or self._fault is not None:
                    await _within(self._reader.ping())
                    for key in [*self._places]:
                        await self._catch_up(key)
                        self._local.publish(key, ChatChanged())  # a hint may be lost
                while True:
                    await self._read()
                    failures = 0
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is said and tried again
                self._fail(exc)
                self._written.set()  # who writes tries it too, and says when it is back
                await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
                failures += 1

    async def _read(self) -> None:
        if not self._places:
            self._watched.clear()
            await self._watched.wait()
        places = {PREFIX + key: place for key, place in self._places.items()}
        streams: Any = {self._bell: self._bell_place, **places}
        answer: Any = await self._reader.xread(streams, count=PAGE, block=int(BLOCK_S * 1000))
        for name, entries in answer or ():
            stream = name.decode()
            place = entries[-1][0].decode()
            if stream == self._bell:
                self._bell_place = place
                continue
            key = stream.removeprefix(PREFIX)
            if self._places.get(key) != places[stream]:  # it was read again meanwhile
                continue
            self._places[key] = place
            for _, fields in entries:
                for event in read(fields.get(b"e", b"")):
                    self._local.publish(key, event)

    async def _catch_up(self, key: str) -> None:
        """Read all that a stream has, and tell what runs now."""
        running = Running(self._max_chars)
        place = "-"
        while True:
            after = place if place == "-" else f"({place}"
            entries: Any = await _within(self._writer.xrange(PREFIX + key, min=after, count=PAGE))
            for _, fields in entries:
                for event in read(fields.get(b"e", b"")):
                    running.take(event)
                    if isinstance(event, ChatChanged) and event.forgotten:
                        running.clear()
            if entries:
                place = entries[-1][0].decode()
            if len(entries) < PAGE:
                break
        if key not in self._places or _number(self._places[key]) < _number(place):
            self._places[key] = "0" if place == "-" else place
        for event in running.snapshot():
            self._local.publish(key, event)

    # Faults

    def _fail(self, exc: Exception) -> None:
        if self._fault is None:
            self._fault = printable(words_of(exc))
            logger.warning(
                "REDIS_URL does not work (%s): who watches a chat sees each step when it is recorded, no text as it is "
                "written, until it does",
                self._fault,
            )

    def _recover(self) -> None:
        if self._fault is not None:
            self._fault = None
            logger.info("REDIS_URL works again")


def _number(place: str) -> tuple[int, int]:
    """Return the id of an entry as what orders it."""
    time_ms, _, number = place.partition("-")
    return int(time_ms or 0), int(number or 0)


def _client(url: str, timeout_s: float) -> redis.Redis:
    return redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),  # what is lost is not worth a wait
        protocol=2,
    )


async def _within(answer: Awaitable[Any] | Any) -> Any:
    async with asyncio.timeout(2 * TIMEOUT_S):  # after that of the connection, which leaves it in order
        return await cast("Awaitable[Any]", answer)

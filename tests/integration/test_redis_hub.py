"""The hub of several processes, with a real server: killed, hung, emptied and refused in between."""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from app.live.events import CallEnded, CallStarted, ChatChanged, LiveEvent, Resync, TextAdded, TextId, ToolStarted
from app.live.redis_hub import PREFIX, RedisHub
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

KEY = "jörg 日"
CALL = TextId(1, 1, "a")
OTHER = TextId(1, 3, "b")


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path)
    try:
        await server.start()
        yield server
    finally:
        server.kill9()


@asynccontextmanager
async def hub_at(url: str, *, max_chars: int = 100_000) -> AsyncIterator[RedisHub]:
    hub = RedisHub(url, max_chars=max_chars)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.aclose()


class Listener:
    """What a watcher of one process hears; its texts, put together."""

    def __init__(self, hub: RedisHub, key: str = KEY) -> None:
        self.heard: list[LiveEvent | Resync] = []
        self.texts: dict[TextId, str] = {}
        self._task = asyncio.create_task(self._listen(hub, key))

    async def _listen(self, hub: RedisHub, key: str) -> None:
        async with hub.subscribe(key) as stream:
            while True:
                for event in await stream.next():
                    self.heard.append(event)
                    if isinstance(event, CallStarted):
                        assert event.text_id not in self.texts, "it began twice"
                        self.texts[event.text_id] = ""
                    if isinstance(event, TextAdded):
                        assert event.offset == len(self.texts[event.text_id]), "a gap or a repeat"
                        self.texts[event.text_id] += event.text

    async def hears(self, check: Callable[["Listener"], object], timeout_s: float = 10) -> None:
        def holds() -> object:
            if self._task.done():
                self._task.result()
            return check(self)

        await eventually(holds, timeout_s=timeout_s, every_s=0.005)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def listening(hub: RedisHub) -> AsyncIterator[Listener]:
    listener = Listener(hub)
    try:
        yield listener
    finally:
        await listener.end()


class Speaker:
    """Writes one text, piece by piece, as an LLM call does."""

    def __init__(self, hub: RedisHub, call: TextId = CALL) -> None:
        self.text = ""
        self.slowest_s = 0.0
        self._hub = hub
        self._call = call
        self._publish(CallStarted(call, ("m1",)))

    def say(self, text: str) -> None:
        self._publish(TextAdded(self._call, len(self.text), text))
        self.text += text

    async def go_on(self, seconds: float) -> None:
        """Say something every 5 ms."""
        ends_at = time.monotonic() + seconds
        for n in itertools.count():
            self.say(f"{n} ")
            await asyncio.sleep(0.005)
            if time.monotonic() > ends_at:
                return

    def _publish(self, event: LiveEvent) -> None:
        began = time.perf_counter()
        self._hub.publish(KEY, event)
        self.slowest_s = max(self.slowest_s, time.perf_counter() - began)


async def test_from_one_process_to_another(server: RedisServer) -> None:
    """A watcher hears what another process tells, in order; one who joins later hears all so far and then the tail."""
    async with hub_at(server.url) as writer, hub_at(server.url) as reader, listening(reader) as early:
        speaker = Speaker(writer)
        await speaker.go_on(0.3)
        async with listening(reader) as late, hub_at(server.url) as third, listening(third) as other:
            await speaker.go_on(0.3)
            writer.publish(KEY, CallEnded(CALL))
            writer.publish(KEY, ToolStarted(CALL, "c1", "look", '{"a": 1}'))
            for each in (early, late, other):
                await each.hears(lambda it: any(isinstance(event, ToolStarted) for event in it.heard))
                assert each.texts == {CALL: speaker.text}
                assert each.heard[0] == CallStarted(CALL, ("m1",))
                assert each.heard[-2:] == [CallEnded(CALL), ToolStarted(CALL, "c1", "look", '{"a": 1}')]


async def test_it_comes_soon(server: RedisServer) -> None:
    """From one process to another it takes less than 100 ms, in the median."""
    async with hub_at(server.url) as writer, hub_at(server.url) as reader, listening(reader) as listener:
        speaker = Speaker(writer)
        await listener.hears(lambda it: it.texts)
        delays = []
        for _ in range(20):
            began = time.monotonic()
            speaker.say("word ")
            await listener.hears(lambda it: it.texts[CALL] == speaker.text)
            delays.append(time.monotonic() - began)
        assert sorted(delays)[10] < 0.1


async def _killed(server: RedisServer) -> None:
    server.kill9()


async def _hung(server: RedisServer) -> None:
    server.hang()


async def _started(server: RedisServer) -> None:
    await server.start()


async def _woken(server: RedisServer) -> None:
    server.go_on()


@pytest.mark.parametrize(("fall", "rise"), [(_killed, _started), (_hung, _woken)], ids=["killed", "hung"])
async def test_without_the_server(
    server: RedisServer,
    caplog: pytest.LogCaptureFixture,
    fall: Callable[[RedisServer], Awaitable[None]],
    rise: Callable[[RedisServer], Awaitable[None]],
) -> None:
    """While the server is away who publishes is not delayed; a line says it; then the text has no gap and no repeat."""
    caplog.set_level(logging.INFO, "live")
    async with hub_at(server.url) as writer, hub_at(server.url) as reader, listening(reader) as listener:
        speaker = Speaker(writer)
        await speaker.go_on(0.2)
        await listener.hears(lambda it: it.texts.get(CALL) == speaker.text)
        await fall(server)
        await speaker.go_on(1)
        await eventually(lambda: not writer.reaches_all and not reader.reaches_all)
        assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 2  # one of each process
        await rise(server)
        await speaker.go_on(0.5)
        await listener.hears(lambda it: it.texts[CALL] == speaker.text)
        await eventually(lambda: writer.reaches_all and reader.reaches_all)
        assert ChatChanged() in listener.heard  # whatever was lost is read from the record
        assert speaker.slowest_s < 0.1
        async with listening(reader) as late:
            await late.hears(lambda it: it.texts == {CALL: speaker.text})
    assert len([r for r in caplog.records if "works again" in r.message]) == 2


async def test_started_before_the_server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A server that comes later is used when it is there; one line says that it is not."""
    server = RedisServer(tmp_path)
    async with hub_at(server.url) as hub, listening(hub) as listener:
        speaker = Speaker(hub)
        await speaker.go_on(0.5)
        await eventually(lambda: not hub.reaches_all)
        assert len(caplog.records) == 1
        try:
            await server.start()
            await listener.hears(lambda it: it.texts == {CALL: speaker.text})
        finally:
            server.kill9()


async def test_emptied(server: RedisServer) -> None:
    """FLUSHALL in the middle of a text costs those who watch nothing."""
    async with hub_at(server.url) as writer, hub_at(server.url) as reader, listening(reader) as listener:
        speaker = Speaker(writer)
        await speaker.go_on(0.2)
        await listener.hears(lambda it: it.texts.get(CALL) == speaker.text)
        await server.do("FLUSHALL")
        await speaker.go_on(0.2)
        await listener.hears(lambda it: it.texts[CALL] == speaker.text)


async def test_refused(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """A server that wants a password is told of in one line, which does not hold that of the setting."""
    await server.do("CONFIG", "SET", "requirepass", "right")
    async with hub_at(server.url.replace("//", "//:wrong@")) as hub, listening(hub):
        speaker = Speaker(hub)
        await speaker.go_on(0.5)
        await eventually(lambda: not hub.reaches_all)
    assert len(caplog.records) == 1
    assert "wrong" not in caplog.text.replace("WRONGPASS", "")


async def test_what_was_forgotten_is_gone(server: RedisServer) -> None:
    """What ran in a chat that was forgotten is not in the server any more."""
    async with hub_at(server.url) as hub:
        Speaker(hub).say("secret")
        await eventually(lambda: not hub._to_write)
        hub.publish(KEY, ChatChanged(forgotten=True))

        async def gone() -> bool:
            return b"secret" not in str(await server.do("XRANGE", PREFIX + KEY, "-", "+")).encode()

        await eventually(gone)
        async with listening(hub) as listener, listening(hub) as another:
            hub.publish(KEY, ChatChanged())
            await another.hears(lambda it: ChatChanged() in it.heard)
            assert listener.texts == {}


async def test_it_does_not_grow(server: RedisServer) -> None:
    """A chat whose calls are over takes no memory of the process, and its stream ends by itself."""
    async with hub_at(server.url) as hub:
        Speaker(hub).say("text")
        hub.publish(KEY, CallEnded(CALL))
        await eventually(lambda: not hub._outboxes)
        ttl = await server.do("TTL", PREFIX + KEY)
        assert isinstance(ttl, int)
        assert 0 < ttl <= 3600


async def test_another_call(server: RedisServer) -> None:
    """Who joins hears of the newest call only."""
    async with hub_at(server.url) as hub:
        Speaker(hub).say("old")
        hub.publish(KEY, CallEnded(CALL))
        Speaker(hub, OTHER).say("new")
        await eventually(lambda: not hub._to_write)
        async with listening(hub) as listener:
            await listener.hears(lambda it: it.texts == {OTHER: "new"})

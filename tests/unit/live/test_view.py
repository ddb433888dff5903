"""The view of a chat: its record and its stream, joined in order, by one reader however many watch."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.live.events import CallEnded, CallStarted, ChatChanged, TextAdded, TextId, ToolStarted
from app.live.hub import LocalHub
from app.turns.control import OpenTurn, Session
from app.turns.modes import Mode
from app.turns.reading.history import Look, LookRequest, status_of, view_of
from app.turns.transcript import AssistantItem, Item, Turn, TurnStatus, UserItem
from app.web.watch import RecordUnavailable, Views, view
from app.web.watch.events import Resync, StatusSeen, TurnSeen, Unavailable, ViewEvent
from tests.support.eventually import eventually

KEY = "ellie"
CLOSED = (TurnStatus.COMPLETED, TurnStatus.INTERRUPTED)


class FakeRecord:
    """The record of a chat that a test changes; `broken` makes it unreadable, `gate` holds reads back."""

    def __init__(self) -> None:
        self.turns: dict[int, Turn] = {}
        self.requests: list[LookRequest] = []
        self.broken = False
        self.stale: Look | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    def put(self, turn_id: int, *texts: str, status: TurnStatus = TurnStatus.RUNNING) -> None:
        """Let a turn have a message and these answers."""
        items: list[Item] = [UserItem(message_id=f"m{turn_id}", content="hello")]
        items += [AssistantItem(content=text) for text in texts]
        self.turns[turn_id] = Turn(turn_id=turn_id, status=status, items=tuple(items))

    async def look(self, key: str, request: LookRequest) -> Look:
        assert key == KEY
        self.requests.append(request)
        await self.gate.wait()
        await asyncio.sleep(0)
        if self.broken:
            raise RecordUnavailable("Restate is away")
        open_turns = {n: turn for n, turn in self.turns.items() if turn.status not in CLOSED}
        session = Session(last_turn_id=max(self.turns, default=0), open=tuple(OpenTurn(turn_id=n) for n in open_turns))
        closed = [n for n in self.turns if n not in open_turns and n > (request.after_turn or 0)]
        shown = sorted([*open_turns, *(closed[-1:] if request.after_turn is None else closed)])
        return Look(
            status=status_of(session, open_turns, Mode.INTERRUPT), turns=[view_of(self.turns[n]) for n in shown]
        )


class Chat:
    """A chat whose run a test plays: what it tells, and what is recorded."""

    def __init__(self) -> None:
        self.hub = LocalHub(max_chars=10_000)
        self.record = FakeRecord()
        self.views = Views(self.hub, self.record)

    def change(self) -> None:
        self.hub.publish(KEY, ChatChanged())

    def begin(self, which: TextId) -> None:
        self.hub.publish(KEY, CallStarted(which, (f"m{which.turn_id}",)))

    def say(self, which: TextId, offset: int, text: str) -> None:
        self.hub.publish(KEY, TextAdded(which, offset, text))

    def end(self, which: TextId) -> None:
        self.hub.publish(KEY, CallEnded(which))

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[list[ViewEvent]]:
        """Watch, and return what is seen as it comes."""
        seen: list[ViewEvent] = []

        async def watch() -> None:
            async with self.views.watch(KEY) as events:
                async for event in events:
                    seen.append(event)

        task = asyncio.create_task(watch())
        await eventually(lambda: seen, every_s=0.001)
        for _ in range(10):  # one pass of the loop for each event of a snapshot
            await asyncio.sleep(0)
        try:
            yield seen
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Chat:
    monkeypatch.setattr(view, "GAP_S", 0.001)
    return Chat()


def call(turn_id: int = 1, index: int = 1, attempt: str = "a") -> TextId:
    return TextId(turn_id, index, attempt)


def kinds(seen: list[ViewEvent]) -> list[str]:
    return [type(event).__name__ for event in seen]


async def test_a_text_ends_before_its_turn_shows_it(chat: Chat) -> None:
    """Where the record is faster than the stream the view ends the call itself, and says nothing of it afterwards."""
    chat.record.put(1)
    async with chat.watched() as seen:
        chat.begin(call())
        chat.say(call(), 0, "Hel")
        await eventually(lambda: TextAdded(call(), 0, "Hel") in seen)
        chat.record.put(1, "Hello", status=TurnStatus.COMPLETED)
        chat.change()
        await eventually(lambda: kinds(seen)[-1] == "TurnSeen" and len(seen) > 5)
        chat.say(call(), 3, "lo")
        chat.end(call())
        chat.begin(call())
        chat.begin(call(2))
        await eventually(lambda: seen[-1] == CallStarted(call(2), ("m2",)))
    assert kinds(seen) == [
        *("StatusSeen", "TurnSeen", "CallStarted", "TextAdded"),
        *("CallEnded", "StatusSeen", "TurnSeen"),
        "CallStarted",
    ]


async def test_one_reader_for_all(chat: Chat) -> None:
    """A hundred watchers cost the record what one costs; many hints at a time are one or two reads."""
    chat.record.put(1)
    async with chat.watched(), asyncio.TaskGroup() as group:
        stop = asyncio.Event()

        async def watch() -> None:
            async with chat.views.watch(KEY) as events:
                await anext(events)
                await stop.wait()

        for _ in range(100):
            group.create_task(watch())
        await eventually(lambda: chat.views.watchers == 101)
        await eventually(lambda: len(chat.record.requests) > 1)
        chat.record.gate.clear()
        chat.change()
        await eventually(lambda: len(chat.record.requests) > 2)
        before = len(chat.record.requests)
        for n in range(100):
            chat.record.put(1, f"{n}")
            chat.change()
            await asyncio.sleep(0)
        chat.record.gate.set()
        await eventually(lambda: len(chat.record.requests) > before)
        await asyncio.sleep(0.02)  # in which there would be more
        assert len(chat.record.requests) <= before + 2
        stop.set()
    assert chat.views._views == {}


async def test_a_hint_before_its_change(chat: Chat) -> None:
    """A hint that comes before the change can be read leads to another look, soon."""
    chat.record.put(1)
    async with chat.watched() as seen:
        await eventually(lambda: len(chat.record.requests) > 1)
        chat.change()
        await eventually(lambda: len(chat.record.requests) > 2)
        chat.record.put(1, "Hello", status=TurnStatus.COMPLETED)
        await eventually(lambda: not _last_status(seen).status.busy, timeout_s=1)


async def test_a_lost_hint(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change without a hint is seen while a turn is open, within the time of a poll."""
    monkeypatch.setattr(view, "BUSY_S", 0.05)
    monkeypatch.setattr(view, "SECOND_LOOKS_S", ())
    chat.record.put(1)
    async with chat.watched() as seen:
        chat.record.put(1, "Hello", status=TurnStatus.COMPLETED)
        await eventually(lambda: not _last_status(seen).status.busy, timeout_s=2)


async def test_only_what_may_have_changed_is_read(chat: Chat) -> None:
    """A view asks for the turns behind the last one before which all have closed; it seldom looks for dead runs."""
    for n in range(1, 6):
        chat.record.put(n, "Hello", status=TurnStatus.COMPLETED)
    chat.record.put(6)
    async with chat.watched() as seen:
        assert kinds(seen) == ["StatusSeen", "TurnSeen", "TurnSeen"]
        await eventually(lambda: len(chat.record.requests) > 1)
        assert [request.after_turn for request in chat.record.requests[:2]] == [None, 5]
        assert [request.heal for request in chat.record.requests[:2]] == [True, False]


async def test_without_restate(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the record cannot be read a watcher is told so, once; its state follows when it can."""
    monkeypatch.setattr(view, "BACKOFF_S", (0.01,))
    chat.record.broken = True
    async with chat.watched() as seen:
        assert seen == [Unavailable("Restate is away")]
        chat.begin(call())
        chat.say(call(), 0, "Hello")
        await eventually(lambda: len(chat.record.requests) > 5)
        assert seen[1:] == [CallStarted(call(), ("m1",)), TextAdded(call(), 0, "Hello")]  # the stream goes on
        chat.record.broken = False
        chat.record.put(1)
        await eventually(lambda: kinds(seen)[3:] == ["StatusSeen", "TurnSeen"])
        chat.record.broken = True
        chat.change()
        await eventually(lambda: isinstance(seen[-1], Unavailable))
        async with chat.watched() as late:
            assert kinds(late) == ["StatusSeen", "TurnSeen", "CallStarted", "TextAdded", "Unavailable"]
        chat.record.broken = False
        await eventually(lambda: isinstance(seen[-1], StatusSeen))


async def test_forgotten(chat: Chat) -> None:
    """Nothing of a chat that was forgotten is left for who watches, and turns begin at 1 again."""
    chat.record.put(1, "Hello", status=TurnStatus.COMPLETED)
    chat.record.put(2)
    async with chat.watched() as seen:
        chat.begin(call(2))
        await eventually(lambda: kinds(seen)[-1] == "CallStarted")
        chat.record.turns = {}
        chat.hub.publish(KEY, ChatChanged(forgotten=True))
        await eventually(lambda: _last_status(seen).status.last_turn_id == 0)
        assert CallEnded(call(2)) in seen
        async with chat.watched() as late:
            assert kinds(late) == ["StatusSeen"]
        chat.record.put(1)
        chat.change()
        await eventually(lambda: isinstance(seen[-1], TurnSeen))
        chat.begin(call(1, attempt="new"))
        await eventually(lambda: seen[-1] == CallStarted(call(1, attempt="new"), ("m1",)))


async def test_a_slow_watcher(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is too slow gets a Resync, and all there is; a cancelled wait for an event loses none."""
    monkeypatch.setattr(view, "FEED_WEIGHT", 100)
    chat.record.put(1)
    async with chat.watched(), chat.views.watch(KEY) as events:
        first = [await anext(events), await anext(events)]
        assert kinds(first) == ["StatusSeen", "TurnSeen"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.01)
        chat.begin(call())
        assert await anext(events) == CallStarted(call(), ("m1",))
        for n in range(200):
            chat.say(call(), n, "x")
            await asyncio.sleep(0)
        told = [await anext(events) for _ in range(5)]
        assert told[0] == Resync()
        assert kinds(told[1:]) == ["StatusSeen", "TurnSeen", "CallStarted", "TextAdded"]
        assert told[-1] == TextAdded(call(), 0, "x" * 200)


async def test_pieces_of_a_text_come_together(chat: Chat) -> None:
    """What has come while nobody took it is one text."""
    chat.record.put(1)
    async with chat.watched(), chat.views.watch(KEY) as events:
        for _ in range(2):
            await anext(events)
        chat.begin(call())
        for n in range(10):
            chat.say(call(), n, str(n))
        chat.hub.publish(KEY, ToolStarted(call(), "c", "look", "{}"))
        await eventually(lambda: chat.views._views[KEY]._running.snapshot()[-1:] != [])
        await asyncio.sleep(0.01)
        assert [await anext(events) for _ in range(3)][1] == TextAdded(call(), 0, "0123456789")


@pytest.mark.parametrize("seed", range(20))
async def test_in_any_order(chat: Chat, seed: int) -> None:
    """However stream, record and watchers interleave: nothing comes twice, nothing goes back, at last all is there."""
    rng = random.Random(seed)

    async def play() -> None:
        for turn_id in range(1, 5):
            chat.record.put(turn_id)
            chat.change()
            texts: list[str] = []
            for index in (1, 2):
                attempts = ["a", "b"][: rng.randint(1, 2)]
                text = ""
                for attempt in attempts:
                    which, text = call(turn_id, index, attempt), ""
                    chat.begin(which)
                    for n in range(rng.randint(0, 10)):
                        piece = f"{attempt}{n} "
                        chat.say(which, len(text), piece)
                        text += piece
                        await _breathe(rng)
                    if rng.random() < 0.8:  # else its process was killed
                        chat.end(which)
                    await _breathe(rng)
                texts.append(text)
                chat.record.put(turn_id, *texts)
                if rng.random() < 0.8:  # else the hint is lost
                    chat.change()
                await _breathe(rng)
            chat.record.put(turn_id, *texts, status=TurnStatus.COMPLETED)
            chat.change()

    watchers: list[list[ViewEvent]] = []
    async with asyncio.TaskGroup() as group:
        playing = group.create_task(play())

        async def watch() -> None:
            async with chat.watched() as seen:
                watchers.append(seen)
                await eventually(lambda: playing.done() and not _last_status(seen).status.busy, every_s=0.001)
                await eventually(lambda: _turns(seen).get(4) == view_of(chat.record.turns[4]), every_s=0.001)

        for _ in range(5):
            group.create_task(watch())
            await _breathe(rng)
    for seen in watchers:
        check(seen)


def check(seen: list[ViewEvent]) -> None:
    """Assert what holds for every watcher."""
    running: TextId | None = None
    texts: dict[TextId, str] = {}
    turns: dict[int, int] = {}  # how many entries each has
    for event in seen:
        match event:
            case CallStarted(which):
                assert running is None
                assert which not in texts
                assert turns.get(which.turn_id, 0) <= which.index, "it is in the record already"
                running, texts[which] = which, ""
            case TextAdded(which, offset, text):
                assert which == running
                assert offset == len(texts[which])
                texts[which] += text
            case CallEnded(which):
                assert which == running
                running = None
            case TurnSeen(turn):
                assert len(turn.entries) >= turns.get(turn.turn_id, 0), "it went back"
                turns[turn.turn_id] = len(turn.entries)
                if running is not None and running.turn_id == turn.turn_id:
                    assert len(turn.entries) <= running.index, "its end has not come"


async def _breathe(rng: random.Random) -> None:
    for _ in range(rng.choice((0, 0, 1, 3, 10))):
        await asyncio.sleep(0)
    if rng.random() < 0.1:
        await asyncio.sleep(0.003)


def _last_status(seen: list[ViewEvent]) -> StatusSeen:
    return next(event for event in reversed(seen) if isinstance(event, StatusSeen))


def _turns(seen: list[ViewEvent]) -> dict[int, object]:
    return {event.turn.turn_id: event.turn for event in seen if isinstance(event, TurnSeen)}

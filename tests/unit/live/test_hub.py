"""The hub of a process: whoever joins gets all so far and then the tail, and nobody waits for a watcher."""

import asyncio
import random

import pytest

from app.live import hub as hub_module
from app.live.events import (
    CallEnded,
    CallStarted,
    ChatChanged,
    LiveEvent,
    Resync,
    TextAdded,
    TextId,
    ThoughtAdded,
    ToolEnded,
    ToolStarted,
)
from app.live.hub import FEED_EVENTS, LocalHub, Subscription
from app.live.wire import read, written

KEY = "ellie"


def text_id(turn_id: int = 1, index: int = 1, attempt: str = "a") -> TextId:
    return TextId(turn_id, index, attempt)


def call_of(which: TextId, *texts: str) -> list[LiveEvent]:
    """Return the events of a whole call."""
    events: list[LiveEvent] = [CallStarted(which, ("m1",))]
    offset = 0
    for text in texts:
        events.append(TextAdded(which, offset, text))
        offset += len(text)
    return [*events, CallEnded(which)]


async def drained(stream: Subscription) -> list[LiveEvent | Resync]:
    """Return what a watcher can take without waiting."""
    taken: list[LiveEvent | Resync] = []
    while True:
        try:
            taken += await asyncio.wait_for(stream.next(), 0.001)
        except TimeoutError:
            return taken


class Reader:
    """Puts texts together as a watcher shows them, and fails where a piece comes twice, or one is missing."""

    def __init__(self) -> None:
        self.texts: dict[TextId, str] = {}
        self.open: TextId | None = None

    def take(self, event: LiveEvent | Resync) -> None:
        match event:
            case Resync():
                self.texts, self.open = {}, None
            case CallStarted(which):
                assert self.open is None, "the call before has not ended"
                assert which not in self.texts
                self.texts[which], self.open = "", which
            case TextAdded(which, offset, text):
                assert which == self.open
                assert offset == len(self.texts[which])
                self.texts[which] += text
            case CallEnded(which):
                assert which == self.open
                self.open = None


@pytest.mark.parametrize("seed", range(40))
async def test_joining_at_any_moment(seed: int) -> None:
    """Watchers that join and read at random moments put every text together, without a gap and without a repeat."""
    rng = random.Random(seed)
    hub = LocalHub(max_chars=10_000)
    calls = [
        call_of(text_id(1, n, f"a{n}"), *(rng.choice("abc") * rng.randint(1, 9) for _ in range(30))) for n in range(3)
    ]
    whole = {call[0].text_id: "".join(e.text for e in call if isinstance(e, TextAdded)) for call in calls}  # type: ignore[union-attr]
    async with asyncio.TaskGroup() as group:

        async def watch() -> None:
            reader = Reader()
            async with hub.subscribe(KEY) as stream:
                while text_id(1, 2, "a2") not in reader.texts or reader.open is not None:
                    for event in await stream.next():
                        reader.take(event)
                    for _ in range(rng.randint(0, 20)):
                        await asyncio.sleep(0)
            for which, text in reader.texts.items():
                assert text == whole[which]

        for event in [event for call in calls for event in call]:
            if rng.random() < 0.2:
                group.create_task(watch())
            hub.publish(KEY, event)
            if rng.random() < 0.5:
                await asyncio.sleep(0)


async def test_a_slow_watcher_is_told() -> None:
    """Who is too slow hears that events are lost, and then all that runs now; others lose nothing."""
    hub = LocalHub(max_chars=100_000)
    async with hub.subscribe(KEY) as slow, hub.subscribe(KEY) as quick:
        assert await slow.next() == []
        reader = Reader()
        for event in call_of(text_id(), *["xy"] * (FEED_EVENTS + 1))[:-1]:
            hub.publish(KEY, event)
            for each in await quick.next():
                reader.take(each)
        assert reader.texts == {text_id(): "xy" * (FEED_EVENTS + 1)}
        assert await slow.next() == [
            Resync(),
            CallStarted(text_id(), ("m1",)),
            TextAdded(text_id(), 0, "xy" * (FEED_EVENTS + 1)),
        ]
        hub.publish(KEY, CallEnded(text_id()))
        assert await slow.next() == [CallEnded(text_id())]


async def test_text_beyond_the_limit_is_not_kept() -> None:
    """Of a text that is too long the beginning is kept."""
    hub = LocalHub(max_chars=5)
    for event in call_of(text_id(), "abc", "def", "ghi")[:-1]:
        hub.publish(KEY, event)
    async with hub.subscribe(KEY) as stream:
        assert (await stream.next())[1:] == [TextAdded(text_id(), 0, "abcde")]


async def test_thoughts_are_told_beside_the_text() -> None:
    """Who joins gets the thoughts and the text so far, each once; repeats and gaps are left out."""
    hub, which = LocalHub(max_chars=10), text_id()
    events: list[LiveEvent] = [
        CallStarted(which),
        ThoughtAdded(which, 0, "Let"),
        ThoughtAdded(which, 0, "Let me"),
        ThoughtAdded(which, 9, "gap"),
        TextAdded(which, 0, "Yes"),
        ThoughtAdded(which, 6, " see it all"),
    ]
    for event in events:
        hub.publish(KEY, event)
    hub.publish(KEY, ThoughtAdded(text_id(attempt="b"), 0, "other"))
    async with hub.subscribe(KEY) as stream:
        so_far = [CallStarted(which), ThoughtAdded(which, 0, "Let me see"), TextAdded(which, 0, "Yes")]
        assert await stream.next() == so_far
        hub.publish(KEY, CallEnded(which))
        hub.publish(KEY, ThoughtAdded(which, 10, "late"))
        assert await drained(stream) == [CallEnded(which)]


def test_thoughts_reach_other_processes() -> None:
    """Pieces of a thought that follow one another are written as one, and never joined with a text."""
    which = text_id()
    pieces: list[LiveEvent] = [ThoughtAdded(which, 0, "Let"), ThoughtAdded(which, 3, " me"), TextAdded(which, 0, "Yes")]
    assert read(written(pieces)) == [ThoughtAdded(which, 0, "Let me"), pieces[-1]]


async def test_another_attempt_ends_the_one_before() -> None:
    """A call that is made again ends the one before, whose late text is dropped."""
    hub = LocalHub(max_chars=100)
    async with hub.subscribe(KEY) as stream:
        await stream.next()
        hub.publish(KEY, CallStarted(text_id(attempt="a")))
        hub.publish(KEY, TextAdded(text_id(attempt="a"), 0, "half"))
        hub.publish(KEY, CallStarted(text_id(attempt="b")))
        hub.publish(KEY, TextAdded(text_id(attempt="a"), 4, " late"))
        hub.publish(KEY, CallEnded(text_id(attempt="a")))
        assert await drained(stream) == [
            CallStarted(text_id(attempt="a")),
            TextAdded(text_id(attempt="a"), 0, "half"),
            CallEnded(text_id(attempt="a")),
            CallStarted(text_id(attempt="b")),
        ]


async def test_tools_are_told_to_who_joins() -> None:
    """Who joins while tools run hears the text that asked for them, and of those that still run."""
    hub = LocalHub(max_chars=100)
    for event in call_of(text_id(), "Let me see."):
        hub.publish(KEY, event)
    for call_id in ("c1", "c2", "c1"):  # the last one is that of a replay
        hub.publish(KEY, ToolStarted(text_id(attempt=""), call_id, "look", "{}"))
    hub.publish(KEY, ToolEnded(1, "c1", "nothing", "ok"))
    async with hub.subscribe(KEY) as stream:
        assert await stream.next() == [
            *call_of(text_id(), "Let me see."),
            ToolStarted(text_id(), "c2", "look", "{}"),
        ]


async def test_memory_is_freed() -> None:
    """A chat that nobody watches and in which nothing runs is not kept; nor what nobody was there to hear."""
    hub = LocalHub(max_chars=100, linger_s=0)
    hub.publish(KEY, ChatChanged())
    assert not hub._channels
    async with hub.subscribe(KEY):
        for event in call_of(text_id(), "a"):
            hub.publish(KEY, event)
    for event in call_of(text_id(), "a"):
        hub.publish("another", event)
    assert not hub._channels
    assert not hub._unused


async def test_what_was_forgotten_is_not_told() -> None:
    """Who joins after a chat was forgotten hears nothing of what ran in it."""
    hub = LocalHub(max_chars=100)
    for event in call_of(text_id(), "secret"):
        hub.publish(KEY, event)
    hub.publish(KEY, ChatChanged(forgotten=True))
    async with hub.subscribe(KEY) as stream:
        assert await stream.next() == []


async def test_what_died_elsewhere_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool whose end was told in another process is not kept for ever."""
    monkeypatch.setattr(hub_module, "LOST_S", 0)
    hub = LocalHub(max_chars=100)
    hub.publish(KEY, ToolStarted(text_id(), "c", "look", "{}"))
    hub.publish("another", ToolStarted(text_id(), "c", "look", "{}"))
    assert not hub._channels

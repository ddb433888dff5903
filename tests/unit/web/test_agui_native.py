"""The native stream: whoever is cut off again and again has each text exactly as it was written, and the record."""

import random
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from app.live.events import CallEnded, CallStarted, TextAdded, TextId, ThoughtAdded, ToolStarted
from app.web.agui.native import NO_CURSOR, NativeEvents
from app.web.watch.events import ViewEvent
from tests.support.view_script import ScriptedChat

TEXT = TextId(1, 1, "a.1")


class Page:
    """What a page makes of the stream: the turns as they were sent last, and the texts that run."""

    def __init__(self) -> None:
        self.turns: dict[int, Any] = {}
        self.texts: dict[str, str] = {}
        self.thoughts: dict[str, str] = {}
        self.complete: list[str] = []
        self.cursor: str | None = None

    def read(self, cursor: str, event: dict[str, Any]) -> None:
        self.cursor = cursor
        match event:
            case {"type": "CUSTOM", "name": "turn", "value": turn}:
                self.turns[turn["turn_id"]] = turn
            case {"type": "TEXT_MESSAGE_START", "messageId": message_id}:
                self.texts[message_id] = ""
            case {"type": "TEXT_MESSAGE_CONTENT", "messageId": message_id, "delta": delta}:
                self.texts[message_id] += delta
            case {"type": "REASONING_MESSAGE_START", "messageId": message_id}:
                self.thoughts.setdefault(message_id, "")
            case {"type": "REASONING_MESSAGE_CONTENT", "messageId": message_id, "delta": delta}:
                self.thoughts[message_id] += delta
            case {"type": "TEXT_MESSAGE_END", "messageId": message_id}:
                self.complete.append(self.texts[message_id])


def sent(events: NativeEvents, *told: ViewEvent) -> list[tuple[str, dict[str, Any]]]:
    return [
        (cursor, event.model_dump(mode="json", by_alias=True)) for each in told for cursor, event in events.take(each)
    ]


def with_cuts(chat: ScriptedChat, page: Page) -> Iterator[ViewEvent]:
    """Play a chat to a page whose connection breaks at random, in the middle of what is sent, too."""
    events = chat.events(4)
    watcher = NativeEvents()
    waiting: deque[ViewEvent] = deque(chat.snapshot())
    while (told := waiting.popleft() if waiting else next(events, None)) is not None:
        for cursor, event in sent(watcher, told):
            if chat.random.random() < 0.05:
                for _ in range(chat.random.randint(0, 15)):
                    next(events, None)
                watcher, waiting = NativeEvents(page.cursor), deque(chat.snapshot())
                break
            page.read(cursor, event)
        yield told


@pytest.mark.parametrize("seed", range(200))
def test_cuts_lose_and_double_nothing(seed: int) -> None:
    """However often a page is cut off, each text it shows is the beginning of one that was written."""
    chat, page = ScriptedChat(seed), Page()
    for _ in with_cuts(chat, page):
        written = list(chat.texts.values())
        for text in page.texts.values():
            assert any(other.startswith(text) for other in written), text
        for thought in page.thoughts.values():
            assert any(thought in other for other in chat.thoughts.values()), thought
    watcher = NativeEvents(page.cursor)
    for cursor, event in sent(watcher, *chat.snapshot()):
        page.read(cursor, event)
    newest = chat.views[-1]
    assert page.turns[newest.turn_id] == newest.model_dump(mode="json")


@pytest.mark.parametrize("seed", range(100))
def test_without_losses_each_text_is_complete(seed: int) -> None:
    """A page that is cut off and comes back before the text goes on has all of it at its END."""
    chat, page, watcher = ScriptedChat(seed), Page(), NativeEvents()
    cuts = random.Random(seed)
    for told in chat.events(3):
        for cursor, event in sent(watcher, told):
            page.read(cursor, event)
        if cuts.random() < 0.2:
            watcher = NativeEvents(page.cursor)
            for cursor, event in sent(watcher, *chat.snapshot()):
                page.read(cursor, event)
    assert page.complete == list(chat.texts.values())


def test_a_watcher_who_comes_back_gets_only_the_rest() -> None:
    """With the cursor of the last event, the text goes on behind it, without a START."""
    first = NativeEvents()
    cursor = sent(first, CallStarted(TEXT), TextAdded(TEXT, 0, "Hel"))[-1][0]
    again = sent(NativeEvents(cursor), CallStarted(TEXT), TextAdded(TEXT, 0, "Hello"))
    assert [event for _, event in again] == [{"type": "TEXT_MESSAGE_CONTENT", "messageId": "1-1", "delta": "lo"}]


def test_thoughts_come_beside_their_text() -> None:
    """Thoughts are a message of their own that ends where the text begins; a cut in them goes on behind it."""
    first = sent(NativeEvents(), CallStarted(TEXT), ThoughtAdded(TEXT, 0, "Let me"))
    assert [event["type"] for _, event in first] == [
        "TEXT_MESSAGE_START",
        "REASONING_START",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_CONTENT",
    ]
    again = NativeEvents(first[-1][0])
    told = sent(again, CallStarted(TEXT), ThoughtAdded(TEXT, 0, "Let me see"), TextAdded(TEXT, 0, "Yes"))
    assert [(event["type"], event.get("delta")) for _, event in told] == [
        ("REASONING_MESSAGE_CONTENT", " see"),
        ("REASONING_MESSAGE_END", None),
        ("REASONING_END", None),
        ("TEXT_MESSAGE_CONTENT", "Yes"),
    ]
    assert {event["messageId"] for _, event in told[:3]} == {"1-1-reasoning"}
    late = sent(NativeEvents(told[-1][0]), CallStarted(TEXT), ThoughtAdded(TEXT, 0, "Let me see"), CallEnded(TEXT))
    assert [event["type"] for _, event in late] == ["TEXT_MESSAGE_END"]


def test_another_attempt_is_another_message() -> None:
    """The first attempt that a watcher sees has the plain id, later ones name the attempt, also behind a cut."""
    cursor = sent(NativeEvents(), CallStarted(TEXT), TextAdded(TEXT, 0, "Hel"))[-1][0]
    again = sent(NativeEvents(cursor), CallStarted(TextId(1, 1, "b")))
    assert [(event["type"], event["messageId"]) for _, event in again] == [
        ("TEXT_MESSAGE_END", "1-1"),
        ("TEXT_MESSAGE_START", "1-1-b"),
    ]


def test_what_the_llm_has_read_is_told() -> None:
    """A call that sees messages for the first time says which, before its text begins."""
    told = [event for _, event in sent(NativeEvents(), CallStarted(TEXT, read=("m-1",)))]
    assert told[0] == {"type": "CUSTOM", "name": "read", "value": {"turn_id": 1, "message_ids": ["m-1"]}}
    assert told[1]["rawEvent"] == {"turnId": 1, "index": 1}


def test_a_tool_call_names_the_message_that_asked_for_it() -> None:
    """The parent of a tool call is the message as this watcher knows it."""
    watcher = NativeEvents()
    again = TextId(1, 1, "b")
    sent(watcher, CallStarted(TEXT), CallEnded(TEXT), CallStarted(again), CallEnded(again))
    told = [event for _, event in sent(watcher, ToolStarted(again, "call_1", "work", "{}"))]
    assert [event["type"] for event in told] == ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END"]
    assert told[0]["parentMessageId"] == "1-1-b"


@pytest.mark.parametrize("cursor", [None, "", NO_CURSOR, "1.2", "x.y.z.o.a", "1.1.-5.o.a", "9" * 99 + ".1.1.o.a"])
def test_a_cursor_that_nobody_gave_out_is_none(cursor: str | None) -> None:
    """What cannot be read as a cursor begins as at join."""
    assert NativeEvents(cursor).cursor == NO_CURSOR

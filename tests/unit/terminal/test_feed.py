"""What a chat is on a terminal: lines, each once, and nothing in them that a terminal obeys."""

from typing import Any

import pytest

from app.terminal.feed import ChatFeed, Line, lines_of, place_of

Json = dict[str, Any]


def user(content: str, index: int = 0) -> Json:
    return {"role": "user", "content": content, "index": index, "partial": False}


def assistant(content: str, index: int = 1, **fields: object) -> Json:
    return {"role": "assistant", "content": content, "index": index, "partial": False, **fields}


def turn(turn_id: int, *entries: Json, status: str = "running", error: str | None = None) -> Json:
    lines = [{"status": status, "turn_id": turn_id, **entry} for entry in entries]
    value = {"turn_id": turn_id, "status": status, "entries": lines, "error": error}
    return {"type": "CUSTOM", "name": "turn", "value": value}


def start(message_id: str) -> Json:
    return {"type": "TEXT_MESSAGE_START", "messageId": message_id}


def text(message_id: str, delta: str) -> Json:
    return {"type": "TEXT_MESSAGE_CONTENT", "messageId": message_id, "delta": delta}


def end(message_id: str) -> Json:
    return {"type": "TEXT_MESSAGE_END", "messageId": message_id}


def shown(feed: ChatFeed, *events: Json) -> list[tuple[str, str]]:
    return [(line.kind, line.text) for event in events for line in feed.take(event)]


def test_a_streamed_answer_is_shown_once() -> None:
    """Lines come as they are complete, the last one is partial, and the record brings nothing new."""
    feed = ChatFeed()
    assert shown(feed, turn(1, user("hi")), start("1-1"), text("1-1", "one\ntw")) == [("user", "hi"), ("answer", "one")]
    assert feed.partial == "tw"
    assert shown(feed, text("1-1", "o"), end("1-1")) == [("answer", "two")]
    assert feed.partial == ""
    done = turn(1, user("hi"), assistant("one\ntwo"), status="completed")
    assert shown(feed, done, done) == []


def test_thoughts_are_one_dim_line() -> None:
    """What the model thinks is a line before the answer, once, from the stream or from the record."""
    feed = ChatFeed()
    thought = {"type": "REASONING_MESSAGE_CONTENT", "messageId": "1-1-reasoning", "delta": "Let me\nsee \x1b[31m"}
    over = {"type": "REASONING_MESSAGE_END", "messageId": "1-1-reasoning"}
    done = turn(1, user("hi"), assistant("one") | {"reasoning": "Let me\nsee \x1b[31m"}, status="completed")
    line = ("thought", "  ~ Let me see \\x1b[31m")
    told = shown(feed, start("1-1"), thought, over, text("1-1", "one"), done)
    assert told == [line, ("user", "hi"), ("answer", "one")]
    assert shown(ChatFeed(), done) == [("user", "hi"), line, ("answer", "one")]


def test_the_record_brings_the_rest() -> None:
    """What was not streamed, or not to the end, comes from the record."""
    feed = ChatFeed()
    shown(feed, start("1-1"), text("1-1", "one"))
    done = turn(1, user("hi"), assistant("one\ntwo"), status="completed")
    assert shown(feed, done) == [("user", "hi"), ("answer", "one"), ("answer", "two")]
    assert shown(ChatFeed(), done) == [("user", "hi"), ("answer", "one"), ("answer", "two")]


def test_an_own_message_stands_before_its_answer() -> None:
    """An own message is shown when the model has read it, and not again when the record has it."""
    feed = ChatFeed()
    feed.sending("m-1", "hi")
    read = {"type": "CUSTOM", "name": "read", "value": {"turn_id": 1, "message_ids": ["m-1", "m-2"]}}
    recorded = turn(1, user("hi") | {"message_id": "m-1"})
    assert shown(feed, read, start("1-1"), text("1-1", "one\n"), recorded, read) == [("user", "hi"), ("answer", "one")]


def test_a_message_that_waited_is_shown_as_it_was_changed() -> None:
    """A message that waits may be edited: what is shown is what the model has read."""
    feed = ChatFeed()
    feed.sending("m-1", "hi")
    waiting = [{"message_id": "m-1", "content": "hello", "mode": "QUEUE"}]
    status = {"last_turn_id": 2, "busy": True, "open_turns": [{"waiting": waiting}], "held": [], "mode": "QUEUE"}
    read = {"type": "CUSTOM", "name": "read", "value": {"turn_id": 2, "message_ids": ["m-1"]}}
    assert shown(feed, {"type": "STATE_SNAPSHOT", "snapshot": status}, read) == [("user", "hello")]


def test_a_text_that_begins_anew() -> None:
    """Another attempt is announced, and a record that says something else, too."""
    feed = ChatFeed()
    shown(feed, start("1-1"), text("1-1", "Once\nup"))
    again = ("note", "(the answer begins anew)")
    assert shown(feed, start("1-1-b"), text("1-1-b", "Two\n")) == [("answer", "up"), again, ("answer", "Two")]
    late = text("1-1", "late")
    assert shown(feed, late, turn(1, assistant("Three"))) == [again, ("answer", "Three")]


def test_tools() -> None:
    """A call and its result are shown once, live or from the record; ids may come again in the next reply."""
    feed = ChatFeed()
    call = {"call_id": "c", "name": "task", "arguments": '{"a":\n1}'}
    live: list[Json] = [
        {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "task", "parentMessageId": "1-1"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": '{"a":\n1}'},
        {"type": "CUSTOM", "name": "progress", "value": {"turn_id": 1, "call_id": "c", "text": "half"}},
        {"type": "TOOL_CALL_RESULT", "toolCallId": "c", "content": "no", "rawEvent": {"outcome": "failed"}},
    ]
    seen = [("tool", '  · task {"a": 1}'), ("tool", "    half"), ("tool", "    → failed: no")]
    assert shown(feed, *live) == seen
    result = {"role": "tool", "content": "no", "tool_call_id": "c", "index": 2, "outcome": "failed"}
    recorded = turn(1, assistant("", tool_calls=[call]), result)
    assert shown(feed, recorded) == []
    assert shown(ChatFeed(), recorded) == [seen[0], seen[2]]
    live[0] = live[0] | {"parentMessageId": "1-3"}
    assert shown(feed, *live) == seen


@pytest.mark.parametrize(
    ("status", "line"),
    [
        ("interrupted", ("note", "Interrupted.")),
        ("rolled_back", ("note", "Rolled back: the agent does not see this turn any more.")),
        ("withdrawn", ("note", "Withdrawn: the agent never got this.")),
    ],
)
def test_endings(status: str, line: tuple[str, str]) -> None:
    """A turn that did not complete says how it ended, once, if it shows anything; cut text is marked."""
    feed = ChatFeed()
    assert shown(feed, turn(1, status=status)) == [], "its messages have moved on"
    feed = ChatFeed()
    shown(feed, start("1-1"), text("1-1", "Once"))
    closed = turn(1, assistant("Once", partial=True), status=status)
    assert shown(feed, closed, closed) == [("answer", "Once"), ("note", "(cut off here)"), line]


def test_a_failed_turn() -> None:
    """A failed turn says why."""
    assert shown(ChatFeed(), turn(1, status="failed", error="no key")) == [("error", "no key")]


def test_turns_that_were_missed_are_counted() -> None:
    """Who was away hears that turns have passed."""
    feed = ChatFeed()
    shown(feed, turn(1, status="completed"))
    assert shown(feed, turn(4, status="completed"))[0][1].startswith("(2 turns have passed")


def test_a_forgotten_chat_begins_afresh() -> None:
    """After a chat was forgotten its first turn is shown again."""
    feed = ChatFeed()
    status = {"last_turn_id": 1, "busy": False, "open_turns": [], "held": [], "mode": "QUEUE"}
    first = turn(1, user("hi"), status="completed")
    shown(feed, {"type": "STATE_SNAPSHOT", "snapshot": status}, first)
    forgotten = {"type": "STATE_SNAPSHOT", "snapshot": status | {"last_turn_id": 0}}
    assert shown(feed, forgotten, first) == [("note", "This chat was forgotten."), ("user", "hi")]


EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e\x00\r"


@pytest.mark.parametrize("kind", ["text", "record", "tool", "error", "unavailable", "partial", "history"])
def test_no_control_character_comes_out(kind: str) -> None:
    """Whoever wrote it and however it came: a terminal gets nothing that it obeys."""
    feed = ChatFeed()
    match kind:
        case "text":
            lines = [*feed.take(start("1-1")), *feed.take(text("1-1", f"{EVIL}\n"))]
        case "partial":
            feed.take(start("1-1"))
            feed.take(text("1-1", EVIL))
            lines = [Line("answer", feed.partial)]
        case "record":
            lines = feed.take(turn(1, user(EVIL), assistant(EVIL)))
        case "tool":
            call = {"call_id": EVIL, "name": EVIL, "arguments": EVIL}
            result = {"role": "tool", "content": EVIL, "tool_call_id": EVIL, "index": 2, "outcome": EVIL}
            lines = feed.take(turn(1, assistant("", tool_calls=[call]), result))
        case "error":
            lines = feed.take(turn(1, status="failed", error=EVIL))
        case "unavailable":
            lines = feed.take({"type": "CUSTOM", "name": "unavailable", "value": {"message": EVIL}})
        case _:
            lines = lines_of([{"role": "user", "content": EVIL, "status": "completed"}])
    assert lines
    assert not any(char in line.text for line in lines for char in EVIL if not char.isalnum() and char not in "[];")


def test_what_an_agent_says_has_its_name() -> None:
    """A line of a background agent begins with its name, live and in the history."""
    said = user("Check in") | {"source": "ChatReminder-1"}
    shown = Line("user", "[ChatReminder-1] Check in")
    assert ChatFeed().take(turn(1, said)) == [shown]
    assert lines_of([said | {"status": "completed"}]) == [shown]


@pytest.mark.parametrize(("text", "line"), [("look", "look [a\\x1b.png] [b]"), ("", "[a\\x1b.png] [b]")])
def test_files_are_named(text: str, line: str) -> None:
    """A message with files has their names behind its text, live and in the history."""
    said = user(text) | {"attachments": [{"name": "a\x1b.png"}, {"name": "b"}]}
    assert ChatFeed().take(turn(1, said)) == [Line("user", line)]
    assert lines_of([said | {"status": "completed"}]) == [Line("user", line)]


@pytest.mark.parametrize(("message_id", "place"), [("3-1", (3, 1)), ("3-1-a-b", (3, 1)), ("x", None), ("3-x", None)])
def test_places(message_id: str, place: tuple[int, int] | None) -> None:
    """A message id names turn and place; the attempt behind them does not matter."""
    assert place_of(message_id) == place


def status(**fields: object) -> Json:
    return {"type": "STATE_SNAPSHOT", "snapshot": {"busy": False, "last_turn_id": 9, "open_turns": [], **fields}}


def test_a_summary_is_told_once() -> None:
    """When turns are summed up while somebody watches, a line says so; who comes later sees it in the history."""
    feed = ChatFeed()
    summary = {"up_to_turn": 4, "in_progress": False}
    assert shown(feed, status()) == []
    assert [kind for kind, _ in shown(feed, status(summary=summary), status(summary=summary))] == ["note"]
    assert shown(ChatFeed(), status(summary=summary)) == []
    entry = {"role": "summary", "content": "They met.\n\x1b[31mred", "status": "completed", "turn_id": 4}
    lines = lines_of([entry])
    assert [line.kind for line in lines] == ["note"] * 3
    assert [line.text for line in lines][1:] == ["They met.", "\\x1b[31mred"]

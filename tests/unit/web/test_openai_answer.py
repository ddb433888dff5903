"""An answer of Chat Completions only grows, says everything, and repeats nothing without need."""

from itertools import islice

import pytest

from app.live.events import CallStarted, TextAdded, TextId, ThoughtAdded
from app.turns.reading.protocol import HistoryEntry
from app.turns.transcript import TurnStatus
from app.web.agui.goal import End, MessageAnswered
from app.web.agui.lines import lines_by_turn
from app.web.openai.answer import ANEW, BETWEEN, AnswerText, Reasoning, answer_in
from app.web.watch.events import ViewEvent
from tests.support.view_script import ScriptedChat, with_losses

FIRST = TextId(1, 1, "a")


def told(answer: AnswerText, *events: ViewEvent) -> list[str]:
    return [piece for event in events for piece in answer.take(event)]


def history(chat: ScriptedChat) -> list[HistoryEntry]:
    return [entry for view in chat.views for entry in view.entries]


@pytest.mark.parametrize("seed", range(200))
def test_everything_is_said(seed: int) -> None:
    """Every text that the turn has recorded after the message is in the answer, in order."""
    chat = ScriptedChat(seed)
    events = chat.events(2)
    early = list(islice(events, 1))
    answer, message_id = AnswerText("m-1"), "m-1"
    said = answer.start([])
    for event in [*early, *with_losses(chat, events)]:
        said += answer.take(event)
    said += answer.catch_up(history(chat))
    text, at = "".join(piece for piece in said if not isinstance(piece, Reasoning)), 0
    for part in (entry.content for entry in history(chat) if entry.role == "assistant" and entry.turn_id == 1):
        assert part in text[at:]
        at = text.index(part, at) + len(part) if part else at
    assert answer.catch_up(history(chat)) == []
    if ANEW not in text and chat.texts and len(said) and _nothing_was_dropped(chat):
        assert text == answer_in(history(chat), message_id)[0]


def test_thoughts_are_told_apart() -> None:
    """What the LLM thinks comes before what it says, as a piece of another kind, and from the record only once."""
    answer = AnswerText("m")
    said = told(answer, CallStarted(FIRST, ("m",)), ThoughtAdded(FIRST, 0, "Hm"), TextAdded(FIRST, 0, "Hello"))
    assert [(type(piece), piece) for piece in said] == [(Reasoning, "Hm"), (str, "Hello")]
    entries = [
        HistoryEntry(role="user", content="hi", turn_id=1, status=TurnStatus.RUNNING, message_id="m"),
        HistoryEntry(role="assistant", content="Hello", turn_id=1, status=TurnStatus.RUNNING, reasoning="Hm"),
    ]
    assert answer.catch_up(entries) == []
    late = AnswerText("m").catch_up(entries)
    assert [(type(piece), piece) for piece in late] == [(Reasoning, "Hm"), (str, "Hello")]
    assert answer_in(entries, "m") == ("Hello", "Hm")


def test_a_repeated_text_is_held_back() -> None:
    """What a second attempt repeats is not sent again."""
    answer = AnswerText("m")
    again = TextId(1, 1, "b")
    first = told(answer, CallStarted(FIRST, ("m",)), TextAdded(FIRST, 0, "Hello"))
    assert first + told(answer, CallStarted(again), TextAdded(again, 0, "Hel")) == ["Hello"]
    assert answer.take(TextAdded(again, 3, "lo you")) == [" you"]


def test_another_text_is_sent_whole() -> None:
    """What a second attempt writes otherwise comes behind a line."""
    answer = AnswerText("m")
    again = TextId(1, 1, "b")
    assert told(answer, CallStarted(FIRST, ("m",)), TextAdded(FIRST, 0, "Hello"), CallStarted(again)) == ["Hello"]
    assert answer.take(TextAdded(again, 0, "Help")) == [f"{ANEW}Help"]
    assert answer.take(TextAdded(again, 4, " me")) == [" me"]


def test_what_was_said_before_the_message_is_not_its_answer() -> None:
    """A message that comes in the middle of a turn gets what follows it."""
    answer = AnswerText("m-2")
    after = TextId(1, 3, "b")
    assert told(answer, CallStarted(FIRST, ("m-1",)), TextAdded(FIRST, 0, "before"), CallStarted(after, ("m-2",))) == []
    assert answer.take(TextAdded(after, 0, "after")) == ["after"]
    next_text = TextId(1, 5, "c")
    assert answer.take(CallStarted(next_text)) == []
    assert answer.take(TextAdded(next_text, 0, "more")) == [f"{BETWEEN}more"]


def _nothing_was_dropped(chat: ScriptedChat) -> bool:
    """Return whether each text that was written in turn 1 is in its record."""
    recorded = [entry.content for entry in history(chat) if entry.turn_id == 1]
    return all(text in recorded for text_id, text in chat.texts.items() if text_id.turn_id == 1)


def test_other_protocols_leave_the_summary_out() -> None:
    """A summary that stands behind a turn is no message of AG-UI, and no part of an answer of Chat Completions."""
    turn = {"turn_id": 3, "status": TurnStatus.COMPLETED}
    entries = [
        HistoryEntry(role="user", content="hi", message_id="m", index=0, **turn),
        HistoryEntry(role="assistant", content="hello", index=1, **turn),
        HistoryEntry(role="summary", content="They met.", **turn),
    ]
    assert [line.role for line in lines_by_turn(entries)[3]] == ["user", "assistant"]
    assert answer_in(entries, "m") == ("hello", "")
    goal = MessageAnswered("m", 3)
    assert goal.look(entries) == End(TurnStatus.COMPLETED, 3)

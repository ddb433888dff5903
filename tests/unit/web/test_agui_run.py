"""What an AG-UI client is told of a run ends up being the record, in any order of events, and no text is doubled."""

from itertools import islice

import pytest

from app.live.events import CallEnded, CallStarted, TextAdded, TextId, ThoughtAdded
from app.turns.reading.protocol import HistoryEntry
from app.turns.transcript import TurnStatus, Usage
from app.web.agui.goal import End
from app.web.agui.request import Client
from app.web.agui.run import RunEvents
from tests.support.agui_reader import Reader
from tests.support.view_script import ScriptedChat, with_losses

NEW = Client("chat", "run", speaks_1_0=True)
COMPLETED = End(TurnStatus.COMPLETED, 1)
FIRST = TextId(1, 1, "a")


def history(chat: ScriptedChat) -> list[HistoryEntry]:
    return [entry for view in chat.views for entry in view.entries]


def lines(chat: ScriptedChat) -> list[tuple[str, str]]:
    return [(entry.role, entry.content) for entry in history(chat)]


@pytest.mark.parametrize("seed", range(300))
def test_a_client_has_the_record_in_the_end(seed: int) -> None:
    """Whoever joins, at whatever moment, and whatever is lost on the way, has the history in the end."""
    chat = ScriptedChat(seed)
    events = chat.events(4)
    list(islice(events, chat.random.randint(0, 60)))
    run, reader = RunEvents(NEW), Reader()
    reader.read(*run.start(history(chat)))
    for event in [*chat.snapshot(), *with_losses(chat, events)]:
        reader.read(*run.take(event))
    reader.read(*run.finish(COMPLETED))
    assert reader.lines == lines(chat)
    assert reader.types[0] == "RUN_STARTED"
    assert reader.types[-1] == "RUN_FINISHED"


@pytest.mark.parametrize("seed", range(100))
def test_a_client_never_sees_text_that_nobody_wrote(seed: int) -> None:
    """At every moment, each text that a client has is the beginning of one that a call wrote."""
    chat = ScriptedChat(seed)
    run, reader = RunEvents(NEW), Reader()
    reader.read(*run.start([]))
    for event in with_losses(chat, chat.events(3)):
        reader.read(*run.take(event))
        for role, content in reader.lines:
            assert role != "assistant" or any(text.startswith(content) for text in chat.texts.values())


def test_a_nominal_turn_needs_one_snapshot() -> None:
    """Text that arrives as it will be recorded is sent once: no snapshot repeats it."""
    run, reader = RunEvents(NEW), Reader()
    reader.read(*run.start([said()]))
    reader.read(*run.take(CallStarted(FIRST)), *run.take(TextAdded(FIRST, 0, "Hello")))
    reader.read(*run.take(TextAdded(FIRST, 5, " there")), *run.take(CallEnded(FIRST)))
    reader.read(*run.finish(COMPLETED))
    assert reader.types.count("MESSAGES_SNAPSHOT") == 1
    assert reader.lines == [("user", "hi"), ("assistant", "Hello there")]


def test_thoughts_are_a_message_of_their_own() -> None:
    """What the LLM thinks is sent while it does, closed before the text begins, and kept by snapshots."""
    run, reader = RunEvents(NEW), Reader()
    reader.read(*run.start([said()]))
    reader.read(*run.take(CallStarted(FIRST)), *run.take(ThoughtAdded(FIRST, 0, "Let me see")))
    reader.read(*run.take(TextAdded(FIRST, 0, "Hello")), *run.take(ThoughtAdded(FIRST, 10, "!")))
    reader.read(*run.finish(COMPLETED))
    assert reader.thoughts == ["Let me see", "!"]
    assert reader.lines == [("user", "hi"), ("assistant", "Hello")]
    assert reader.types.index("REASONING_END") < reader.types.index("TEXT_MESSAGE_START")


def test_a_text_that_begins_anew_replaces_what_was_there() -> None:
    """A call that is made again sends END, a snapshot without its text, and START."""
    run, reader = RunEvents(NEW), Reader()
    reader.read(*run.start([said()]))
    reader.read(*run.take(CallStarted(FIRST)), *run.take(TextAdded(FIRST, 0, "Hel")))
    again = TextId(1, 1, "b")
    reader.read(*run.take(CallStarted(again)), *run.take(TextAdded(again, 0, "Hello")))
    assert reader.lines == [("user", "hi"), ("assistant", "Hello")]
    assert reader.types[-4:] == [
        "TEXT_MESSAGE_END",
        "MESSAGES_SNAPSHOT",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
    ]


def test_a_client_in_another_order_is_put_in_order() -> None:
    """What a client shows in another order than the record's is taken away and given again."""
    run = RunEvents(Client("chat", "run", known=("m-2", "m-1")))
    reader = Reader([{"id": "m-2", "role": "user", "content": "b"}, {"id": "m-1", "role": "user", "content": "a"}])
    reader.read(*run.start([said("m-1", "a"), said("m-2", "b")]))
    assert reader.lines == [("user", "a"), ("user", "b")]


@pytest.mark.parametrize(
    ("speaks_1_0", "status", "outcome"),
    [
        (True, TurnStatus.COMPLETED, {"type": "success"}),
        (True, TurnStatus.INTERRUPTED, {"type": "cancelled"}),
        (True, TurnStatus.WITHDRAWN, {"type": "cancelled"}),
        (False, TurnStatus.COMPLETED, None),
        (False, TurnStatus.INTERRUPTED, None),
    ],
)
def test_only_clients_of_1_0_hear_outcomes(speaks_1_0: bool, status: TurnStatus, outcome: object) -> None:
    """`cancelled` is an outcome of 1.0; older clients refuse it, and find the turn's status in the result."""
    run = RunEvents(Client("chat", "run", speaks_1_0=speaks_1_0))
    (finished,) = run.finish(End(status, 7))
    sent = finished.model_dump(mode="json", by_alias=True)
    assert sent["type"] == "RUN_FINISHED"
    assert sent.get("outcome") == outcome
    assert sent["result"] == {"turn_id": 7, "status": status.value}


def test_a_turn_that_failed_is_an_error() -> None:
    """RUN_ERROR says why the turn failed, in the chat's own sentence."""
    (error,) = RunEvents(NEW).finish(End(TurnStatus.FAILED, 1, "The turn failed: no LLM."))
    sent = error.model_dump(mode="json", by_alias=True)
    assert (sent["type"], sent["message"], sent["code"]) == ("RUN_ERROR", "The turn failed: no LLM.", "failed")


def test_unknown_usage_is_not_zero() -> None:
    """Tokens that no server counted are left out; counted ones are sent."""
    unmetered = RunEvents(NEW).finish(End(TurnStatus.COMPLETED, 1, usage=Usage(calls=1, unmetered_calls=1)))
    metered = RunEvents(NEW).finish(End(TurnStatus.COMPLETED, 1, usage=Usage(calls=1, prompt_tokens=3)))
    assert "usage" not in unmetered[0].model_dump(mode="json", by_alias=True)
    assert metered[0].model_dump(mode="json", by_alias=True)["usage"][0]["inputTokens"] == 3


def said(message_id: str = "m", content: str = "hi") -> HistoryEntry:
    return HistoryEntry(role="user", content=content, turn_id=1, status=TurnStatus.RUNNING, message_id=message_id)


def test_held_messages_are_shown_behind_all_turns() -> None:
    """What is held stays with the client, as the history has it, and goes where it is resumed."""
    chat = ScriptedChat(0)
    held = HistoryEntry(role="user", content="b", turn_id=2, status=TurnStatus.QUEUED, message_id="m-2", held=True)
    run, reader = RunEvents(NEW), Reader()
    reader.read(*run.start([said("m-1", "a"), held]))
    assert reader.lines == [("user", "a"), ("user", "b")]
    reader.read(*run.take(chat.status))
    assert reader.lines == [("user", "a")]

"""Turns that are rolled back: what is undone, in which order, and what the chat is told."""

import pytest

from app.errors import DefinitionError
from app.tools.context import ToolContext
from app.tools.registry import tool
from app.turns.control import Start
from app.turns.modes import Mode
from app.turns.protocol import EndTurn, TurnEnd
from app.turns.rollback.rules import preview_of, rollback_note
from app.turns.transcript import Item, ToolItem, ToolOutcome, TurnStatus, Undone, UserItem
from tests.support.fake_chat import FakeChat


def call(name: str, outcome: str = "ok") -> ToolItem:
    return ToolItem(call_id=f"c-{name}", name=name, content="", outcome=ToolOutcome(outcome))


ITEMS: tuple[Item, ...] = (
    UserItem(message_id="m1", content="book it"),
    call("flight"),
    call("mail"),
    call("hotel"),
    call("car", "unknown"),
    call("boat", "failed"),
    call("plane", "skipped"),
)


# What is said


def test_note_says_what_was_undone_and_what_not() -> None:
    """Each call that did something, or may have, is named: undone or not, and why not; the last one first."""
    undone = [Undone(call_id="c-hotel", name="hotel", error="full"), Undone(call_id="c-flight", name="flight")]
    assert rollback_note(ITEMS, undone) == (
        "This turn was rolled back. Undone: flight. "
        "Not undone: car (it may have run in part, no compensation was made); hotel (its compensation failed: full); "
        "mail (no compensation was made)."
    )


def test_nothing_done_is_nothing_said() -> None:
    """A turn whose calls did nothing has no note."""
    assert rollback_note([call("boat", "failed"), call("plane", "skipped")], ()) is None


def test_calls_of_one_id_are_told_apart() -> None:
    """Two calls of one id and name, of which one was undone, are one that was undone and one that was not."""
    note = rollback_note([call("flight"), call("flight")], [Undone(call_id="c-flight", name="flight")])
    assert note == "This turn was rolled back. Undone: flight. Not undone: flight (no compensation was made)."


def test_preview() -> None:
    """A preview names what would be undone, in that order, and what could not be."""
    preview = preview_of(1, ITEMS, lambda name: name in ("flight", "hotel", "car"))
    assert [each.name for each in preview.undone] == ["hotel", "flight"]
    assert [each.name for each in preview.irreversible] == ["car", "mail"]


# What the chat does


def test_preview_of_a_turn_that_is_stopping() -> None:
    """A turn that was stopped without can still be rolled back, so its preview is shown; not one of a rollback."""
    chat = FakeChat()
    chat.say()
    chat.change(lambda c: c.stop(None))
    assert chat.change(lambda c: c.preview(lambda _: True)).turn_id == 1
    chat.change(lambda c: c.stop(None, rollback=True))
    assert chat.change(lambda c: c.preview(lambda _: True)).turn_id is None


def interrupted(chat: FakeChat, *undone: Undone, may_undo: bool = False, offset: int = 0) -> TurnEnd:
    """End turn 1 as a run does that was cancelled."""
    items = (call("flight"),) if not offset else ()
    report = EndTurn(
        **dict(chat.ref(1)),
        offset=offset,
        items=items,
        outcome=TurnStatus.INTERRUPTED,
        may_undo=may_undo,
        undone=undone,
    )
    return chat.change(lambda conversation: conversation.end(report))


def test_a_turn_that_is_rolled_back_stays_open_until_it_is_undone() -> None:
    """The run of it is told to undo, and ends it with what was undone; only then is the next turn the first."""
    chat = FakeChat()
    chat.say()
    chat.say(mode=Mode.ROLLBACK)
    assert interrupted(chat, may_undo=True) == TurnEnd(undo=True)
    assert chat.open_turns == [1, 2]

    end = interrupted(chat, Undone(call_id="c-flight", name="flight"), offset=1)
    assert end.closed is TurnStatus.ROLLED_BACK
    assert chat.open_turns == [2]
    assert chat.turns[1].error == "This turn was rolled back. Undone: flight."
    assert [item.kind for item in chat.turns[1].items] == ["user", "tool"]


def test_a_turn_that_is_only_interrupted_is_not_undone() -> None:
    """The run of an interrupted turn hears that it has ended."""
    chat = FakeChat()
    chat.say()
    chat.say()
    end = interrupted(chat, may_undo=True)
    assert (end.closed, end.undo) == (TurnStatus.INTERRUPTED, False)
    assert chat.turns[1].error is None


def test_what_comes_while_a_turn_is_undone_waits() -> None:
    """Messages and `stop` do not end the undoing; the next turn has what was said."""
    chat = FakeChat()
    chat.say()
    chat.say(mode=Mode.ROLLBACK)
    interrupted(chat, may_undo=True)
    chat.say(mode=Mode.INTERRUPT)
    chat.say(mode=Mode.STEER)
    assert chat.open_turns[0] == 1
    interrupted(chat, Undone(call_id="c-flight", name="flight"), offset=1)
    assert chat.status(1) is TurnStatus.ROLLED_BACK
    assert [m for n in chat.open_turns for m in (*chat.heard(n), *chat.pending(n))] == ["m2", "m3", "m4"]


def test_a_run_that_dies_while_it_undoes_is_told_of() -> None:
    """A turn whose run was killed says what is not undone, and the next one goes on."""
    chat = FakeChat()
    chat.say()
    chat.say(mode=Mode.ROLLBACK)
    interrupted(chat, may_undo=True)
    chat.change(lambda conversation: conversation.settle(chat.ref(1)))
    assert chat.turns[1].error == "This turn was rolled back. Not undone: flight (no compensation was made)."
    assert chat.open_turns == [2]


def test_stop_rolls_back_if_asked() -> None:
    """`stop` with `rollback` has the turn undone, and begins none."""
    chat = FakeChat()
    chat.say()
    chat.change(lambda conversation: conversation.stop(None, rollback=True))
    assert interrupted(chat, may_undo=True).undo
    interrupted(chat, offset=1)
    assert chat.status(1) is TurnStatus.ROLLED_BACK
    assert not [effect for effect in chat.effects if isinstance(effect, Start)]


# Declarations


async def book(what: str, call: ToolContext) -> int:
    """Book."""
    return len(what + call.chat_key)


async def good(result: int, what: str) -> None:
    """Undo."""


async def too_few(result: int) -> None:
    """Does not take the arguments."""


def blocking(result: int, what: str) -> None:
    """Would block the event loop."""


def test_a_compensation_fits_its_tool() -> None:
    """A compensation takes the result and the arguments by name, without the context, and is async."""
    assert tool(compensate=good)(book).compensate is good
    for wrong in (too_few, blocking):
        with pytest.raises(DefinitionError, match="async function of the result"):
            tool(compensate=wrong)(book)  # type: ignore[arg-type]

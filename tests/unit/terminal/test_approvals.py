"""Tool calls that wait for a person, on a terminal: what is shown, and what typed lines decide."""

from typing import Any

import pytest

from app.terminal.approvals import Unclear, asked_lines, decision_of, told, undo_lines
from app.terminal.feed import ChatFeed

Json = dict[str, Any]

PAY = {"approval_id": "1-a", "call_id": "call_1", "name": "pay", "arguments": '{"amount": 50}', "expires_at": "2027"}
BOOK = {"approval_id": "1-b", "call_id": "call_2", "name": "book", "arguments": "{}"}
FORM = {"type": "object", "properties": {"seats": {"type": "integer", "description": "How many"}}}
ASKS = BOOK | {"question": {"message": "How many\nseats?", "answer_schema": FORM}}
TWO_FIELDS = {"message": "?", "answer_schema": {"properties": {"a": {"type": "string"}, "b": {}}}}
IDS = {"approval_id": "1-a", "call_id": "call_1"}


def test_a_call_is_shown_with_its_arguments() -> None:
    """The name, until when, the arguments, and what to type; a question comes with its fields."""
    assert asked_lines(2, PAY)[:2] == ["2. pay waits for your approval until 2027:", '   {"amount": 50}']
    assert "/reject 2 REASON" in asked_lines(2, PAY)[2]
    assert asked_lines(1, ASKS)[:3] == ["1. book asks you:", "   How many\n   seats?", "   · seats: integer, How many"]


def test_a_terminal_obeys_nothing_of_it() -> None:
    """Control characters in names, arguments and forms are shown."""
    form = {"message": "\x1b[2J", "answer_schema": {"properties": {"\x1b": {"description": "\x07"}}}}
    evil = {"name": "\x1b]0;x", "arguments": "\x1b[1A\r", "question": None}
    for approval in (PAY | evil, PAY | evil | {"question": form}):
        assert not set("\x1b\r\x07") & set("".join(asked_lines(1, approval)))
    assert "\x1b" not in "".join(undo_lines({"undone": [{"name": "\x1b"}], "irreversible": []}))


@pytest.mark.parametrize(
    ("command", "rest", "decided"),
    [
        ("approve", "", {"decision": "approve"}),
        ("approve", "1", {"decision": "approve"}),
        ("approve", '{"amount": 5}', {"decision": "approve", "arguments": {"amount": 5}}),
        ("approve", '1 {"amount": 5}', {"decision": "approve", "arguments": {"amount": 5}}),
        ("reject", "", {"decision": "reject", "reason": ""}),
        ("reject", "1 too much", {"decision": "reject", "reason": "too much"}),
        ("reject", "50 is too much", {"decision": "reject", "reason": "50 is too much"}),
    ],
)
def test_what_is_typed_decides(command: str, rest: str, decided: Json) -> None:
    """A number may be left out where one call waits; what comes behind is the reason, or other arguments."""
    assert decision_of(command, rest, [PAY]) == IDS | decided


@pytest.mark.parametrize("rest", ["3", "1 3", '{"seats": 3}', '1 {"seats": 3}'])
def test_a_question_is_answered(rest: str) -> None:
    """The answer is an object, or the value where there is one field."""
    assert decision_of("answer", rest, [ASKS])["answer"] == {"seats": 3}


@pytest.mark.parametrize(
    ("command", "rest", "waiting", "why"),
    [
        ("approve", "", [], "Nothing waits"),
        ("approve", "", [PAY, BOOK], "/approve wants the number"),
        ("approve", "3", [PAY, BOOK], "/approve wants the number"),
        ("approve", "1 50", [PAY], "JSON object"),
        ("approve", "1 {", [PAY], "no JSON"),
        ("approve", "", [ASKS], "asks a question"),
        ("answer", "3", [PAY], "asks nothing"),
        ("answer", "", [ASKS], "JSON object with seats"),
        ("answer", "x", [BOOK | {"question": TWO_FIELDS}], "JSON object with a, b"),
    ],
)
def test_what_is_unclear_decides_nothing(command: str, rest: str, waiting: list[Json], why: str) -> None:
    """What could mean two calls, or does not fit the call, is told and sends nothing."""
    with pytest.raises(Unclear, match=why):
        decision_of(command, rest, waiting)


def test_a_decision_that_comes_too_late_is_told() -> None:
    """What became of the call before is said; a decision that was taken says nothing."""
    assert told({"result": "applied"}) == ""
    assert "expired already" in told({"result": "already_resolved", "resolution": {"verdict": "expired"}})
    assert told({"result": "unknown"})


def test_each_call_is_shown_once() -> None:
    """A state that comes again shows no call again; a new call is shown."""
    feed = ChatFeed()

    def state(*approvals: Json) -> Json:
        turn = {"turn_id": 1, "stopping": False, "waiting": [], "approvals": list(approvals)}
        snapshot = {"mode": "QUEUE", "busy": True, "last_turn_id": 1, "open_turns": [turn], "held": []}
        return {"type": "STATE_SNAPSHOT", "snapshot": snapshot}

    assert [line.kind for line in feed.take(state(PAY))] == ["ask"] * 3
    assert feed.take(state(PAY)) == []
    assert feed.take(state(PAY, BOOK))[0].text == "2. book waits for your approval:"
    assert feed.approvals == [PAY, BOOK]

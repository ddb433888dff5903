"""A chat as a person reads it: the lines of a turn."""

from app.turns.control import Session
from app.turns.modes import Mode
from app.turns.reading.history import entries_of, entries_of_held, status_of
from app.turns.transcript import (
    AssistantItem,
    Finish,
    Message,
    Thought,
    ToolCall,
    ToolItem,
    ToolOutcome,
    Turn,
    TurnStatus,
    Usage,
    UserItem,
    without_thoughts,
)

CALL = ToolCall(call_id="c", name="execute_task", arguments='{"task": "x"}')


def entries(turn: Turn) -> list[dict[str, object]]:
    """The entries as a client gets them."""
    return [entry.model_dump(mode="json") for entry in entries_of(turn)]


def test_items_are_lines_in_order() -> None:
    """Each item is a line with the turn's id and status; fields that do not apply are left out."""
    items = (
        UserItem(message_id="m1", content="do it"),
        AssistantItem(content="On it.", tool_calls=(CALL,), finish=Finish.TOOL_CALLS),
        ToolItem(call_id="c", name="execute_task", content="done"),
        AssistantItem(content="It is done."),
    )

    lines: list[dict[str, object]] = [
        {"role": "user", "content": "do it", "message_id": "m1"},
        {"role": "assistant", "content": "On it.", "tool_calls": [CALL.model_dump()]},
        {"role": "tool", "content": "done", "tool_call_id": "c", "outcome": "ok"},
        {"role": "assistant", "content": "It is done."},
    ]
    every_line: dict[str, object] = {"turn_id": 3, "status": "completed", "partial": False}
    assert entries(Turn(turn_id=3, status=TurnStatus.COMPLETED, items=items)) == [
        line | every_line | {"index": index} for index, line in enumerate(lines)
    ]


def test_partial_text_is_marked() -> None:
    """Text that was aborted, broken off, cut at its length or filtered is marked as partial; a whole one is not."""
    for finish in Finish:
        turn = Turn(turn_id=1, items=(AssistantItem(content="x", finish=finish),))
        partial = finish in (Finish.ABORTED, Finish.BROKEN, Finish.LENGTH, Finish.CONTENT_FILTER)
        assert [entry["partial"] for entry in entries(turn)] == [partial], finish


def test_waiting_messages_are_queued_lines() -> None:
    """A message that the agent has not been given is a line behind the items, with status `queued`."""
    turn = Turn(
        turn_id=1,
        status=TurnStatus.RUNNING,
        items=(UserItem(message_id="m1", content="one"),),
        pending=(Message(message_id="m2", content="two"),),
    )

    assert [(e["content"], e["status"], e["message_id"]) for e in entries(turn)] == [
        ("one", "running", "m1"),
        ("two", "queued", "m2"),
    ]


def test_error_is_the_last_line() -> None:
    """Why a turn failed is its last line, from the system."""
    turn = Turn(turn_id=1, status=TurnStatus.FAILED, error="no LLM", items=(UserItem(message_id="m", content="x"),))

    assert [(e["role"], e["content"], e["status"]) for e in entries(turn)][-1] == ("system", "no LLM", "failed")


def test_outcome_of_a_tool_is_shown() -> None:
    """A synthetic result shows that the tool was skipped or may have run."""
    for outcome in ToolOutcome:
        item = ToolItem(call_id="c", name="t", content="x", outcome=outcome)
        assert entries(Turn(turn_id=1, items=(item,)))[0]["outcome"] == outcome.value


def test_withdrawn_turn_has_no_lines() -> None:
    """A turn that was withdrawn before it began leaves no lines."""
    assert entries(Turn(turn_id=1, status=TurnStatus.WITHDRAWN)) == []


def test_held_messages_are_lines_of_no_turn() -> None:
    """A held message is a queued line that says so, with the number that the next turn will have."""
    held = (Message(message_id="m2", content="later", mode=Mode.STEER),)
    session = Session(last_turn_id=3, held=held)

    assert [entry.model_dump(mode="json") for entry in entries_of_held(session)] == [
        {
            "role": "user",
            "content": "later",
            "turn_id": 4,
            "status": "queued",
            "partial": False,
            "message_id": "m2",
            "held": True,
        }
    ]
    status = status_of(session, {}, Mode.INTERRUPT).model_dump(mode="json")
    assert (status["held"], status["busy"]) == ([{"message_id": "m2", "content": "later", "mode": "STEER"}], False)


def test_session_of_a_version_that_holds_nothing_has_no_held_lines() -> None:
    """A chat whose state does not say what is held shows nothing held."""
    assert list(entries_of_held(Session(last_turn_id=3))) == []
    assert status_of(Session(), {}, Mode.INTERRUPT).held == []


def test_thoughts_stand_beside_the_answer() -> None:
    """What the LLM thought is a field of its line; what only its server can read is in no line, nor in the record."""
    sealed = AssistantItem(content="Yes.", thought=Thought(text="Hm.", sealed="[1]", maker="x"))
    silent = AssistantItem(content="No.", thought=Thought(sealed="[1]", maker="x"))
    turn = Turn(turn_id=1, status=TurnStatus.COMPLETED, items=(sealed.shown, silent.shown))
    assert "sealed" not in turn.model_dump_json()
    assert [entry.get("reasoning") for entry in entries(turn)] == ["Hm.", None]
    assert without_thoughts((sealed, silent)) == (AssistantItem(content="Yes."), AssistantItem(content="No."))


def test_what_was_stored_before_there_were_thoughts() -> None:
    """Items and usage without thoughts are written as they always were, and read as they were written."""
    item, usage = AssistantItem(content="Yes."), Usage(calls=1, prompt_tokens=3)
    assert item.model_dump_json() == '{"kind":"assistant","content":"Yes.","tool_calls":[],"finish":"stop"}'
    assert usage.model_dump_json() == '{"calls":1,"unmetered_calls":0,"prompt_tokens":3,"completion_tokens":0}'
    assert AssistantItem.model_validate_json(item.model_dump_json()) == item
    assert Session.model_validate_json('{"last_turn_id":1}').usage == Usage()
    assert "usage" not in Session(last_turn_id=1).model_dump_json()

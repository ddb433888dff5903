"""Approvals as interrupts of AG-UI: what is asked, when a stream ends for it, and what a resume decides."""

from typing import Any

import pytest

from app.errors import UsageError
from app.turns.reading.protocol import ChatStatus, HistoryEntry, OpenTurnStatus
from app.turns.transcript import Approval, Question, TurnStatus
from app.web.agui.goal import ChatAtRest, End, MessageAnswered
from app.web.agui.interrupts.answered import Decided, decisions_of
from app.web.agui.interrupts.asked import interrupt_id
from app.web.agui.request import Client, new_message_of, read_input
from app.web.agui.run import RunEvents
from app.web.watch.events import StatusSeen

PAY = Approval(approval_id="1-ab12", call_id="c.1?", name="pay", arguments='{"amount": 50}')
FORM = {"type": "object", "properties": {"approved": {"type": "boolean"}}}
ASKS = PAY.changed(question=Question(message="Sure?", answer_schema=FORM, asked_at=0.0))
SAID = HistoryEntry(role="user", content="pay", turn_id=1, status=TurnStatus.RUNNING, message_id="m", index=0)


def resume(approval: Approval, status: str = "resolved", **payload: Any) -> list[dict[str, Any]]:
    return [{"interruptId": interrupt_id(approval), "status": status, "payload": payload or None}]


def status(*approvals: Approval) -> StatusSeen:
    turn = OpenTurnStatus(
        turn_id=1,
        status=TurnStatus.RUNNING,
        stopping=False,
        invocation_id="inv",
        waiting=[],
        approvals=list(approvals) or None,
    )
    return StatusSeen(ChatStatus(mode="QUEUE", busy=True, last_turn_id=1, open_turns=[turn]))


def end_of(approval: Approval, *, speaks_1_0: bool = True) -> list[dict[str, Any]]:
    run = RunEvents(Client("chat", "run", speaks_1_0=speaks_1_0))
    run.start([SAID])
    events = run.finish(End(TurnStatus.RUNNING, 1, asks=(approval,)))
    return [event.model_dump(mode="json", by_alias=True, exclude_none=True) for event in events]


def test_a_call_is_told_before_it_is_asked_about() -> None:
    """The call comes before the interrupt that names it; the interrupt says what is asked and what fits."""
    *call, finished = end_of(PAY)
    assert [event["type"] for event in call] == ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END"]
    [interrupt] = finished["outcome"]["interrupts"]
    assert interrupt["toolCallId"] == call[0]["toolCallId"]
    assert (interrupt["reason"], interrupt["message"]) == ("tool_call", 'May pay be called with {"amount": 50}?')
    assert "editedArgs" in interrupt["responseSchema"]["properties"]


def test_a_question_is_asked_with_its_form() -> None:
    """The question of a call is an interrupt of its own kind, answered by what its form says."""
    [interrupt] = end_of(ASKS)[-1]["outcome"]["interrupts"]
    assert (interrupt["reason"], interrupt["message"], interrupt["responseSchema"]) == ("input_required", "Sure?", FORM)


def test_older_clients_get_no_interrupt() -> None:
    """Who does not declare 1.0 finds in the result that the turn waits: an interrupt would keep them from sending."""
    finished = end_of(PAY, speaks_1_0=False)[-1]
    assert "outcome" not in finished
    assert finished["result"] == {"turn_id": 1, "status": "waiting_for_approval"}


@pytest.mark.parametrize("goal", [MessageAnswered("m", 1), ChatAtRest()], ids=["run", "connect"])
def test_the_history_decides_whether_a_person_is_asked(goal: MessageAnswered | ChatAtRest) -> None:
    """A state may be older than the decision: a stream ends only if the history, read after it, has the call too."""
    goal.look([SAID])
    assert goal.take(status(PAY)) is None
    assert goal.in_doubt
    assert goal.look([SAID], ()) is None
    assert not goal.in_doubt
    assert goal.take(status()) is None
    assert not goal.in_doubt
    end = goal.look([SAID], (PAY,))
    assert end is not None
    assert (end.asks, end.turn_id) == ((PAY,), 1)


@pytest.mark.parametrize(
    ("payload", "decided"),
    [
        ({"approved": True}, {"decision": "approve"}),
        ({"approved": True, "editedArgs": {"a": 1}}, {"decision": "approve", "arguments": {"a": 1}}),
        ({"approved": False}, {"decision": "reject"}),
        ({"approved": False, "reason": "no", "editedArgs": {}}, {"decision": "reject", "reason": "no"}),
    ],
)
def test_a_payload_decides(payload: dict[str, Any], decided: dict[str, Any]) -> None:
    """The decision is about the very call that the interrupt has named, whatever its id is made of."""
    [each] = decisions_of(resume(PAY, **payload))
    assert each.to_body() == {"approval_id": "1-ab12", "call_id": "c.1?"} | decided
    assert each.turn_id == 1


def test_an_answer_to_a_question_decides_nothing_else() -> None:
    """A form may have a field called `approved`: it is the answer, not the decision."""
    [answered] = decisions_of(resume(ASKS, approved=False))
    assert (answered.decision, answered.more) == ("approve", {"answer": {"approved": False}})


def test_who_gives_up_approves_nothing() -> None:
    """`cancelled` rejects, and is met by whatever has ended the wait meanwhile."""
    [given_up] = decisions_of(resume(PAY, "cancelled"))
    assert (given_up.decision, given_up.given_up, given_up.more) == ("reject", True, {})


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("yes", "no list"),
        ([{"interruptId": "x", "status": "maybe"}], "no list"),
        ([{"interruptId": "x", "status": "resolved"}], "No run has asked"),
        (resume(PAY), "must be an object"),
        (resume(PAY, approved="yes"), "must be true or false"),
        (resume(PAY, ok=True), "must be true or false"),
    ],
)
def test_what_is_no_answer_is_refused(wrong: Any, why: str) -> None:
    """What is not clearly a yes is none."""
    with pytest.raises(UsageError, match=why):
        decisions_of(wrong)


@pytest.mark.parametrize(
    ("decision", "answer", "met"),
    [
        ("approve", {"result": "applied"}, True),
        ("approve", {"result": "already_resolved", "resolution": {"verdict": "approved"}}, True),
        ("approve", {"result": "already_resolved", "resolution": {"verdict": "expired"}}, False),
        ("reject", {"result": "already_resolved", "resolution": {"verdict": "approved"}}, False),
        ("reject", {"result": "already_resolved", "resolution": {"verdict": "withdrawn"}}, True),
    ],
)
def test_an_answer_that_comes_again(decision: str, answer: dict[str, Any], met: bool) -> None:
    """A repeated answer is met; one that comes after another has been taken is not."""
    assert Decided("1-a", "c", decision).is_met_by(answer) is met


def test_only_a_new_message_comes_along() -> None:
    """A client sends all its messages with a resume: one that the chat has is not sent again."""
    old, new = ({"id": each, "role": "user", "content": "hi"} for each in ("m", "m-2"))
    for messages, found in (([], None), ([old], None), ([old, new], "m-2"), ([new, {"id": "a", "role": "tool"}], None)):
        run = read_input({"threadId": "chat", "runId": "run", "messages": messages})
        message = new_message_of(run, [SAID])
        assert (message and message.message_id) == found

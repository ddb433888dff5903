"""Tool calls that wait for approval: who resolves them, how, and what the LLM is told."""

import asyncio
import json
from typing import Any

import pytest
from pydantic import ValidationError

from app.errors import DefinitionError, TooLarge, UsageError
from app.tools.asking import ask_user
from app.tools.registry import Tool, by_name, tool
from app.turns.approval.asking import MAX_ARGUMENTS_CHARS, approval_of, resolution_of
from app.turns.approval.protocol import ApprovalRef, ResolveAnswer, ResolveRequest
from app.turns.approval.rules import settled_before, turn_of
from app.turns.control import Cancel, Decide, RingRun
from app.turns.conversation import Conversation
from app.turns.modes import Mode
from app.turns.tool_calls import ToolCalls
from app.turns.transcript import (
    Approval,
    Question,
    Resolution,
    ToolCall,
    ToolItem,
    ToolOutcome,
    Turn,
    TurnStatus,
    Verdict,
)
from tests.support.fake_chat import FakeChat

CALL = ToolCall(call_id="c1", name="pay", arguments='{"amount": 100}')
APPROVAL = approval_of(CALL, 1, "inv_1", 1, 0)
APPROVED = Resolution(verdict=Verdict.APPROVED)


@tool(needs_approval=lambda amount: amount > 10)
async def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


def request(**fields: Any) -> ResolveRequest:
    ids = {"call_id": "c1", "approval_id": APPROVAL.approval_id, "decision": "approve"}
    return ResolveRequest(**(ids | fields))


def resolve(chat: FakeChat, **fields: Any) -> ResolveAnswer:
    """Do as the handler does."""
    asked = request(**fields)

    def act(conversation: Conversation) -> ResolveAnswer:
        if (approval := conversation.waiting_approval(asked)) is None:
            return settled_before(conversation.turns.get(turn_of(asked.approval_id)), asked)
        return conversation.resolve_approval(approval, resolution_of(asked, pay))

    return chat.change(act)


@pytest.fixture
def chat() -> FakeChat:
    """Turn 1 runs, and waits for the approval of a call."""
    chat = FakeChat()
    chat.say()
    chat.record(1, asks=(APPROVAL,))
    return chat


def resolution(chat: FakeChat) -> Resolution | None:
    [approval] = chat.turns[1].approvals
    return approval.resolution


# The rules


def test_a_decision_is_told_once(chat: FakeChat) -> None:
    """The first decision is applied and told to the run; another one changes nothing and says what was decided."""
    assert resolve(chat).result == "applied"
    assert chat.effects == [Decide("inv_1", APPROVAL.approval_id, APPROVED)]

    again = resolve(chat, decision="reject")
    assert (again.result, again.resolution) == ("already_resolved", APPROVED)
    assert chat.effects == []
    assert resolution(chat) == APPROVED


@pytest.mark.parametrize(
    "fields",
    [
        {"call_id": "c2"},
        {"approval_id": "1-0000"},
        {"approval_id": "2-0000"},
        {"approval_id": "x"},
        {"approval_id": "-"},
    ],
)
def test_a_decision_about_another_call_is_unknown(chat: FakeChat, fields: dict[str, str]) -> None:
    """A decision that does not name this very call changes nothing."""
    assert resolve(chat, **fields).result == "unknown"
    assert chat.effects == []
    assert resolution(chat) is None


def test_a_decision_after_the_end_is_too_late(chat: FakeChat) -> None:
    """What waited when its turn ended was withdrawn, and says so."""
    chat.end(1, TurnStatus.FAILED)

    answer = resolve(chat)
    assert (answer.result, answer.resolution) == ("already_resolved", Resolution(verdict=Verdict.WITHDRAWN))


@pytest.mark.parametrize("mode", [Mode.INTERRUPT, Mode.ROLLBACK])
def test_a_message_that_ends_the_turn_withdraws(chat: FakeChat, mode: Mode) -> None:
    """INTERRUPT and ROLLBACK withdraw what waits; the run is cancelled, and hears no decision."""
    chat.say(mode=mode)

    assert resolution(chat) == Resolution(verdict=Verdict.WITHDRAWN)
    assert Cancel("inv_1") in chat.effects
    assert not [effect for effect in chat.effects if isinstance(effect, Decide)]
    assert resolve(chat).result == "already_resolved"


def test_stop_withdraws(chat: FakeChat) -> None:
    """`stop` withdraws what waits."""
    chat.change(lambda conversation: conversation.stop(None))
    assert resolution(chat) == Resolution(verdict=Verdict.WITHDRAWN)


@pytest.mark.parametrize("mode", [Mode.INCORPORATE, Mode.STEER])
def test_a_message_for_the_turn_rejects(chat: FakeChat, mode: Mode) -> None:
    """INCORPORATE and STEER reject what waits with the message as the reason, and the turn goes on with it."""
    chat.say("no, the other", mode)

    rejected = Resolution(verdict=Verdict.REJECTED, reason="no, the other", message_id="m2")
    assert resolution(chat) == rejected
    assert chat.effects == [
        RingRun("inv_1", 1, mode is Mode.STEER, "no, the other"),
        Decide("inv_1", APPROVAL.approval_id, rejected),
    ]


@pytest.mark.parametrize("mode", [Mode.QUEUE, Mode.REJECT])
def test_a_message_that_waits_changes_nothing(chat: FakeChat, mode: Mode) -> None:
    """QUEUE and REJECT leave it waiting."""
    chat.say(mode=mode)
    assert resolution(chat) is None
    assert resolve(chat).result == "applied"


def test_promoting_a_message_rejects(chat: FakeChat) -> None:
    """A queued message that is given to the turn now is a message like any other."""
    chat.say("now", Mode.QUEUE)
    chat.change(lambda conversation: conversation.promote("m2"))
    assert resolution(chat) == Resolution(verdict=Verdict.REJECTED, reason="now", message_id="m2")


def test_a_message_that_came_before_the_question_is_the_answer() -> None:
    """If the turn has a message to read when it asks, that rejects: it would wait behind the approval."""
    chat = FakeChat()
    chat.say()
    chat.say("never mind", Mode.INCORPORATE)
    chat.record(1, asks=(APPROVAL,))
    assert resolution(chat) == Resolution(verdict=Verdict.REJECTED, reason="never mind", message_id="m2")


def test_a_turn_that_stops_asks_nobody() -> None:
    """What a turn asks while it is being stopped is withdrawn."""
    chat = FakeChat()
    chat.say()
    chat.change(lambda conversation: conversation.stop(None))
    chat.record(1, asks=(APPROVAL,))
    assert resolution(chat) == Resolution(verdict=Verdict.WITHDRAWN)


def test_time_runs_out(chat: FakeChat) -> None:
    """What nobody has decided expires; what somebody has decided is what the run hears then."""
    ref = ApprovalRef(**dict(chat.ref(1)), approval_id=APPROVAL.approval_id)
    assert chat.change(lambda conversation: conversation.expire(ref)).verdict is Verdict.EXPIRED
    assert chat.effects == []
    assert resolve(chat).result == "already_resolved"


def test_time_runs_out_too_late(chat: FakeChat) -> None:
    """A decision that came before the time ran out holds."""
    resolve(chat)
    ref = ApprovalRef(**dict(chat.ref(1)), approval_id=APPROVAL.approval_id)
    assert chat.change(lambda conversation: conversation.expire(ref)) == APPROVED


def test_a_question_that_comes_twice_is_one(chat: FakeChat) -> None:
    """The same report twice asks once."""
    resolve(chat)
    chat.record(1, asks=(APPROVAL,))
    assert resolution(chat) == APPROVED


# Which call it is


def test_an_approval_is_that_of_one_call() -> None:
    """Another run, place, id, tool or argument is another approval."""
    other = CALL.changed
    calls = [CALL, other(call_id="c2"), other(name="buy"), other(arguments='{"amount": 101}')]
    ids = {approval_of(call, 1, "inv_1", 1, 0).approval_id for call in calls}
    ids |= {approval_of(CALL, *place).approval_id for place in [(2, "inv_1", 1, 0), (1, "inv_2", 1, 0)]}
    ids |= {approval_of(CALL, *place).approval_id for place in [(1, "inv_1", 2, 0), (1, "inv_1", 1, 1)]}
    assert len(ids) == 8
    assert approval_of(CALL, 1, "inv_1", 1, 0) == APPROVAL


def test_changed_arguments_are_checked() -> None:
    """Arguments that a person has changed must fit, and be of a size; they are stored as JSON."""
    assert resolution_of(request(arguments={"amount": 5}), pay).arguments == '{"amount": 5}'
    with pytest.raises(UsageError, match="amount"):
        resolution_of(request(arguments={"amount": "much"}), pay)
    with pytest.raises(TooLarge):
        resolution_of(request(arguments={"amount": "9" * MAX_ARGUMENTS_CHARS}), pay)
    with pytest.raises(ValidationError, match="arguments go with"):
        request(decision="reject", arguments={"amount": 5})


def test_an_old_turn_has_no_approvals() -> None:
    """A turn that was stored before there were approvals is read."""
    assert Turn.model_validate_json('{"turn_id": 1}').approvals == ()


# The calls


async def called(resolution: Resolution, *calls: ToolCall, tools: tuple[Tool, ...] = (pay,)) -> list[ToolItem]:
    async def approve(_position: int, _call: ToolCall, _question: Question | None) -> Resolution:
        return resolution

    running = ToolCalls(calls, by_name(*tools), max_result_chars=1000, approve=approve)
    await running.run(concurrency=1, skip=asyncio.Event())
    return running.results


@pytest.mark.parametrize(
    ("resolution", "outcome", "words"),
    [
        (APPROVED, "ok", "paid 100"),
        (
            APPROVED.changed(arguments='{"amount": 5}'),
            "ok",
            'other arguments, with which it was made: {"amount": 5}]\npaid 5',
        ),
        (Resolution(verdict=Verdict.REJECTED, reason="too much"), "skipped", "gave the reason 'too much'. It never"),
        (Resolution(verdict=Verdict.REJECTED), "skipped", "gave no reason. It never started"),
        (Resolution(verdict=Verdict.REJECTED, reason="wait", message_id="m"), "skipped", "begins with 'wait'"),
        (Resolution(verdict=Verdict.EXPIRED), "skipped", "in time. It never started"),
        (Resolution(verdict=Verdict.WITHDRAWN), "skipped", "was not approved. It never started"),
    ],
)
async def test_what_the_llm_is_told(resolution: Resolution, outcome: str, words: str) -> None:
    """A call runs only if it was approved, with the arguments that were; the LLM is told what became of it."""
    [result] = await called(resolution, CALL)
    assert result.outcome == outcome
    assert words in result.content


async def test_a_call_that_needs_nobody_is_made() -> None:
    """The function of the arguments says which calls need a person; wrong arguments need none."""
    small = CALL.changed(arguments='{"amount": 10}')
    wrong = CALL.changed(call_id="c2", arguments='{"amount": "x"}')
    results = await called(Resolution(verdict=Verdict.REJECTED), small, wrong)
    assert [item.outcome for item in results] == [ToolOutcome.OK, ToolOutcome.FAILED]


async def test_who_cannot_tell_asks() -> None:
    """A function that fails means that a person is asked."""

    @tool(needs_approval=lambda amount: amount < 1 / 0)
    async def pay(amount: int) -> str:
        """Pay."""
        return str(amount)

    [result] = await called(Resolution(verdict=Verdict.EXPIRED), CALL, tools=(pay,))
    assert result.outcome is ToolOutcome.SKIPPED


async def test_without_anybody_to_ask_nothing_is_approved() -> None:
    """Calls that are run by nobody who can ask are rejected."""
    running = ToolCalls([CALL], by_name(pay), max_result_chars=100)
    await running.run(concurrency=1, skip=asyncio.Event())
    assert running.results[0].outcome is ToolOutcome.SKIPPED


async def test_a_call_that_waits_for_approval_holds_up_no_other() -> None:
    """A call that waits takes no place: others run beside it, and it runs when it is approved."""
    decided, ran = asyncio.Event(), asyncio.Event()

    async def approve(_position: int, _call: ToolCall, _question: Question | None) -> Resolution:
        await decided.wait()
        return APPROVED

    @tool(parallel=False)
    async def note() -> str:
        """Note."""
        ran.set()
        return "noted"

    calls = [CALL, ToolCall(call_id="c2", name="note", arguments="{}")]
    running = ToolCalls(calls, by_name(pay, note), max_result_chars=100, approve=approve)
    task = asyncio.create_task(running.run(concurrency=1, skip=asyncio.Event()))
    await ran.wait()
    decided.set()
    await task
    assert [item.content for item in running.results] == ["paid 100", "noted"]


def test_wrong_needs_approval() -> None:
    """`needs_approval` is a bool or a plain function."""

    async def asks(amount: int) -> bool:
        return amount > 1

    for wrong in ("yes", asks):
        with pytest.raises(DefinitionError, match="needs_approval"):
            tool(needs_approval=wrong)(pay.run)  # type: ignore[arg-type]


def test_an_approval_is_stored_without_what_it_has_not() -> None:
    """What does not apply is left out, so that clients see what waits."""
    assert set(json.loads(Approval(approval_id="1-a", call_id="c", name="n", arguments="").model_dump_json())) == {
        "approval_id",
        "call_id",
        "name",
        "arguments",
        "expires_at",
    }


# Questions

QUESTION = Question(
    message="Which card?",
    answer_schema={
        "type": "object",
        "properties": {"card": {"type": "string", "enum": ["visa"]}, "__proto__": {"type": "integer"}},
        "required": ["card"],
    },
    asked_at=1.0,
)


def test_an_answer_fits_its_question() -> None:
    """An answer is taken as it is if it fits; one that does not, or arguments in its place, are refused."""
    given = resolution_of(request(answer={"card": "visa", "__proto__": 3}), None, QUESTION)
    assert (given.verdict, given.answer) == (Verdict.APPROVED, '{"card": "visa", "__proto__": 3}')
    assert resolution_of(request(decision="reject", reason="no"), None, QUESTION).answer is None
    wrongs: list[dict[str, Any]] = [
        {"answer": {}},
        {"answer": {"card": "x"}},
        {"answer": {"card": "visa", "cvc": 1}},
        {"arguments": {}},
    ]
    for wrong in wrongs:
        with pytest.raises(UsageError):
            resolution_of(request(**wrong), None, QUESTION)
    with pytest.raises(UsageError, match="This call asks nothing"):
        resolution_of(request(answer={}), pay)
    with pytest.raises(ValidationError, match="an answer goes with the decision 'approve'"):
        request(decision="reject", answer={})
    free = QUESTION.changed(answer_schema={"type": "object", "properties": {"a": {"type": "string"}}})
    with pytest.raises(TooLarge):
        resolution_of(request(answer={"a": "x" * MAX_ARGUMENTS_CHARS}), None, free)


def test_each_question_is_an_approval_of_its_own() -> None:
    """The same words asked again are another question; journals of before, which have none, keep their ids."""
    ids = {
        approval_of(CALL, 1, "inv_1", 1, 0, question).approval_id
        for question in (None, QUESTION, QUESTION.changed(number=2), QUESTION.changed(message="Sure?"))
    }
    assert len(ids) == 4
    assert APPROVAL.approval_id == "1-dbb6a6ba598fd5b3"
    assert "question" not in APPROVAL.model_dump(mode="json")


async def test_a_question_gives_its_place_to_others() -> None:
    """A call that waits for an answer takes no place; it goes on when there is one again."""
    answered, ran = asyncio.Event(), asyncio.Event()

    async def approve(_position: int, _call: ToolCall, question: Question | None) -> Resolution:
        assert question is not None
        await ran.wait()
        return Resolution(verdict=Verdict.APPROVED, answer='{"a": 1}')

    @tool
    async def ask() -> str:
        """Ask."""
        told = await ask_user("What?", {"type": "object"}, 1.0)
        answered.set()
        return str(told.answer)

    @tool(parallel=False)
    async def note() -> str:
        """Note."""
        assert not answered.is_set()
        ran.set()
        return "noted"

    made = [ToolCall(call_id=each.name, name=each.name, arguments="{}") for each in (ask, note)]
    running = ToolCalls(made, by_name(ask, note), max_result_chars=100, approve=approve)
    await asyncio.wait_for(running.run(concurrency=1, skip=asyncio.Event()), 5)
    assert [item.content for item in running.results] == ["{'a': 1}", "noted"]


async def test_a_rule_asks_whatever_the_tool_says() -> None:
    """A call whose place a rule names waits for approval, although its tool wants none."""
    asked: list[int] = []

    async def approve(position: int, _call: ToolCall, _question: Question | None) -> Resolution:
        asked.append(position)
        return Resolution(verdict=Verdict.REJECTED)

    made = [ToolCall(call_id=f"c{n}", name="pay", arguments='{"amount": 1}') for n in range(2)]
    running = ToolCalls(made, by_name(pay), max_result_chars=100, approve=approve, to_approve=(1,))
    await running.run(concurrency=2, skip=asyncio.Event())
    assert asked == [1]
    assert [item.outcome for item in running.results] == [ToolOutcome.OK, ToolOutcome.SKIPPED]

"""Tokens of a turn and of a day, and tool calls that work at the same time."""

import asyncio
import json

from tests.integration.limits.conftest import Crowd
from tests.support.eventually import eventually
from tests.support.llm_server import Call, Gate, LLMRequest, Plan


def work(name: str, call_id: str = "call_1") -> Call:
    return Call("work", json.dumps({"name": name}), call_id)


def asks(*calls: Call, gate: Gate | None = None) -> Plan:
    """A reply that asks for these calls."""
    return Plan(text=(), calls=calls, finish_reason="tool_calls", gate=gate)


async def test_a_turn_ends_after_its_tokens(crowd: Crowd) -> None:
    """A turn that has used its tokens ends as `limit_reached`, keeps what it did, says what to do; then one goes on."""
    [chat] = crowd.chats(1)
    chat.script_by(lambda request: asks(work(chat.key)) if request.user_texts == ["work"] else Plan(text=["Done."]))
    await chat.say("work")
    lines = await chat.idle()

    assert [(role, status) for role, _, status in lines].count(("tool", "limit_reached")) == 3
    assert lines[-1][1].startswith(
        "No answer after 45 tokens, the limit is 40. What was done is kept: send a message to go on"
    )
    assert len(chat.requests) == 3
    await chat.say("go on")
    assert (await chat.idle())[-1] == ("assistant", "Done.", "completed")
    assert json.dumps(chat.requests[-1].messages).count(f"done {chat.key}") == 3


async def test_a_message_for_a_turn_at_its_limit_is_answered(crowd: Crowd) -> None:
    """A message that came before the tokens were used is answered: by the same turn, which counts afresh."""
    [chat] = crowd.chats(1)
    gate = Gate()

    def plan(request: LLMRequest) -> Plan:
        if "and?" in request.user_texts[-1]:
            return Plan(text=["I am here."])
        return asks(work(chat.key), gate=gate if len(chat.requests) >= 3 else None)

    chat.script_by(plan)
    await chat.say("work")
    await chat.asked(3)
    await chat.say("and?", "INCORPORATE")
    gate.open()
    assert (await chat.idle())[-2:] == [("user", "and?", "completed"), ("assistant", "I am here.", "completed")]


async def test_a_chat_takes_no_message_after_its_tokens_of_a_day(crowd: Crowd) -> None:
    """A chat that has used its tokens refuses a message and says until when; the turn in flight goes on to its end."""
    [chat] = crowd.chats(1)
    for number in range(6):
        await chat.say(f"message {number}", message_id=f"m{number}")
        await chat.idle()
    gate = Gate()
    chat.script(Plan(text=["The last answer."], gate=gate))
    await chat.say("the last one")
    await chat.asked(7)
    gate.open()
    assert (await chat.idle())[-1] == ("assistant", "The last answer.", "completed")

    before = await chat.state()
    refused = await chat.post("process_user_message", {"role": "user", "content": "more"})
    assert refused.status_code == 429
    assert "has used 105 tokens today, the limit is 100 (MAX_CHAT_TOKENS_PER_DAY)" in refused.text
    assert "was not stored: send it again after 20" in refused.text
    assert await chat.state() == before
    assert (await chat.say("message 0", message_id="m0"))["turn_id"] == 1, "what was taken before stays taken"


async def test_what_waits_when_the_day_is_spent_is_answered(crowd: Crowd) -> None:
    """Messages that were taken before the tokens were used are answered all the same: nothing is dropped."""
    [chat] = crowd.chats(1)
    gate = Gate()
    chat.script(Plan(text=["One."], usage=(200, 1), gate=gate), Plan(text=["Two."]))
    await chat.say("first")
    await chat.asked(1)
    await chat.say("second", "QUEUE")
    gate.open()
    assert [content for role, content, _ in await chat.idle() if role == "assistant"] == ["One.", "Two."]
    assert (await chat.post("process_user_message", {"role": "user", "content": "third"})).status_code == 429


async def test_tool_calls_work_one_by_one(crowd: Crowd) -> None:
    """With one place, calls of three chats do not overlap, and all work; also where each wait is a replay."""
    chats = crowd.chats(3)

    def plan(request: LLMRequest) -> Plan:
        name = request.user_texts[-1]
        return Plan(text=["Done."]) if request.iterations else asks(work(name, "a"), work(name, "b"))

    chats[0].script_by(plan)
    await asyncio.gather(*(chat.say(chat.key) for chat in chats))
    for chat in chats:
        assert (await chat.idle())[-1] == ("assistant", "Done.", "completed")

    mine = [line for line in crowd.service.ledger() if line.split()[1] in [chat.key for chat in chats]]
    assert len(mine) == 12
    for begin, end in zip(mine[::2], mine[1::2], strict=True):
        assert (begin.split()[0], end) == ("in", begin.replace("in ", "out ", 1))


async def test_a_call_that_waits_for_its_place_can_be_stopped(crowd: Crowd) -> None:
    """`stop` ends a turn whose tool call waits for a place."""
    busy, chat = crowd.chats(2)
    names = [work(busy.key, f"call_{number}") for number in range(8)]
    busy.script_by(
        lambda request: (
            Plan(text=["Done."])
            if request.iterations
            else asks(*(names if request.user_texts[-1] == "many" else [work(chat.key)]))
        )
    )
    await busy.say("many")
    await eventually(lambda: f"in {busy.key}" in crowd.service.ledger())
    await chat.say("one")
    await chat.asked(2)
    await chat.call("stop")
    assert (await chat.idle())[0] == ("user", "one", "interrupted")
    assert (await busy.idle())[-1] == ("assistant", "Done.", "completed")

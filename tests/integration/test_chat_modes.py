"""What each mode does to a turn whose LLM call is under way, and to one that has just ended (DESIGN 4.3)."""

import time

import pytest

from tests.support.chat import ABORT_WITHIN_S, Chat
from tests.support.llm_server import Gate, Plan

# The first word arrives at once, the rest over more than a second: time to interrupt in.
SLOW = Plan(text=["Once ", "upon a time."], gap_s=0.4)


async def test_message_is_answered(chat: Chat) -> None:
    """A message starts a turn; its receipt, history, status, request and stored usage agree."""
    receipt = await chat.say("first")
    assert receipt == {"message_id": receipt["message_id"], "turn_id": 1, "decision": "started"}

    assert await chat.idle() == [("user", "first", "completed"), ("assistant", "answer to: first", "completed")]

    user, assistant = await chat.entries()
    assert user == {
        "role": "user",
        "content": "first",
        "turn_id": 1,
        "status": "completed",
        "partial": False,
        "index": 0,
        "message_id": receipt["message_id"],
    }
    assert (assistant["turn_id"], assistant["partial"]) == (1, False)
    assert [m["role"] for m in chat.requests[0].messages] == ["system", "user"]
    assert chat.requests[0].messages[0]["content"] == "You are under test."
    assert chat.requests[0].tool_names == ["execute_task"]
    assert chat.requests[0].headers["authorization"] == "Bearer test-key"
    usage = (await chat.turn(1))["usage"]
    assert usage == {"calls": 1, "unmetered_calls": 0, "prompt_tokens": 10, "completion_tokens": 5}


async def test_next_turn_sees_the_one_before(chat: Chat) -> None:
    """The next turn's request holds the earlier turns, with their answers."""
    await chat.say("first")
    await chat.idle()
    await chat.say("second")
    await chat.idle()

    assert [m["content"] for m in chat.requests[1].messages[1:]] == ["first", "answer to: first", "second"]


@pytest.mark.parametrize("mode", ["INTERRUPT", "ROLLBACK"])
async def test_interrupt_during_the_call(chat: Chat, mode: str) -> None:
    """INTERRUPT aborts the HTTP request at once, keeps the partial text, marked, and answers in a new turn; ROLLBACK
    does the same, but the turn leaves the LLM's context."""
    chat.script(SLOW)
    await chat.say("first")
    request = await chat.streaming(1)

    receipt = await chat.say("second", mode)
    sent = time.monotonic()

    assert receipt["decision"] == ("interrupted" if mode == "INTERRUPT" else "rolled_back")
    assert receipt["turn_id"] == 2
    await chat.aborted(request)
    assert request.disconnected_at is not None
    assert request.disconnected_at - sent < ABORT_WITHIN_S
    ended = "interrupted" if mode == "INTERRUPT" else "rolled_back"
    seen = ["first", "second"] if mode == "INTERRUPT" else ["second"]
    lines = await chat.idle()
    assert lines == [
        ("user", "first", ended),
        ("assistant", "Once ", ended),
        ("user", "second", "completed"),
        ("assistant", f"answer to: {'; '.join(seen)}", "completed"),
    ]
    assert chat.requests[1].user_texts == seen
    partial = [entry["partial"] for entry in await chat.entries()]
    assert partial == [False, True, False, False]
    usage = (await chat.turn(1))["usage"]
    assert (usage["calls"], usage["unmetered_calls"]) == (1, 1)


async def test_interrupted_text_is_marked_for_the_llm(chat: Chat) -> None:
    """The LLM sees its partial text with the mark that it was interrupted."""
    chat.script(SLOW)
    await chat.say("first")
    await chat.streaming(1)
    await chat.say("second")
    await chat.idle()

    assert [m["content"] for m in chat.requests[1].messages[1:]] == [
        "first",
        "Once \n[interrupted by the user before this was finished]",
        "second",
    ]


async def test_interrupt_before_the_first_word(chat: Chat) -> None:
    """A turn that is interrupted before the LLM said a word leaves its message, and no empty text."""
    await chat.begin(Plan(gate=Gate()))
    await chat.say("second")

    assert await chat.idle() == [
        ("user", "first", "interrupted"),
        ("user", "second", "completed"),
        ("assistant", "answer to: first\n\nsecond", "completed"),
    ]
    assert (await chat.turn(1))["usage"]["unmetered_calls"] == 1


async def test_interrupts_in_a_row(chat: Chat) -> None:
    """Several INTERRUPT messages in a row are answered together, in order, by one turn."""
    gate = Gate()
    await chat.begin(Plan(gate=gate), content="one")
    receipts = [await chat.say(text) for text in ("two", "three", "four")]
    gate.open()
    lines = await chat.idle()

    assert all(receipt["decision"] in ("interrupted", "started") for receipt in receipts)
    assert [content for role, content, _ in lines if role == "user"] == ["one", "two", "three", "four"]
    asked = "\n\n".join(chat.requests[-1].user_texts).split("\n\n")
    assert asked == ["one", "two", "three", "four"]
    assert lines[-1][0] == "assistant"


async def test_incorporate_during_the_call(chat: Chat) -> None:
    """INCORPORATE leaves the call in peace; then the message gets another iteration of the same turn."""
    gate = Gate()
    request = await chat.begin(Plan(text=["first answer"], gate=gate))

    receipt = await chat.say("second", "INCORPORATE")
    assert (receipt["turn_id"], receipt["decision"]) == (1, "incorporated")
    assert (await chat.entries())[-1]["status"] == "queued"
    gate.open()

    assert await chat.idle() == [
        ("user", "first", "completed"),
        ("assistant", "first answer", "completed"),
        ("user", "second", "completed"),
        ("assistant", "answer to: first; second", "completed"),
    ]
    assert request.disconnected_at is None
    assert {entry["turn_id"] for entry in await chat.entries()} == {1}
    assert (await chat.turn(1))["usage"]["calls"] == 2


async def test_two_quick_incorporates(chat: Chat) -> None:
    """Two INCORPORATE messages during one call are both heard, once, in order, in one more iteration."""
    gate = Gate()
    await chat.begin(Plan(text=["first answer"], gate=gate))
    await chat.say("second", "INCORPORATE")
    await chat.say("third", "INCORPORATE")
    gate.open()
    lines = await chat.idle()

    assert [line[:2] for line in lines] == [
        ("user", "first"),
        ("assistant", "first answer"),
        ("user", "second"),
        ("user", "third"),
        ("assistant", "answer to: first; second\n\nthird"),
    ]
    assert len(chat.requests) == 2


async def test_steer_during_the_call(chat: Chat) -> None:
    """STEER aborts the call, keeps its partial text, and the same turn goes on with the message."""
    chat.script(SLOW)
    await chat.say("first")
    request = await chat.streaming(1)

    receipt = await chat.say("second", "STEER")
    assert (receipt["turn_id"], receipt["decision"]) == (1, "steered")
    await chat.aborted(request)

    assert await chat.idle() == [
        ("user", "first", "completed"),
        ("assistant", "Once ", "completed"),
        ("user", "second", "completed"),
        ("assistant", "answer to: first; second", "completed"),
    ]
    entries = await chat.entries()
    assert [entry["partial"] for entry in entries] == [False, True, False, False]
    assert {entry["turn_id"] for entry in entries} == {1}


async def test_steer_behind_an_incorporate(chat: Chat) -> None:
    """STEER aborts the call at once although an INCORPORATE message rang before; both are heard, in order."""
    chat.script(SLOW)
    await chat.say("first")
    request = await chat.streaming(1)
    await chat.say("second", "INCORPORATE")
    await chat.say("third", "STEER")
    await chat.aborted(request)
    await chat.idle()

    assert chat.requests[1].user_texts == ["first", "second\n\nthird"]
    assert len(chat.requests) == 2


async def test_steer_before_the_first_word(chat: Chat) -> None:
    """STEER before the LLM said a word starts the iteration again, with both messages."""
    await chat.begin(Plan(text=["first answer"], gate=Gate()))
    await chat.say("second", "STEER")
    lines = await chat.idle()

    assert chat.requests[1].user_texts == ["first\n\nsecond"]
    assert lines[-1][2] == "completed"


async def test_queued_messages_see_earlier_answers(chat: Chat) -> None:
    """Each QUEUE message is a turn of its own which sees the answers to those before it."""
    gate = Gate()
    await chat.begin(
        Plan(text=["answer 1"], gate=gate), Plan(text=["answer 2"]), Plan(text=["answer 3"]), content="one"
    )
    receipts = [await chat.say(text, "QUEUE") for text in ("two", "three")]
    assert [(r["turn_id"], r["decision"]) for r in receipts] == [(2, "queued"), (3, "queued")]
    gate.open()

    lines = await chat.idle()
    assert [content for _, content, _ in lines] == ["one", "answer 1", "two", "answer 2", "three", "answer 3"]
    assert {status for _, _, status in lines} == {"completed"}
    seen = [m["content"] for m in chat.requests[2].messages[1:]]
    assert seen == ["one", "answer 1", "two", "answer 2", "three"]


@pytest.mark.parametrize("mode", ["INTERRUPT", "INCORPORATE", "STEER"])
async def test_queued_messages_keep_their_place(chat: Chat, mode: str) -> None:
    """A message that does not queue takes the queued ones along, in front of it."""
    gate = Gate()
    await chat.begin(Plan(text=["answer 1"], gate=gate), content="one")
    await chat.say("two", "QUEUE")
    await chat.say("three", "QUEUE")
    await chat.say("four", mode)
    gate.open()
    lines = await chat.idle()

    assert [content for role, content, _ in lines if role == "user"] == ["one", "two", "three", "four"]
    assert "\n\n".join(chat.requests[-1].user_texts).split("\n\n") == ["one", "two", "three", "four"]
    assert len(chat.requests) == 2


async def test_reject_stores_nothing(chat: Chat) -> None:
    """REJECT while a turn is open is 409 with its id; nothing is stored, and an idle chat takes the message."""
    gate = Gate()
    await chat.begin(Plan(gate=gate))

    answer = await chat.post("process_user_message", {"content": "second", "mode": "REJECT"})
    assert answer.status_code == 409
    assert "Turn 1 is open" in answer.json()["message"]
    gate.open()
    assert await chat.idle() == [("user", "first", "completed"), ("assistant", "Hello there.", "completed")]

    assert (await chat.say("third", "REJECT"))["decision"] == "started"
    assert (await chat.idle())[-1] == ("assistant", "answer to: first; third", "completed")


async def test_messages_while_turns_end(chat: Chat) -> None:
    """Messages that come just as a turn ends are neither lost nor answered twice, whatever the mode."""
    modes = ["INCORPORATE", "QUEUE", "STEER", "INTERRUPT"]
    texts = [f"message {n}" for n in range(16)]
    for n, text in enumerate(texts):
        await chat.say(text, modes[n % 4])
        if n % 5 == 4:  # a breath, so that some turns come to their end
            await chat.asked(1)
            await chat.status()

    lines = await chat.idle()
    assert [content for role, content, _ in lines if role == "user"] == texts
    assert lines[-1][0] == "assistant"
    assert "\n\n".join(chat.requests[-1].user_texts).split("\n\n") == texts

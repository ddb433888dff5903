"""What the LLM server can do wrong, what becomes of the turn, and what the user can read of it in the chat."""

import time

import pytest

from tests.support.chat import Chat
from tests.support.llm_server import FOR_EVER, Gate, Plan, delta

OK = Plan(text=["Fine."])
DOWN = Plan(status=500, error={"error": {"message": "out of order"}})


async def failure(chat: Chat) -> str:
    """Send a message whose turn fails; return what the chat says about it, after a next message that works."""
    await chat.say("first")
    lines = await chat.idle()
    role, sentence, status = lines[-1]
    assert (role, status) == ("system", "failed"), lines
    assert lines[0] == ("user", "first", "failed")
    count = len(chat.requests)

    chat.script(OK)
    await chat.say("second")
    assert (await chat.idle())[-2:] == [("user", "second", "completed"), ("assistant", "Fine.", "completed")]
    assert len(chat.requests) == count + 1
    return sentence


# Passing faults


@pytest.mark.parametrize(
    "plan",
    [
        DOWN,
        Plan(status=503, error="<html>gateway</html>"),
        Plan(status=429, headers={"retry-after-ms": "50"}, error={"error": {"message": "slow down"}}),
        Plan(text=["Half of"], break_after=1),
        Plan(text=["Half of"], finish_reason=None, done=False),
        Plan(raw=["{not json"]),
        Plan(raw=[{"choices": "?"}]),
        Plan(raw=[{"error": {"message": "the GPU is on fire", "code": 500}}]),
        Plan(text=()),
        Plan(text=[" \n"]),
    ],
    ids=["500", "503", "429", "broken", "truncated", "garbage", "odd-chunk", "error-chunk", "empty", "blank"],
)
async def test_passing_fault_is_retried(chat: Chat, plan: Plan) -> None:
    """After a passing fault the call is made again, and nothing of the fault is in the chat."""
    chat.script(plan, OK)
    await chat.say("first")

    assert await chat.idle() == [("user", "first", "completed"), ("assistant", "Fine.", "completed")]
    assert len(chat.requests) == 2
    assert chat.requests[1].messages == chat.requests[0].messages


async def test_retry_after_is_obeyed(chat: Chat) -> None:
    """The wait that the server asks for is kept."""
    limited = {"error": {"message": "slow down"}}
    chat.script(Plan(status=429, headers={"retry-after": "2"}, error=limited), OK)
    await chat.say("first")
    await chat.idle()

    first, second = chat.requests
    assert first.finished_at is not None
    assert 1.9 < second.arrived_at - first.finished_at < 4


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (DOWN, "The LLM server is overloaded or has a fault (500): out of order"),
        (
            Plan(text=["Half of"], finish_reason=None, done=False),
            "ended its answer before it was finished. Send the message again.",
        ),
        (Plan(text=()), "neither text nor tool calls. Send the message again."),
        (Plan(raw=["{not json"]), "sent what cannot be understood"),
        (Plan(text=["Half of"], break_after=1), "The connection to the LLM server"),
    ],
    ids=["500", "truncated", "empty", "garbage", "broken"],
)
async def test_lasting_passing_fault_fails_the_turn(chat: Chat, plan: Plan, words: str) -> None:
    """When the attempts are used up the turn fails with a sentence in the chat; the next message works."""
    chat.script_by(lambda _: plan)

    sentence = await failure(chat)

    assert sentence.startswith("The turn failed: ")
    assert words in sentence
    assert (await chat.turn(1))["ended_at"] is not None, "the list of chats cannot tell how old it is"
    assert len(chat.requests) == 3
    assert "Traceback" not in sentence
    assert "test-key" not in sentence


async def test_silent_server_times_out(chat: Chat) -> None:
    """A server that is silent for LLM_TIMEOUT_S is given up, tried again, and the turn fails with a sentence."""
    chat.script_by(lambda _: Plan(delay_s=FOR_EVER))

    sentence = await failure(chat)

    assert "was silent for too long; LLM_TIMEOUT_S is how long it may be" in sentence
    assert all(request.disconnected_at for request in chat.requests[:2])


async def test_stream_that_falls_silent_is_retried(chat: Chat) -> None:
    """A stream that stops in the middle is given up after LLM_TIMEOUT_S and asked for again."""
    chat.script(Plan(text=["Half ", "of it"], hang_after=1), OK)
    await chat.say("first")

    assert (await chat.idle())[1:] == [("assistant", "Fine.", "completed")]
    assert chat.requests[0].disconnected_at is not None


# Lasting faults


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (400, {"error": {"message": "no such parameter"}}, "refused the request (400): no such parameter"),
        (400, {"error": {"message": "…", "code": "context_length_exceeded"}}, "too long for the model"),
        (401, {"error": {"message": "Wrong key test-key"}}, "refused our key (401); check OPENAI_API_KEY"),
        (404, {"error": {"message": "no model"}}, "check OPENAI_MODEL and OPENAI_BASE_URL"),
    ],
)
async def test_lasting_fault_fails_at_once(chat: Chat, status: int, error: object, words: str) -> None:
    """What another attempt cannot cure fails the turn at once, with a sentence that names the cure, without the key."""
    chat.script_by(lambda _: Plan(status=status, error=error))

    sentence = await failure(chat)

    assert words in sentence
    assert "test-key" not in sentence
    assert len(chat.requests) == 2


async def test_content_filter_fails_with_a_sentence(chat: Chat) -> None:
    """An answer that a filter withheld fails the turn with a sentence."""
    chat.script_by(lambda _: Plan(text=(), finish_reason="content_filter"))

    assert "The content filter" in await failure(chat)


async def test_answer_that_hit_the_length_is_partial(chat: Chat) -> None:
    """An answer that the server cut at its length completes the turn, marked as partial."""
    chat.script(Plan(text=["Once upon"], finish_reason="length"))
    await chat.say("first")

    assert (await chat.idle())[1] == ("assistant", "Once upon", "completed")
    assert [entry["partial"] for entry in await chat.entries()] == [False, True]


async def test_failed_turn_keeps_what_was_done(chat: Chat) -> None:
    """A turn that fails after an iteration keeps that iteration, and the next turn sees it."""
    calls = [{"index": 0, "id": "call_1", "function": {"name": "nope", "arguments": "{}"}}]
    asks = Plan(raw=[delta(tool_calls=calls), delta(finish_reason="tool_calls")])
    chat.script(asks, Plan(status=400, error={}))
    await chat.say("first")
    lines = await chat.idle()

    assert [role for role, _, _ in lines] == ["user", "assistant", "tool", "system"]
    await chat.say("second")
    await chat.idle()
    assert [m["role"] for m in chat.requests[-1].messages] == ["system", "user", "assistant", "tool", "user"]


async def test_messages_that_wait_when_a_turn_fails(chat: Chat) -> None:
    """A message that waits for a turn which fails is answered by a turn of its own."""
    gate = Gate()
    await chat.begin(Plan(status=400, error={}, gate=gate))
    await chat.say("second", "INCORPORATE")
    gate.open()
    lines = await chat.idle()

    assert [status for _, _, status in lines] == ["failed", "failed", "completed", "completed"]
    assert [content for role, content, _ in lines if role == "user"] == ["first", "second"]
    assert len(chat.requests) == 2


# Interrupting a retry


@pytest.mark.parametrize(("mode", "status"), [("INTERRUPT", "interrupted"), ("STEER", "completed")])
async def test_backoff_is_interrupted_at_once(chat: Chat, mode: str, status: str) -> None:
    """A message during the wait for the next attempt is answered at once; the failed attempt is not repeated."""
    busy = {"error": {"message": "slow down"}}
    await chat.begin(Plan(status=429, headers={"retry-after": "30"}, error=busy), OK)
    if chat.always_replay:
        await chat.status()
    before = time.monotonic()
    await chat.say("second", mode)
    lines = await chat.idle()

    assert time.monotonic() - before < 5
    assert lines[0] == ("user", "first", status)
    assert lines[-2:] == [("user", "second", "completed"), ("assistant", "Fine.", "completed")]
    assert chat.requests[1].user_texts == ["first\n\nsecond"]
    assert len(chat.requests) == 2

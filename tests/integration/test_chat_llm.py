"""What LLM servers send and ask for, as the chat then shows it: partial texts, waits, limits, odd text."""

import itertools
import json
import time
from datetime import datetime
from typing import Any

import pytest

from tests.integration.conftest import MAX_REPLY_CHARS
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import Call, LLMRequest, Plan, delta
from tests.support.service import Service

OK = Plan(text=["Fine."])
DOWN = Plan(status=500, error={"error": {"message": "out of order"}})
BUSY = Plan(status=429, headers={"retry-after": "30"}, error={"error": {"message": "slow down"}})
HALF = Plan(text=["Half of"], break_after=1)
LONE = {"error": {"message": "bad \ud800 thing", "code": "\udfff"}}


async def waiting(chat: Chat) -> dict[str, Any]:
    """Wait until the status of the open turn says what it waits for; return that."""

    async def says_it() -> dict[str, Any]:
        turn = (await chat.status())["open_turns"][0]
        assert "waiting_for" in turn, turn
        return turn["waiting_for"]  # type: ignore[no-any-return]

    return await eventually(says_it, timeout_s=10)


async def partials(chat: Chat) -> list[tuple[str, bool]]:
    """Return the texts of the assistant, and whether they are partial."""
    return [(e["content"], e["partial"]) for e in await chat.entries() if e["role"] == "assistant"]


def half_until_second(request: LLMRequest) -> Plan:
    """Break off in the middle of an answer until the second message is there."""
    return OK if "second" in request.user_texts[-1] else HALF


class TestUnencodableText:
    @pytest.mark.parametrize("plan", [Plan(status=400, error=LONE), Plan(raw=[delta(content="Half"), LONE])])
    async def test_in_an_error(self, chat: Chat, plan: Plan) -> None:
        """A lone surrogate in an error fails the turn with a sentence, and the next message is answered."""
        chat.script_by(lambda _: plan)
        await chat.say("first")
        role, sentence, status = (await chat.idle())[-1]
        assert (role, status) == ("system", "failed")
        assert "bad \ufffd thing" in sentence

        chat.script(OK)
        await chat.say("second")
        assert (await chat.idle())[-1] == ("assistant", "Fine.", "completed")

    async def test_in_an_answer(self, chat: Chat) -> None:
        """Halves of an emoji in two deltas are one in the history; lone ones do no harm, wherever they are."""
        call = Call(name="no\ud800tool", arguments='{"a": "\udc00"}', call_id="\udfff")
        chat.script(Plan(text=["Hi \ud83d", "\ude42 \ud800"], calls=[call]), OK)
        await chat.say("first")
        lines = await chat.idle()
        assert [line[1] for line in lines] == ["first", "Hi 🙂 \ufffd", lines[2][1], "Fine."]
        assert "There is no tool 'no\ufffdtool'" in lines[2][1]


class TestPartialText:
    @pytest.mark.parametrize(
        "plan",
        [HALF, Plan(raw=[delta(content="Half of"), {"error": "oops"}]), Plan(text=["Half of"], finish_reason="error")],
        ids=["broken", "error", "finish-error"],
    )
    async def test_kept_when_the_turn_fails(self, chat: Chat, plan: Plan) -> None:
        """The text of the last attempt that had some is kept once, marked partial; the next turn sees that it is."""
        plans = [plan, DOWN]
        chat.script(*plans)
        await chat.say("first")
        lines = await chat.idle()
        assert lines[:2] == [("user", "first", "failed"), ("assistant", "Half of", "failed")]
        assert [line[0] for line in lines] == ["user", "assistant", "system"]
        assert await partials(chat) == [("Half of", True)]

        await chat.say("second")
        await chat.idle()
        assert chat.requests[-1].messages[2]["content"].startswith("Half of\n[broken off")

    async def test_the_last_one_is_kept(self, chat: Chat) -> None:
        """Of two attempts that broke only the later text is kept."""
        chat.script(HALF, Plan(text=["Other half"], break_after=1))
        await chat.say("first")
        await chat.idle()
        assert await partials(chat) == [("Other half", True)]

    async def test_dropped_when_a_retry_succeeds(self, chat: Chat) -> None:
        """What a failed attempt had said is not in the chat when the next attempt succeeds."""
        chat.script(HALF, OK)
        await chat.say("first")
        await chat.idle()
        assert await partials(chat) == [("Fine.", False)]

    async def test_kept_when_the_wait_is_interrupted(self, chat: Chat) -> None:
        """Who interrupts the wait after a broken attempt keeps its text; a new turn answers."""
        chat.script_by(half_until_second)
        await chat.say("first")
        await waiting(chat)
        await chat.say("second")
        lines = await chat.idle()
        assert lines[:2] == [("user", "first", "interrupted"), ("assistant", "Half of", "interrupted")]


class TestWaits:
    async def test_the_status_says_why_and_until_when(self, chat: Chat) -> None:
        """While a turn waits for its next attempt the status has the reason and the end of the wait; afterwards not."""
        chat.script(Plan(status=429, headers={"retry-after": "4"}, error={"error": {"message": "slow down"}}), OK)
        before = time.time()
        await chat.say("first")
        shown = await waiting(chat)
        assert "(429): slow down" in shown["reason"]
        assert before + 3 < datetime.fromisoformat(shown["until"]).timestamp() < time.time() + 5
        assert (await chat.idle())[-1] == ("assistant", "Fine.", "completed")

    async def test_advice_comes_with_the_end(self, chat: Chat) -> None:
        """While the service tries again by itself, the reason does not ask the user to."""
        chat.script(Plan(text=()), OK)
        await chat.say("first")
        assert (await waiting(chat))["reason"] == "The LLM gave an empty answer, neither text nor tool calls."
        assert (await chat.idle())[-1] == ("assistant", "Fine.", "completed")

    async def test_not_waiting_is_not_shown(self, chat: Chat) -> None:
        """A turn that works has no `waiting_for`."""
        chat.script(Plan(text=["a", "b"], gap_s=0.5))
        await chat.say("first")
        await chat.streaming(1)
        assert all("waiting_for" not in turn for turn in (await chat.status())["open_turns"])

    @pytest.mark.parametrize("mode", ["STEER", "INCORPORATE"])
    async def test_a_message_starts_the_next_attempt(self, chat: Chat, mode: str) -> None:
        """A message for the turn ends the wait: the next attempt has it, and comes at once."""
        chat.script(BUSY, OK)
        await chat.say("first")
        await waiting(chat)
        before = time.monotonic()
        await chat.say("second", mode)
        lines = await chat.idle()
        assert time.monotonic() - before < 10
        assert [line[:2] for line in lines] == [("user", "first"), ("user", "second"), ("assistant", "Fine.")]
        assert chat.requests[1].user_texts == ["first\n\nsecond"]
        assert {line[2] for line in lines} == {"completed"}

    async def test_steering_keeps_the_partial_text(self, chat: Chat) -> None:
        """What a broken attempt had said stays in front of the message that ends the wait."""
        chat.script_by(half_until_second)
        await chat.say("first")
        await waiting(chat)
        await chat.say("second", "STEER")
        await chat.idle()
        assert await partials(chat) == [("Half of", True), ("Fine.", False)]

    async def test_queue_and_interrupt(self, chat: Chat) -> None:
        """A queued message waits behind the wait; an interrupt ends it at once and takes the queued one along."""
        chat.script(BUSY, OK)
        await chat.say("first")
        await waiting(chat)
        assert (await chat.say("second", "QUEUE"))["decision"] == "queued"
        before = time.monotonic()
        await chat.say("third", "INTERRUPT")
        lines = await chat.idle()
        assert time.monotonic() - before < 10
        assert lines[0] == ("user", "first", "interrupted")
        assert chat.requests[1].user_texts == ["first\n\nsecond\n\nthird"]

    async def test_stop(self, chat: Chat) -> None:
        """`stop` ends the wait at once."""
        chat.script(BUSY)
        await chat.say("first")
        await waiting(chat)
        await chat.call("stop")
        assert await chat.idle(timeout_s=10) == [("user", "first", "interrupted")]

    @pytest.mark.parametrize("asked", ["3600", "1e30"])
    async def test_a_wait_that_is_too_long(self, chat: Chat, asked: str) -> None:
        """A server that asks for a longer wait than LLM_MAX_RETRY_AFTER_S fails the turn at once, with a sentence."""
        chat.script(Plan(status=429, headers={"retry-after": asked}, error={"error": {"message": "slow down"}}))
        await chat.say("first")
        _, sentence, status = (await chat.idle(timeout_s=10))[-1]
        assert status == "failed"
        assert "asks to wait" in sentence
        assert "LLM_MAX_RETRY_AFTER_S" in sentence
        assert len(chat.requests) == 1


class TestLimits:
    async def test_an_answer_without_end(self, chat: Chat) -> None:
        """An answer beyond MAX_REPLY_CHARS is cut off there and kept; the turn says so, and the next one sees it."""
        endless = itertools.repeat(f"data: {json.dumps(delta(content='y' * 1000))}\n\n".encode())
        chat.script(Plan(body=endless))
        await chat.say("first")
        lines = await chat.idle()
        assert [(role, status) for role, _, status in lines] == [
            (role, "limit_reached") for role in ("user", "assistant", "system")
        ]
        assert lines[1][1] == "y" * MAX_REPLY_CHARS
        assert (await partials(chat))[0][1]
        assert lines[2][1].startswith(f"The answer of the LLM was cut off at {MAX_REPLY_CHARS} characters")
        assert len(chat.requests) == 1

        await chat.say("second")
        assert (await chat.idle())[-1][2] == "completed"
        assert [m["role"] for m in chat.requests[-1].messages] == ["system", "user", "assistant", "user"]

    async def test_the_token_limit_was_used_up(self, chat: Chat) -> None:
        """An empty answer that ended at its length fails after one attempt, and says why."""
        chat.script(Plan(text=(), finish_reason="length"))
        await chat.say("first")
        assert "used its token limit up" in (await chat.idle())[-1][1]
        assert len(chat.requests) == 1


async def test_log_lines_name_chat_turn_and_tool(chat: Chat, application: Service) -> None:
    """Each line of the agent's log names the chat and the turn; none repeats the whole history; calls name the tool."""

    def script(request: LLMRequest) -> Plan:
        long = Plan(text=["z" * 5000], calls=[Call(arguments='{"task": "t"}')])
        return OK if request.iterations >= 2 else long

    chat.script_by(script)
    await chat.say("first")
    await chat.idle()

    mine = [line for line in application.log_lines() if chat.key in line and ":agent_session:" in line]
    assert mine
    assert all("(turn 1)" in line for line in mine), mine
    assert max(map(len, mine)) < 1600

    def said(words: str) -> int:
        return sum(words in line for line in mine)

    assert said(f"Running iteration of agent for {chat.key} with input items: message_history=['first'") == 3
    assert said(f"Agent generated output for {chat.key}: Fine.") == 1
    assert said("Calling tool execute_task") == 2

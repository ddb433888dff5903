"""Requests a minute of the LLM: calls beyond it wait their turn, and the user is told."""

import asyncio
from datetime import datetime

from tests.integration.limits.conftest import REQUESTS_PER_MIN, Crowd
from tests.integration.test_chat_llm import waiting
from tests.support.eventually import eventually
from tests.support.limited_main import MINUTE_S


def apart_s(one: str, other: str) -> float:
    """Return the seconds between two times."""
    return abs((datetime.fromisoformat(one) - datetime.fromisoformat(other)).total_seconds())


async def test_many_chats_share_a_minute(crowd: Crowd) -> None:
    """Fifty chats that all write at once are all answered, once each, and no minute has more calls than its limit."""
    chats = crowd.chats(50)
    first = len(chats[0].requests)
    await asyncio.gather(*(chat.say(f"I am {chat.key}") for chat in chats))
    told = await waiting(chats[-1]) if not chats[0].always_replay else None
    for chat in chats:
        lines = await chat.idle(timeout_s=60)
        assert lines == [
            ("user", f"I am {chat.key}", "completed"),
            ("assistant", f"answer to: I am {chat.key}", "completed"),
        ]

    requests = sorted(request.arrived_at for request in chats[0].requests[first:])
    assert len(requests) == len(chats), "one call each: none was made twice, or in vain"
    spans = [later - sooner for sooner, later in zip(requests, requests[REQUESTS_PER_MIN:], strict=False)]
    assert min(spans) > MINUTE_S * 0.9, spans
    if told is not None:
        assert f"{REQUESTS_PER_MIN} requests (LLM_REQUESTS_PER_MIN)" in told["reason"]


async def test_a_message_ends_the_wait(crowd: Crowd) -> None:
    """A message for a turn that waits is taken at once, and both are answered by one call when its time comes."""
    await crowd.spend_the_minute()
    [chat] = crowd.chats(1)
    await chat.say("first")
    wait = await waiting(chat)
    await chat.say("second", "INCORPORATE")

    async def taken() -> bool:
        [turn] = (await chat.status())["open_turns"]
        waits = turn.get("waiting_for")  # it has none while it takes the message
        return not turn["waiting"] and waits is not None and apart_s(waits["until"], wait["until"]) < 1

    await eventually(taken)
    assert (await chat.idle())[-1] == ("assistant", "answer to: first\n\nsecond", "completed")
    assert len([texts for texts in chat.texts if "first" in texts[-1]]) == 1


async def test_an_interrupt_keeps_the_place(crowd: Crowd) -> None:
    """The turn that follows an interrupted one has its place: who changes their mind does not wait longer."""
    await crowd.spend_the_minute()
    chat, *others = crowd.chats(1 + REQUESTS_PER_MIN)
    await chat.say("first")
    until = (await waiting(chat))["until"]
    await asyncio.gather(*(other.say("me too") for other in others))
    await asyncio.gather(*(waiting(other) for other in others))
    await chat.say("second", "INTERRUPT")

    async def waits_again() -> str:
        turn = (await chat.status())["open_turns"][-1]
        assert turn["turn_id"] == 2, turn
        assert "waiting_for" in turn, turn
        return str(turn["waiting_for"]["until"])

    assert apart_s(await eventually(waits_again), until) < 1
    assert (await chat.idle(timeout_s=30))[-1][1:] == ("answer to: first\n\nsecond", "completed")
    for other in others:
        assert (await other.idle(timeout_s=30))[-1] == ("assistant", "answer to: me too", "completed")


async def test_a_wait_outlives_the_service(crowd: Crowd) -> None:
    """After a kill -9 in the middle of a wait the turn goes on and is answered once."""
    await crowd.spend_the_minute()
    [chat] = crowd.chats(1)
    await chat.say("still there?")
    await waiting(chat)
    await crowd.service.restart()
    assert (await chat.idle())[-1] == ("assistant", "answer to: still there?", "completed")
    assert len([texts for texts in chat.texts if "still there?" in texts[-1]]) == 1


# The last one: nobody takes the place of the stopped turn, which leaves a gap in the minute.
async def test_a_stop_ends_the_wait(crowd: Crowd) -> None:
    """A turn that waits is stopped at once, and asks nothing."""
    await crowd.spend_the_minute()
    [chat] = crowd.chats(1)
    await chat.say("never mind")
    await waiting(chat)
    await chat.call("stop")
    assert await chat.idle() == [("user", "never mind", "interrupted")]
    assert not [texts for texts in chat.texts if "never mind" in texts[-1]]

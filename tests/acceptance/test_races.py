"""Many chats, random gaps, every mode: whatever the timing, nothing is lost, doubled or out of order."""

import asyncio
import os
import random
import re
from collections.abc import AsyncIterator
from itertools import product

import pytest
import pytest_asyncio

from tests.conftest import StartService
from tests.support.chat import Chat
from tests.support.llm_server import LLMServer
from tests.support.process import local_http
from tests.support.restate_server import RestateServer
from tests.support.swarm import BusyLLM, Person, check_chat

pytestmark = pytest.mark.invariant

SEED = int(os.environ.get("RACE_SEED", "20261121"))
CHATS = int(os.environ.get("RACE_CHATS", "16"))
MESSAGES = 14
MODES = ("INTERRUPT", "INCORPORATE", "QUEUE", "STEER", "ROLLBACK", "REJECT")


@pytest_asyncio.fixture
async def llm() -> AsyncIterator[LLMServer]:
    with LLMServer(BusyLLM(SEED, delay_s=0.06)) as server:
        yield server


@pytest.mark.parametrize(
    ("modes", "holds"),
    [*[((mode,), 0) for mode in MODES], (MODES, 0), (MODES[:-1], 0.5)],
    ids=[*MODES, "mixed", "held"],
)
async def test_any_timing_keeps_the_invariants(
    modes: tuple[str, ...], holds: float, restate_server: RestateServer, start_service: StartService, llm: LLMServer
) -> None:
    """Whatever modes, gaps and stops that keep what waits, every message reaches the LLM once, in order, in well-formed
    requests."""
    service = await start_service(
        OPENAI_BASE_URL=llm.url,
        TASK_DURATION_S="0.02",
        INACTIVITY_TIMEOUT_S="none",
        CONTEXT_TOKENS="200000",
        CONTEXT_SUMMARY_SHARE="0",
        LOG_LEVEL="WARNING",
    )
    await restate_server.register(service.url)
    people = [
        Person(
            restate_server.ingress_url,
            f"{'-'.join(modes)}-{'h' if holds else ''}{'r' if restate_server.always_replay else 'n'}-{n}",
            modes,
            random.Random(f"{SEED} {modes} {n}"),
            gap_s=0.12,
            holds=holds,
        )
        for n in range(CHATS)
    ]
    await asyncio.gather(*(person.talk(MESSAGES) for person in people))
    histories = await asyncio.gather(*(person.wait_for_answer(180) for person in people))
    for person, history in zip(people, histories, strict=True):
        check_chat(person, history, llm.requests)
    assert not llm.faults


CHANGES = ("edit_queued_message", "withdraw_queued_message", "hold_queued_message")
# Its run waits right behind the one that it ends, and may begin while the chat still counts the message as waiting.
SENT_EARLY = ("INTERRUPT", "ROLLBACK")


async def change_as_it_is_taken(chat: Chat, mode: str, handler: str, choices: random.Random) -> str:
    """Change a message at a moment at which the agent may take it; assert that the answer is true, and return it.

    A request that an early run has begun with what does not hold any more is aborted, and nothing of it is kept.
    """
    await chat.say(f"{chat.key} first")
    await asyncio.sleep(choices.random() * 0.08)
    await chat.say(f"{chat.key} old", mode, message_id="m")
    await asyncio.sleep(choices.random() * 0.08)
    content = {"content": f"{chat.key} new"} if handler == "edit_queued_message" else {}
    result: str = (await chat.call(handler, message_id="m", **content))["result"]
    lines = await chat.idle(timeout_s=60)

    asked = [request for request in chat.requests if any(f"{chat.key} old" in text for text in request.user_texts)]
    if result == "already_taken":
        assert asked
    else:
        assert mode in SENT_EARLY or not asked, (mode, lines)
        answers = " ".join(content for role, content, _ in lines if role == "assistant")
        assert not [request for request in asked if re.search(rf"reply-{request.index}\b", answers)], (mode, lines)
        old = ("user", f"{chat.key} old", "queued")
        assert [line for line in lines if line[1] == old[1]] == ([old] if handler == "hold_queued_message" else [])
    return result


async def test_a_change_says_what_the_llm_got(
    restate_server: RestateServer, start_service: StartService, llm: LLMServer
) -> None:
    """A change of a message that is `applied` comes before the LLM has read it, one that is `already_taken` after."""
    service = await start_service(
        OPENAI_BASE_URL=llm.url, TASK_DURATION_S="0.02", INACTIVITY_TIMEOUT_S="none", LOG_LEVEL="WARNING"
    )
    await restate_server.register(service.url)
    async with local_http() as http:
        crowd = [
            change_as_it_is_taken(
                Chat(restate_server, llm, http, f"change-{restate_server.always_replay}-{n}."),
                mode,
                handler,
                random.Random(f"{SEED} {n}"),
            )
            for n, (mode, handler) in enumerate([*product(MODES[:-1], CHANGES)] * 2)
        ]
        results = await asyncio.gather(*crowd)
    assert set(results) == {"applied", "already_taken"}

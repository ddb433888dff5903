"""Invocations of a chat are killed and cancelled from outside, at random: it heals at the next contact (DESIGN 4.5)."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.chat import Chat, replies
from tests.support.eventually import eventually
from tests.support.llm_server import FOR_EVER, LLMServer, Plan
from tests.support.process import local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service
from tests.support.swarm import BusyLLM

pytestmark = pytest.mark.invariant

SEED = int(os.environ.get("KILL_SEED", str(random.SystemRandom().randrange(10**6))))
CHATS = int(os.environ.get("KILL_CHATS", "6"))
ROUNDS = int(os.environ.get("KILL_ROUNDS", "3"))
SHAPED_EVERY = 0.4  # share of the messages behind which somebody stops, holds or resumes
MODES = ("INTERRUPT", "INCORPORATE", "QUEUE", "STEER", "ROLLBACK")
ANSWERED_WITHIN_S = 20


@pytest.fixture
def llm() -> Iterator[LLMServer]:
    with LLMServer(BusyLLM(SEED, delay_s=0.3)) as server:
        yield server


@pytest_asyncio.fixture
async def service(restate_server: RestateServer, llm: LLMServer, tmp_path: Path) -> AsyncIterator[Service]:
    own = {"OPENAI_BASE_URL": llm.url, "TASK_DURATION_S": "0.3", "INACTIVITY_TIMEOUT_S": "none"}
    async with restate_server.serving(Service(tmp_path, **(restate_server.settings | own))) as service:
        yield service


async def hurt(chat: Chat, choices: random.Random) -> None:
    """Kill or cancel a random part of the chat's open invocations, or all of them."""
    open_now = await chat.invocations()
    share = choices.choice([0.3, 0.7, 1.0])
    how = choices.choice(["kill", "kill", "cancel", "mixed"])
    for row in choices.sample(open_now, k=len(open_now)):
        if choices.random() <= share and "erase" not in row["target"]:
            way = choices.choice(["kill", "cancel"]) if how == "mixed" else how
            await chat.server.end_if_open(row["id"], way)


async def say_all(chat: Chat, contents: list[str], choices: random.Random) -> list[str]:
    """Send messages at random moments; return those that were accepted: not one whose own invocation is killed."""
    accepted = []
    for content in contents:
        await asyncio.sleep(choices.random() * 0.15)
        message = {"content": content, "mode": choices.choice(MODES), "message_id": content}
        if (await chat.post("process_user_message", message)).is_success:
            accepted.append(content)
        if choices.random() < SHAPED_EVERY:
            handler, body = shaping(choices, content)
            await chat.post(handler, body)
    return accepted


def shaping(choices: random.Random, message_id: str) -> tuple[str, dict[str, str]]:
    """Return what somebody may do who has just sent a message: a handler and its input."""
    return choices.choice(
        [
            ("stop", {"queue": "hold"}),
            ("stop", {"queue": "send"}),
            ("hold_queued_message", {"message_id": message_id}),
            ("promote_queued_message", {"message_id": message_id}),
            ("resume", {}),
        ]
    )


async def live_and_be_hurt(chat: Chat, choices: random.Random) -> None:
    """Talk, be hurt meanwhile, some rounds long; after each the next contact, of any kind, must heal the chat.

    In the end what is held is resumed, and every message stands in the chat once.
    """
    expected: set[str] = set()
    for n in range(ROUNDS):
        talk = asyncio.create_task(say_all(chat, [f"{n}.{m}" for m in range(3)], choices))
        for _ in range(choices.randrange(1, 4)):
            await asyncio.sleep(choices.random() * 0.3)
            await hurt(chat, choices)
        expected.update(await talk)
        if choices.random() < 0.3:
            expected.difference_update((await chat.call("stop"))["withdrawn"])
        receipt = await chat.say(f"next {n}", choices.choice(MODES))
        await answered(chat, receipt["message_id"])
    await chat.call("resume")
    await answered(chat, (await chat.say("last", choices.choice(MODES)))["message_id"])
    assert (await chat.status())["held"] == []
    assert expected <= {entry.get("message_id") for entry in await chat.entries(limit=200)}


async def answered(chat: Chat, message_id: str) -> None:
    """Wait until the chat is at rest, and the message has an answer behind it."""
    lines = await chat.idle(timeout_s=ANSWERED_WITHIN_S)
    entries = await chat.entries(limit=200)
    places = [n for n, entry in enumerate(entries) if entry.get("message_id") == message_id]
    assert len(places) == 1, (message_id, lines)
    ids = [entry["message_id"] for entry in entries if entry["role"] == "user"]
    assert len(ids) == len(set(ids)), lines
    after = entries[places[0] + 1 :]
    assert [entry for entry in after if entry["role"] == "assistant" and entry["status"] == "completed"], lines


@pytest.mark.usefixtures("service")
async def test_random_kills(restate_server: RestateServer, llm: LLMServer) -> None:
    """Whichever invocations of a chat are killed or cancelled, in whatever order: the next message is answered."""
    print(f"KILL_SEED={SEED}")
    async with local_http() as http:
        chats = [
            Chat(restate_server, llm, http, f"kills-{SEED}-{restate_server.always_replay}-{n}") for n in range(CHATS)
        ]
        await asyncio.gather(*(live_and_be_hurt(chat, random.Random(f"{SEED} {n}")) for n, chat in enumerate(chats)))


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("contact", ["message", "stop", "get_status", "get_chat_history"])
async def test_all_killed(restate_server: RestateServer, llm: LLMServer, contact: str) -> None:
    """When the run, the settlement behind it and a queued run are killed together, one contact heals the chat."""
    llm.script = replies(Plan(delay_s=FOR_EVER))
    async with local_http() as http:
        chat = Chat(restate_server, llm, http, f"all-{contact}-{restate_server.always_replay}")
        await chat.say("first")
        await chat.asked(1)
        await chat.say("waits", "QUEUE")  # has the open turn watched

        async def settlements_wait() -> bool:
            targets = [row["target"].rsplit("/", 1)[1] for row in await chat.invocations()]
            return sorted(targets) == ["run", "run", "settle"]

        await eventually(settlements_wait)
        for row in await chat.invocations():
            await restate_server.end_if_open(row["id"], "kill")
        await chat.nothing_runs()

        if contact == "message":
            await chat.say("next", "INCORPORATE")
        else:
            await chat.call(contact)

        async def first_is_closed() -> bool:
            assert (await chat.turn(1))["status"] in ("failed", "interrupted")
            return True

        await eventually(first_is_closed)
        await chat.say("next", "INTERRUPT")
        lines = await chat.idle(timeout_s=ANSWERED_WITHIN_S)
        assert lines[-1][::2] == ("assistant", "completed")

"""kill -9 of service and Restate server, at random moments, while people talk: nothing is lost or doubled."""

import asyncio
import contextlib
import os
import random
from collections.abc import Iterator

import pytest

from tests.conftest import StartService
from tests.support.llm_server import LLMServer
from tests.support.restate_server import RestateServer
from tests.support.service import Service
from tests.support.swarm import BusyLLM, Person, check_chat

pytestmark = pytest.mark.invariant

SEED = int(os.environ.get("CRASH_SEED", "20261121"))
CHATS = int(os.environ.get("CRASH_CHATS", "12"))
MESSAGES = 12
MODES = ("INTERRUPT", "INCORPORATE", "QUEUE", "STEER", "ROLLBACK")


@pytest.fixture
def llm() -> Iterator[LLMServer]:
    with LLMServer(BusyLLM(SEED, delay_s=0.2)) as server:
        yield server


async def crash_now_and_then(
    choices: random.Random, service: Service, restate: RestateServer, crashed: list[str]
) -> None:
    """Kill the service about every second, and every fourth time the server instead; note each in `crashed`."""
    while True:
        await asyncio.sleep(choices.uniform(0.3, 1.5))
        victim = service if choices.random() < 0.75 else restate
        victim.kill9()
        crashed.append(type(victim).__name__)
        await asyncio.sleep(choices.uniform(0, 0.3))
        await victim.restart()


async def test_any_crash_keeps_the_invariants(
    own_restate_server: RestateServer, start_service: StartService, llm: LLMServer, server: str
) -> None:
    """Whatever dies and when, every message reaches the LLM once, in order, and is answered in the end."""
    service = await start_service(
        OPENAI_BASE_URL=llm.url,
        TASK_DURATION_S="0.1",
        CONTEXT_TOKENS="200000",
        CONTEXT_SUMMARY_SHARE="0",
        LOG_LEVEL="WARNING",
        SERVER=server,
    )
    await own_restate_server.register(service.url)
    people = [
        Person(own_restate_server.ingress_url, f"crash-{n}", MODES, random.Random(f"{SEED} {n}"), gap_s=2.5)
        for n in range(CHATS)
    ]
    crashed: list[str] = []
    crashes: asyncio.Task[None] = asyncio.create_task(
        crash_now_and_then(random.Random(SEED), service, own_restate_server, crashed)
    )
    try:
        await asyncio.gather(*(person.talk(MESSAGES) for person in people))
    finally:
        crashes.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await crashes
    for victim in (own_restate_server, service):  # one may just have been dead
        if victim.process.exit_code is not None:
            await victim.start()
    histories = await asyncio.gather(*(person.wait_for_answer(90) for person in people))
    for person, history in zip(people, histories, strict=True):
        check_chat(person, history, llm.requests)
    assert not llm.faults
    assert crashed.count("Service") >= 5, crashed
    assert crashed.count("RestateServer") >= 1, crashed

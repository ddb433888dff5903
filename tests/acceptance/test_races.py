"""Many chats, random gaps, every mode: whatever the timing, nothing is lost, doubled or out of order."""

import asyncio
import os
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conftest import StartService
from tests.support.llm_server import LLMServer
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
    histories = await asyncio.gather(*(person.wait_for_answer(60) for person in people))
    for person, history in zip(people, histories, strict=True):
        check_chat(person, history, llm.requests)
    assert not llm.faults

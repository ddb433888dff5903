"""Queries on a real server: they see what was accepted before, and leave no trace in the run."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from app.background import AgentFailed
from app.errors import NotFound, UsageError
from tests.integration.background.conftest import Agents, invocation
from tests.support.eventually import eventually


async def journal(agents: Agents, run_id: str) -> Counter[str]:
    """Return how many entries of each type the journal of a run has."""
    rows = await agents.server.query(f"SELECT entry_type FROM sys_journal WHERE id = '{run_id}'")  # noqa: S608 - our own
    return Counter(row["entry_type"] for row in rows)


async def suspended(agents: Agents, run_id: str) -> None:
    async def is_suspended() -> bool:
        return bool((await invocation(agents.server, run_id))["status"] == "suspended")

    await eventually(is_suspended)


async def settled(agents: Agents, value: int) -> str:
    """Start a Counter that has counted to `value`, and return its run."""
    run_id = await agents.client.schedule_agent("Counter", agents.agent_id)
    await agents.client.send_agent_event("add", agents.agent_id, event_input=value, wait_for_completion=True)
    return run_id


async def test_queries_do_not_grow_the_journal(agents: Agents) -> None:
    """100 queries one after the other and 100 at once add nothing to the journal, and are no events."""
    client, agent_id = agents.client, agents.agent_id
    run_id = await settled(agents, 5)
    before = await journal(agents, run_id)

    for _ in range(100):
        assert await client.get_agent_state(agent_id, "total") == 5
    assert await asyncio.gather(*(client.get_agent_state(agent_id, "total") for _ in range(100))) == [5] * 100
    assert await journal(agents, run_id) == before
    assert (await client.describe_agent(agent_id)).events == 1


async def test_polling_for_long(agents: Agents) -> None:
    """1000 polls, also of a run that is suspended in between, leave the journal as it was."""
    client, agent_id = agents.client, agents.agent_id
    run_id = await settled(agents, 5)
    before = await journal(agents, run_id)

    for n in range(1000 if not agents.server.always_replay else 300):
        if n in (100, 200):
            await suspended(agents, run_id)
        assert await client.get_agent_state(agent_id, "total") == 5
    assert await journal(agents, run_id) == before
    assert await client.send_agent_event("add", agent_id, event_input=1, wait_for_completion=True) == 6


async def test_queries_between_events(agents: Agents) -> None:
    """Each query sees every event that was accepted before it, whatever else happens to the run meanwhile."""
    client, agent_id = agents.client, agents.agent_id
    run_id = await settled(agents, 0)

    async def ask(n: int) -> None:
        await client.send_agent_event("add_later", agent_id, event_input=0)
        await client.send_agent_event("add", agent_id, event_input=n)
        assert n in await client.get_agent_state(agent_id, "seen")

    await asyncio.gather(*(ask(n) for n in range(1, 31)))
    assert sorted(await client.get_agent_state(agent_id, "seen")) == list(range(31))
    # A signal brings each event, one entry resolves the only sender who waited, the others are of the steps.
    assert (await journal(agents, run_id))["Notification: Signal"] == 61


async def test_crash_between_queries(agents: Agents) -> None:
    """A query after kill -9 is answered from a replay; one that is asked while the service is down waits for it."""
    client, agent_id = agents.client, agents.agent_id
    run_id = await settled(agents, 7)
    before = await journal(agents, run_id)

    agents.process.kill9()
    asking = asyncio.create_task(client.get_agent_state(agent_id, "total"))
    await agents.start()
    assert await asking == 7
    await agents.crash()
    assert await client.get_agent_state(agent_id, "seen") == [7]
    assert await journal(agents, run_id) == before


async def test_input_and_errors_of_a_query(agents: Agents) -> None:
    """A state may take an input; what it raises goes to who asked, and changes nothing."""
    client, agent_id = agents.client, agents.agent_id
    run_id = await settled(agents, 7)
    before = await journal(agents, run_id)

    assert [await client.get_agent_state(agent_id, "at_least", state_input=n) for n in (7, 8)] == [True, False]
    with pytest.raises(UsageError, match=r"Bad input for state 'at_least' of Counter. n: "):
        await client.get_agent_state(agent_id, "at_least", state_input="many")
    with pytest.raises(NotFound, match="Counter has no state 'mood'; it has: at_least, broken, "):
        await client.get_agent_state(agent_id, "mood")
    with pytest.raises(AgentFailed, match="TeapotError: no state today"):
        await client.get_agent_state(agent_id, "broken")
    with pytest.raises(AgentFailed, match="No durable loop runs here"):
        await client.get_agent_state(agent_id, "restless")
    assert await client.get_agent_state(agent_id, "who") == [agent_id, run_id, True]
    assert await journal(agents, run_id) == before


async def test_unreachable_process_is_asked_through_the_journal(agents: Agents, tmp_path: Any) -> None:
    """A run that another process holds, which no query reaches, still answers; that costs two entries of its journal,
    and no event is counted."""
    client, agent_id = agents.client, agents.agent_id
    run_id = await settled(agents, 5)
    before = (await journal(agents, run_id)).total()
    other = Agents(agents.server, tmp_path)
    await other.start()
    try:
        await agents.server.register(other.url)  # from now on it gets the queries, while the run stays where it is
        assert [await client.get_agent_state(agent_id, "total") for _ in range(2)] == [5, 5]
    finally:
        await agents.server.register(agents.url)
        other.process.kill9()
    assert (await journal(agents, run_id)).total() - before == 4
    assert (await client.describe_agent(agent_id)).events == 1

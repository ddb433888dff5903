"""Code that would end the process, or gives what cannot be stored, on a real server: it fails alone, with words."""

import asyncio

import pytest

from app.background import AgentFailed
from app.errors import AgentError
from tests.integration.background.conftest import Agents
from tests.support.eventually import eventually

WORDS = {
    "exit": "SystemExit: 3",
    "interrupt": "KeyboardInterrupt",
    "generator": "GeneratorExit",
    "odd": "Odd: odd",
    "bytes": "bytes that are no UTF-8",
    "integer": "more than 4300 digits",
}


async def test_a_handler_that_leaves_fails_alone(agents: Agents) -> None:
    """Its sender hears why; the agent, its other handlers and the process go on."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Leaver", agent_id)
    for event in ("handler", "task", "predicate"):
        for how, words in WORDS.items():
            if event == "predicate" and how in ("bytes", "integer"):
                continue
            with pytest.raises(AgentError, match=words):
                await client.send_agent_event(event, agent_id, event_input=how, wait_for_completion=True)
    assert await client.send_agent_event("handler", agent_id, event_input="well", wait_for_completion=True) == "well"

    await client.send_agent_event("end", agent_id, event_input="done")
    assert await client.get_agent_result(agent_id) == "done"
    assert agents.process.exit_code is None
    assert f"Agent {agent_id}: event handler failed" in agents.process.log()


async def test_a_state_that_leaves_fails_alone(agents: Agents) -> None:
    """Who asks hears why; the agent goes on."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Leaver", agent_id)
    for how, words in WORDS.items():
        with pytest.raises(AgentError, match=words):
            await client.get_agent_state(agent_id, "state", state_input=how)
    assert await client.get_agent_state(agent_id, "state", state_input="well") == "well"
    assert agents.process.exit_code is None


@pytest.mark.parametrize("how", [*WORDS, "busy"])
async def test_a_run_that_leaves_has_failed(agents: Agents, how: str) -> None:
    """The agent has failed with a sentence, for all who wait and for who asks later; the process lives."""
    client, agent_id = agents.client, agents.agent_id
    words = WORDS.get(how, "runs again and again without waiting for anything durable")
    await client.schedule_agent("Leaver", agent_id)
    waiting = asyncio.create_task(client.get_agent_result(agent_id))
    sending = asyncio.create_task(client.send_agent_event("wait", agent_id, wait_for_completion=True))

    async def both_arrived() -> bool:
        return (await client.describe_agent(agent_id)).events == 1

    await eventually(both_arrived)
    await client.send_agent_event("end", agent_id, event_input=how)

    with pytest.raises(AgentFailed, match=words):
        await waiting
    with pytest.raises(AgentError, match=words if how == "busy" else "ended before 'wait' was handled"):
        await sending
    described = await client.describe_agent(agent_id)
    assert described.status == "failed"
    assert words in (described.failure or "")
    assert agents.process.exit_code is None

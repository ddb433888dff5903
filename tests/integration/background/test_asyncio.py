"""Plain asyncio in agents, and the length of a journal at which an agent should start afresh."""

from tests.integration.background.conftest import Agents


async def test_asyncio_is_durable(agents: Agents) -> None:
    """TaskGroup, Lock, Queue, timeout and sleep work in an agent; each step runs once."""
    words = ["three", "a", "two"]

    result = await agents.run("Juggler", words)

    assert sorted(result["written"]) == sorted(words)
    assert result["queued"] == result["written"]
    assert result["timeout"] is True
    assert sorted(agents.actions) == sorted(f"{what} {word}" for what in ("start", "end") for word in words)


async def test_should_continue_as_new_near_2000_entries(agents: Agents) -> None:
    """`should_continue_as_new` turns true once, near 2000 journal entries; a timer is two of them."""
    ticks = await agents.run("Ticker")

    assert 900 <= ticks <= 1000
    assert (await agents.client.describe_agent(agents.agent_id)).run_number == 2

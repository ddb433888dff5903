"""How agents end or start afresh on a real server: continue-as-new, cancel, terminate, purge, kill, a changed class."""

import asyncio

import pytest

from app.background import AgentFailed
from app.errors import Conflict, NotFound
from tests.integration.background.conftest import Agents, invocation
from tests.support.eventually import eventually


async def test_continue_as_new_loses_no_event(agents: Agents) -> None:
    """Events that arrive while runs follow each other are handled once each, in order."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Relay", agent_id, {"every": 7, "seen": []})
    for n in range(40):
        await client.send_agent_event("take", agent_id, event_input=n)

    async def second_run() -> bool:
        return bool(await client.get_agent_state(agent_id, "runs") > 1)

    await eventually(second_run)
    await client.send_agent_event("finish", agent_id)

    assert await client.get_agent_result(agent_id) == list(range(40))
    ends = [int(line.removeprefix("end ")) for line in agents.actions if line.startswith("end")]
    assert sorted(ends) == list(range(40))  # the handlers' steps run side by side
    assert (await client.describe_agent(agent_id)).run_number > 1


async def test_answers_survive_continue_as_new(agents: Agents) -> None:
    """A sender who waits gets the answer of its handler, in whichever run that is."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Relay", agent_id, {"every": 3, "seen": []})

    answers = await asyncio.gather(
        *(client.send_agent_event("take", agent_id, event_input=n, wait_for_completion=True) for n in range(12))
    )
    assert answers == list(range(12))


async def test_continue_as_new_keeps_the_input(agents: Agents) -> None:
    """Without an input the next run gets the same again; awaiting the call is fine."""
    assert await agents.run("Afresh", "again") == ["again", 3]


async def test_cancel_runs_finally_blocks(agents: Agents) -> None:
    """A cancelled agent aborts its step, cleans up with another, and is then `cancelled`."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Cleaner", agent_id, agent_id)
    await agents.did("start")
    await client.cancel_agent(agent_id)

    assert await agents.ended(agent_id) == "cancelled"
    end = "end" if agents.server.always_replay else "abort"
    assert agents.actions == ["start", end, "start cleanup", "end cleanup"]
    with pytest.raises(Conflict, match="cancelled: The agent was cancelled"):
        await client.get_agent_result(agent_id)


@pytest.mark.parametrize("how", ["end", "afresh"])
async def test_handlers_that_do_not_finish(agents: Agents, how: str) -> None:
    """Handlers that are busy when `run` ends or starts afresh get a while to finish; then they are cancelled, or killed
    with their run if that does not help, and their senders are told."""
    client, agent_id = agents.client, agents.agent_id
    run_id = await client.schedule_agent("Stubborn", agent_id)
    waiting = [
        asyncio.create_task(client.send_agent_event(name, agent_id, wait_for_completion=True))
        for name in ("hang", "resist")
    ]
    await eventually(lambda: has_taken(agents, 2))
    await client.send_agent_event("stop", agent_id, event_input=how)

    for answer in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(answer, Conflict), answer
        assert "ended before '" in str(answer)

    async def gone() -> bool:
        return bool((await invocation(agents.server, run_id))["status"] == "completed")

    await eventually(gone, timeout_s=20)
    if how == "afresh":
        described = await client.describe_agent(agent_id)
        assert (described.status, described.run_number) == ("running", 2)
        await client.send_agent_event("stop", agent_id, event_input="end")
    assert await client.get_agent_result(agent_id) == (2 if how == "afresh" else 1)


async def has_taken(agents: Agents, events: int) -> bool:
    return (await agents.client.describe_agent(agents.agent_id)).events >= events


async def test_terminate_ends_at_once(agents: Agents) -> None:
    """A terminated agent runs no code any more, and whoever waits for it is told."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Slow", agent_id)
    asking = asyncio.create_task(client.get_agent_result(agent_id))
    await client.send_agent_event("work", agent_id, event_input="first", wait_for_completion=True)
    run_id = (await client.describe_agent(agent_id)).run_id
    await client.terminate_agent(agent_id)

    with pytest.raises(Conflict, match="terminated: The agent was terminated"):
        await asking
    assert (await client.describe_agent(agent_id)).status == "terminated"

    async def gone() -> bool:
        return bool((await invocation(agents.server, run_id))["status"] == "completed")

    await eventually(gone)


async def test_a_killed_run_is_noticed(agents: Agents) -> None:
    """A run that somebody kills in Restate's UI ends its agent, and the sender of an event is told."""
    client, agent_id = agents.client, agents.agent_id
    run_id = await client.schedule_agent("Slow", agent_id)
    await agents.server.kill(run_id)

    assert await agents.ended(agent_id) == "terminated"
    assert (await client.describe_agent(agent_id)).failure == "The run was ended from outside."


async def test_purge(agents: Agents) -> None:
    """Purging erases an agent that has ended, and refuses one that runs."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Counter", agent_id)
    with pytest.raises(Conflict, match="is running: cancel or terminate it"):
        await client.purge_agent(agent_id)
    await client.terminate_agent(agent_id)
    await client.purge_agent(agent_id)

    with pytest.raises(NotFound):
        await client.describe_agent(agent_id)


async def test_list(agents: Agents) -> None:
    """Agents can be listed by class and status."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_agent("Counter", agent_id)

    async def listed(status: str) -> bool:
        found = await client.list_agents("Counter", status, limit=1000)  # type: ignore[arg-type]  # text works too
        return agent_id in [agent.agent_id for agent in found]

    await eventually(lambda: listed("running"))
    assert not await listed("completed")
    await client.terminate_agent(agent_id)
    await eventually(lambda: listed("terminated"))


# Families


async def family(agents: Agents, what: str) -> tuple[object, str]:
    child_id = f"{agents.agent_id}-child"
    return await agents.run("Parent", {"what": what, "id": child_id}), child_id


async def test_child_execute(agents: Agents) -> None:
    """A parent gets the result of its child; the child is an agent of its own, with a parent."""
    result, child_id = await family(agents, "execute")
    described = await agents.client.describe_agent(child_id)
    assert result == "HELLO"
    assert (described.kind, described.parent_id, described.status) == ("workflow", agents.agent_id, "completed")


async def test_failing_child(agents: Agents) -> None:
    """The failure of a child is raised in its parent, with the child's text."""
    result, child_id = await family(agents, "execute_failing")
    assert result == f"AgentFailed: Shout {child_id!r}: ValueError: nothing to shout"


async def test_child_that_cannot_start(agents: Agents) -> None:
    """A wrong call, wrong or too much input or a taken id raise in the parent."""
    assert (await family(agents, "both"))[
        0
    ] == "ValueError: A child needs exactly one of agent= and workflow=, got both"
    assert str((await family(agents, "bad_input"))[0]).startswith("UsageError: Bad input for Shout.run. text:")
    too_big = str((await family(agents, "big_input"))[0])
    assert too_big.startswith("UsageError: The input of Shout has 100002 characters as JSON, the limit is 100000")
    assert "no control characters" in str((await family(agents, "bad_id"))[0])
    assert str((await family(agents, "start_twice"))[0]).startswith("Conflict: agent_id ")


async def test_children_end_with_their_parent(agents: Agents) -> None:
    """By default a child is terminated when its parent ends; what it did until then is kept."""
    client, agent_id = agents.client, agents.agent_id
    child_id = f"{agent_id}-child"
    await client.schedule_agent("Parent", agent_id, {"what": "start", "id": child_id})

    async def known() -> bool:
        return child_id in (await client.describe_agent(agent_id)).children

    await eventually(known)
    await client.send_agent_event("end", agent_id)

    assert (await client.get_agent_result(agent_id))["id"] == child_id
    assert await agents.ended(child_id) == "terminated"


async def test_abandoned_child_goes_on(agents: Agents) -> None:
    """A child with ABANDON outlives its parent."""
    _, child_id = await family(agents, "start_abandoned")
    assert await agents.client.send_agent_event("add", child_id, event_input=1, wait_for_completion=True) == 1
    await agents.client.terminate_agent(child_id)


async def test_cancelling_a_parent_reaches_its_children(agents: Agents) -> None:
    """A cancelled parent cancels the child it waits for, which cleans up first."""
    client, agent_id = agents.client, agents.agent_id
    child_id = f"{agent_id}-child"
    await client.schedule_agent("Parent", agent_id, {"what": "execute_endless", "id": child_id})
    await eventually(lambda: f"start {child_id}" in agents.all_actions)
    await client.cancel_agent(agent_id)

    assert await agents.ended(agent_id) == "cancelled"
    assert (await client.describe_agent(child_id)).status == "cancelled"
    assert f"end cleanup {child_id}" in agents.all_actions


async def test_request_cancel(agents: Agents) -> None:
    """A child with REQUEST_CANCEL is cancelled when its parent is terminated."""
    client, agent_id = agents.client, agents.agent_id
    child_id = f"{agent_id}-child"
    await client.schedule_agent("Parent", agent_id, {"what": "start_cancelled", "id": child_id})
    await eventually(lambda: f"start {child_id}" in agents.all_actions)
    await client.terminate_agent(agent_id)

    assert await agents.ended(child_id) == "cancelled"
    assert f"end cleanup {child_id}" in agents.all_actions


async def test_failed_is_an_error_of_its_own(agents: Agents) -> None:
    """The client tells a failed agent from a wrong request."""
    with pytest.raises(AgentFailed):
        await agents.run("BrokenAtBirth")

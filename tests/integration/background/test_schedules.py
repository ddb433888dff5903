"""Schedules on a real server: what is due is started, and what is not is counted."""

from datetime import timedelta

import pytest

from app.background import ScheduleSpec, cron, interval
from app.background.schedules.protocol import Schedule
from app.errors import Conflict, NotFound, UsageError
from tests.integration.background.conftest import Agents
from tests.support.eventually import eventually

EVERY_SECOND = "* * * * * *"


async def until(agents: Agents, field: str, at_least: int) -> Schedule:
    async def reached() -> Schedule | None:
        schedule = await agents.client.describe_schedule(agents.agent_id)
        return schedule if getattr(schedule, field) >= at_least else None

    found = await eventually(reached)
    assert found is not None
    return found


async def test_interval_starts_agents(agents: Agents) -> None:
    """Each time that is due starts an agent of its own, with the input of the schedule; deleting ends that."""
    client, schedule_id = agents.client, agents.agent_id
    await client.schedule_agent("Shout", schedule_id, "hi", schedule=interval(timedelta(seconds=1)))
    schedule = await until(agents, "started", 2)

    assert schedule.last_agent_id is not None
    assert await client.get_agent_result(schedule.last_agent_id) == "HI"
    assert schedule_id in [known.schedule_id for known in await client.list_schedules()]
    await client.delete_schedule(schedule_id)
    with pytest.raises(NotFound, match="There is no schedule"):
        await client.describe_schedule(schedule_id)


async def test_busy_agent_is_skipped(agents: Agents) -> None:
    """With `skip`, a time that is due while the last agent runs starts nothing, and is counted."""
    client = agents.client
    await client.schedule_agent("Slow", agents.agent_id, schedule=cron(EVERY_SECOND))
    schedule = await until(agents, "skipped", 1)

    assert (schedule.started, schedule.coalesced) == (1, 0)
    await client.delete_schedule(agents.agent_id)


async def test_busy_agent_coalesces(agents: Agents) -> None:
    """With `coalesce`, all times that are due meanwhile become one start when the last agent has ended."""
    client = agents.client
    spec = cron(EVERY_SECOND, time_zone="Europe/Berlin", when_busy="coalesce")
    await client.schedule_agent("Slow", agents.agent_id, schedule=spec)
    schedule = await until(agents, "coalesced", 1)
    assert schedule.started == 1
    await client.send_agent_event("stop", schedule.last_agent_id or "")

    await until(agents, "started", 2)
    await client.delete_schedule(agents.agent_id)


async def test_wrong_schedules(agents: Agents) -> None:
    """A schedule that exists, or that makes no sense, is refused."""
    client = agents.client
    await client.schedule_agent("Shout", agents.agent_id, "hi", schedule=cron("0 0 1 1 *"))
    with pytest.raises(Conflict, match=r"There is a schedule .* already: delete_schedule it first"):
        await client.schedule_agent("Shout", agents.agent_id, "hi", schedule=cron("0 0 1 1 *"))
    await client.delete_schedule(agents.agent_id)
    wrong = ScheduleSpec.model_construct(cron_expressions=("sometimes",))
    with pytest.raises(UsageError, match="cron expression 'sometimes': "):
        await client.schedule_agent("Shout", agents.agent_id, "hi", schedule=wrong)


async def test_what_can_never_start_is_refused(agents: Agents) -> None:
    """A schedule of input that does not fit, or is missing, is refused when it is created."""
    client, schedule_id = agents.client, agents.agent_id
    for name, value in (("Shout", [1]), ("Shout", None), ("Counter", 5)):
        with pytest.raises(UsageError, match=rf"({name}.run)"):
            await client.schedule_agent(name, schedule_id, value, schedule=interval(timedelta(seconds=1)))
    with pytest.raises(NotFound, match="There is no schedule"):
        await client.describe_schedule(schedule_id)


async def test_problem_is_shown(agents: Agents) -> None:
    """A start that is refused is not lost: the schedule shows why."""
    client, schedule_id = agents.client, agents.agent_id
    await client.schedule_agent("Shout", schedule_id, "hi", schedule=interval(timedelta(seconds=5)))
    due = (await client.describe_schedule(schedule_id)).next_at
    assert due is not None
    for moment in (due, due + timedelta(seconds=5)):  # the first may come too soon
        await client.schedule_agent("Counter", f"{schedule_id}-{moment:%Y%m%dT%H%M%SZ}")

    async def problem() -> str | None:
        return (await client.describe_schedule(schedule_id)).problem

    assert "belongs to a Counter that is running" in str(await eventually(problem, timeout_s=20))
    await client.delete_schedule(schedule_id)


async def test_workflows_are_workflows(agents: Agents) -> None:
    """A workflow is described as one, also if a schedule or `schedule_agent` has started it."""
    client, agent_id = agents.client, agents.agent_id
    await client.schedule_workflow("Shout", agent_id, "hi")
    await client.schedule_agent("Shout", f"{agent_id}-2", "hi")
    await client.schedule_workflow("Shout", f"{agent_id}-s", "hi", schedule=interval(timedelta(seconds=1)))

    async def last() -> str | None:
        return (await client.describe_schedule(f"{agent_id}-s")).last_agent_id

    for started in (agent_id, f"{agent_id}-2", await eventually(last) or ""):
        assert (await client.describe_agent(started)).kind == "workflow"
    await client.delete_schedule(f"{agent_id}-s")

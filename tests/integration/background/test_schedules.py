"""Schedules on a real server: what is due is started, and what is not is counted."""

from datetime import timedelta

import pytest

from app.background import ScheduleSpec, cron, interval
from app.background.schedules import Schedule
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


async def test_problem_is_shown(agents: Agents) -> None:
    """A start that is refused is not lost: the schedule shows why."""
    await agents.client.schedule_agent("Shout", agents.agent_id, [1], schedule=interval(timedelta(seconds=1)))

    async def problem() -> str | None:
        return (await agents.client.describe_schedule(agents.agent_id)).problem

    assert "Bad input for Shout.run" in str(await eventually(problem))
    await agents.client.delete_schedule(agents.agent_id)

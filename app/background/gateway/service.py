"""BackgroundAgents: the way in for clients, by curl or through `Restack`. One handler for each thing a client may want.

It waits where mailboxes must not.
"""

from datetime import timedelta
from functools import partial
from typing import Any

import restate
from restate import Context, RunOptions, TerminalError

from app.background.engine import admin
from app.background.gateway.asking import ask, send_and_wait, standstill_of
from app.background.gateway.protocol import (
    AgentList,
    AgentRequest,
    GetAgentState,
    ListAgents,
    ScheduleAgent,
    ScheduleRequest,
    SendAgentEvent,
)
from app.background.mailbox import addresses as mailbox
from app.background.mailbox.checks import check_size
from app.background.mailbox.control import RECORD_KEY, Record, description_of
from app.background.protocol import (
    FRONT_DOOR,
    MAILBOX,
    SCHEDULES,
    AgentDescription,
    Delivery,
    Outcome,
    Started,
    StartRequest,
    Status,
    StopRequest,
    WaitRequest,
)
from app.background.schedules import addresses as schedules
from app.background.schedules.protocol import SCHEDULE_KEY, CreateSchedule, Schedule, ScheduleList
from app.boundary import PATIENT_RETRIES, handler
from app.errors import AgentFailed
from app.text import clean

background_agents = restate.Service(FRONT_DOOR, description="Background agents: start, send events, look at, end.")
_public = partial(handler, retries=PATIENT_RETRIES)  # a client may wait for months, or for a service that is down
# A read leaves nothing behind, and a client that polls asks again anyway.
_passing = partial(handler, journal_retention=timedelta(0), idempotency_retention=timedelta(minutes=1))
_LISTED = RunOptions[list[tuple[str, dict[str, Any]]]](max_attempts=3)


@_public(background_agents)
async def schedule_agent(ctx: Context, request: ScheduleAgent) -> Started:
    """Start an agent. With an event: start it unless it runs, and send the event, in one. With a schedule: start it
    again and again. The id is then that of the schedule.
    """
    check_size(request.agent_input, "agent_input")
    check_size(request.event and request.event.input, "The input of the event")
    start = StartRequest(
        agent_name=request.agent_name, input=request.agent_input, task_queue=request.task_queue, event=request.event
    )
    if request.schedule is not None:
        create = CreateSchedule(spec=request.schedule, start=start)
        await schedules.CREATE.call(ctx, request.agent_id, create)
        return Started(agent_id=request.agent_id, run_id=request.agent_id)
    return await mailbox.START.call(ctx, request.agent_id, start)


@_public(background_agents)
async def send_agent_event(ctx: Context, request: SendAgentEvent) -> Any:
    """Send an event. Answers at once with its number, or with what its handler returns."""
    check_size(request.event_input, "event_input")
    delivery = Delivery(role="event", name=request.event_name, input=request.event_input, run_id=request.run_id)
    if not request.wait_for_completion:
        delivered = await mailbox.DELIVER.call(ctx, request.agent_id, delivery)
        return delivered.model_dump()
    return await send_and_wait(ctx, request.agent_id, delivery)


@_passing(background_agents)
async def get_agent_state(ctx: Context, request: GetAgentState) -> Any:
    """Return one of the @agent.state values of a running agent. It has seen all events that were accepted before."""
    check_size(request.state_input, "state_input")
    delivery = Delivery(role="state", name=request.state_name, input=request.state_input, run_id=request.run_id)
    return await ask(ctx, request.agent_id, delivery)


@_public(background_agents)
async def get_agent_result(ctx: Context, request: AgentRequest) -> Any:
    """Wait for the end of an agent and return its result. Fails with its text if it has none."""
    waiter, ended = ctx.awakeable(type_hint=Outcome)
    await mailbox.WAIT.call(ctx, request.agent_id, WaitRequest(waiter=waiter, run_id=request.run_id))
    outcome = await ended
    if outcome.status is not Status.COMPLETED:
        status = AgentFailed.status if outcome.status is Status.FAILED else 409
        raise TerminalError(clean(f"Agent {request.agent_id!r} {outcome.status}: {outcome.failure}"), status)
    return outcome.result


@_public(background_agents)
async def describe_agent(ctx: Context, request: AgentRequest) -> AgentDescription:
    """Return status, run, parent and children of an agent, why it failed, and why its run stands still if it does."""
    described = await mailbox.DESCRIBE.call(ctx, request.agent_id, None)
    if described.status is not Status.RUNNING:
        return described
    return described.changed(blocked=await standstill_of(ctx, described.run_id))


@_public(background_agents)
async def list_agents(ctx: Context, request: ListAgents) -> AgentList:
    """List agents, by id. `agent_name` and `status` choose."""
    records = await ctx.run_typed("agents", admin.stored, _LISTED, MAILBOX, RECORD_KEY)
    described = (description_of(key, Record(**record)) for key, record in sorted(records))
    wanted = [
        agent
        for agent in described
        if request.agent_name in (None, agent.agent_name) and request.status in (None, agent.status)
    ]
    return AgentList(agents=tuple(wanted[: request.limit]))


@_public(background_agents)
async def cancel_agent(ctx: Context, request: AgentRequest) -> None:
    """Ask an agent to end: its `finally` blocks run and may take steps."""
    await mailbox.CANCEL.call(ctx, request.agent_id, StopRequest(run_id=request.run_id))


@_public(background_agents)
async def terminate_agent(ctx: Context, request: AgentRequest) -> None:
    """End an agent at once. None of its code runs any more."""
    await mailbox.TERMINATE.call(ctx, request.agent_id, StopRequest(run_id=request.run_id))


@_public(background_agents)
async def purge_agent(ctx: Context, request: AgentRequest) -> None:
    """Erase what is known of an agent that has ended."""
    await mailbox.PURGE.call(ctx, request.agent_id, None)


@_public(background_agents)
async def describe_schedule(ctx: Context, request: ScheduleRequest) -> Schedule:
    """Return when a schedule is due, and what it has started, skipped, coalesced and missed."""
    return await schedules.DESCRIBE.call(ctx, request.schedule_id, None)


@_public(background_agents)
async def list_schedules(ctx: Context) -> ScheduleList:
    """List schedules, by id."""
    records = await ctx.run_typed("schedules", admin.stored, _LISTED, SCHEDULES, SCHEDULE_KEY)
    return ScheduleList(schedules=tuple(Schedule.model_validate(record) for _, record in sorted(records)))


@_public(background_agents)
async def delete_schedule(ctx: Context, request: ScheduleRequest) -> None:
    """Delete a schedule. The agents that it has started go on."""
    await schedules.DELETE.call(ctx, request.schedule_id, None)

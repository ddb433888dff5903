"""BackgroundRuns: looks after runs from outside, where a mailbox must not wait. Watches for their death, kills them."""

import json
from functools import partial

import restate
from restate import Context, TerminalError

from app.background.engine import admin
from app.background.mailbox.mail import tell_agent
from app.background.protocol import RUNS, SCHEDULES, Outcome, RunOfAgent, ScheduleEnd, WaitRequest
from app.boundary import PATIENT_RETRIES, handler
from app.durable import get_logger

background_runs = restate.Service(
    RUNS, description="Watches and kills the runs of background agents.", ingress_private=True
)
_private = partial(handler, private=True, retries=PATIENT_RETRIES)

logger = get_logger("background")


@_private(background_runs)
async def watch(ctx: Context, run: RunOfAgent) -> None:
    """Wait for the end of a run, and tell the mailbox if the run did not live to do it; suspended meanwhile."""
    try:
        await ctx.attach_invocation(run.run_id)
    except TerminalError as exc:
        logger.debug("Run %s of agent %s ended with %s", run.run_id, run.agent_id, exc.message)
        tell_agent(ctx, run.agent_id, "run_died", run)


@_private(background_runs)
async def watch_scheduled(ctx: Context, request: ScheduleEnd) -> None:
    """Wait for the end of an agent that its schedule found busy, and tell the schedule."""
    waiter, ended = ctx.awakeable(type_hint=Outcome)
    tell_agent(ctx, request.agent_id, "wait", WaitRequest(waiter=waiter))
    await ended
    ctx.generic_send(SCHEDULES, "released", json.dumps(request.tick).encode(), key=request.schedule_id)


@_private(background_runs)
async def kill(ctx: Context, run: RunOfAgent) -> None:
    """End a run at once, as soon as Restate's admin API can be reached."""
    await ctx.run_typed("kill", admin.kill, restate.RunOptions(), run.run_id)

"""BackgroundRuns: looks after runs from outside, where a mailbox must not wait. Watches for their death, kills them.

Tells mailboxes and schedules, and decides nothing for them.
"""

import restate
from restate import Context, TerminalError

from app.background.engine import admin
from app.background.mailbox import addresses as mailbox
from app.background.protocol import RUNS, Outcome, RunOfAgent, ScheduleEnd, WaitRequest
from app.background.run.addresses import KILL, WATCH, WATCH_SCHEDULED
from app.background.schedules.addresses import RELEASED
from app.background.schedules.protocol import Tick
from app.boundary import PATIENT_RETRIES, private_handler
from app.durable import get_logger

background_runs = restate.Service(
    RUNS, description="Watches and kills the runs of background agents.", ingress_private=True
)

logger = get_logger("background")


@private_handler(background_runs, WATCH, retries=PATIENT_RETRIES)
async def watch(ctx: Context, run: RunOfAgent) -> None:
    """Wait for the end of a run, and tell the mailbox if the run did not live to do it. Suspended meanwhile."""
    try:
        await ctx.attach_invocation(run.run_id)
    except TerminalError as exc:
        logger.debug("Run %s of agent %s ended with %s", run.run_id, run.agent_id, exc.message)
        mailbox.RUN_DIED.send(ctx, run.agent_id, run)


@private_handler(background_runs, WATCH_SCHEDULED, retries=PATIENT_RETRIES)
async def watch_scheduled(ctx: Context, request: ScheduleEnd) -> None:
    """Wait for the end of an agent that its schedule found busy, and tell the schedule."""
    waiter, ended = ctx.awakeable(type_hint=Outcome)
    mailbox.WAIT.send(ctx, request.agent_id, WaitRequest(waiter=waiter))
    await ended
    RELEASED.send(ctx, request.schedule_id, Tick.model_validate(request.tick))


@private_handler(background_runs, KILL, retries=PATIENT_RETRIES)
async def kill(ctx: Context, run: RunOfAgent) -> None:
    """End a run at once, as soon as Restate's admin API can be reached."""
    await ctx.run_typed("kill", admin.kill, restate.RunOptions(), run.run_id)

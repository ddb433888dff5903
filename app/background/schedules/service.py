"""BackgroundSchedule: starts an agent again and again, keyed by schedule id. Each start is an agent of its own.

Owns what was started, skipped or coalesced. When a schedule is due is in `spec.py`.
"""

from datetime import UTC, datetime, timedelta

from restate import ObjectContext, ObjectSharedContext, TerminalError, VirtualObject

from app.background.declare import registry
from app.background.mailbox import addresses as mailbox
from app.background.mailbox.checks import check_start
from app.background.protocol import SCHEDULES, ScheduleEnd, Status
from app.background.run.addresses import WATCH_SCHEDULED
from app.background.schedules.addresses import CREATE, DELETE, DESCRIBE, RELEASED, TICK
from app.background.schedules.protocol import SCHEDULE_KEY, CreateSchedule, Schedule, Tick
from app.boundary import PATIENT_RETRIES, private_handler
from app.errors import Conflict, NotFound

background_schedule = VirtualObject(
    SCHEDULES, description="Starts a background agent again and again.", ingress_private=True, enable_lazy_state=True
)


@private_handler(background_schedule, CREATE, retries=PATIENT_RETRIES)
async def create(ctx: ObjectContext, request: CreateSchedule) -> Schedule:
    """Create the schedule. Errors: Conflict if there is one; those of check_start for an agent that cannot start."""
    if await _load(ctx) is not None:
        raise Conflict(f"There is a schedule {ctx.key()!r} already: delete_schedule it first, or choose another id")
    start = await check_start(ctx, request.start)
    definition = registry.find_agent(request.start.agent_name)
    if definition is not None:
        definition.run.require_input(request.start.input)  # one start may go without it, again and again makes no sense
    now = await _now(ctx)
    schedule = Schedule(spec=request.spec, start=start, schedule_id=ctx.key(), created_at=now)
    return _arm(ctx, schedule, now, now)


@private_handler(background_schedule, TICK, retries=PATIENT_RETRIES)
async def tick(ctx: ObjectContext, tick: Tick) -> None:
    """Start the agent, or note why not. Then wait for the next time."""
    schedule = await _load(ctx)
    if schedule is None or schedule.created_at != tick.created_at:
        return
    now = await _now(ctx)
    missed = sum(1 for _ in schedule.spec.times_between(tick.due, now))
    schedule = schedule.changed(missed=schedule.missed + missed)
    if not await _is_busy(ctx, schedule):
        schedule = await _start(ctx, schedule, tick.due)
    elif schedule.spec.when_busy == "skip":
        schedule = schedule.changed(skipped=schedule.skipped + 1)
    else:
        if not schedule.pending:
            end = ScheduleEnd(
                schedule_id=ctx.key(), agent_id=schedule.last_agent_id or "", tick=tick.model_dump(mode="json")
            )
            WATCH_SCHEDULED.send(ctx, end)
        schedule = schedule.changed(coalesced=schedule.coalesced + 1, pending=True)
    _arm(ctx, schedule, tick.due, now)


@private_handler(background_schedule, RELEASED, retries=PATIENT_RETRIES)
async def released(ctx: ObjectContext, tick: Tick) -> None:
    """Start what was coalesced, as the agent that was busy has ended."""
    schedule = await _load(ctx)
    if schedule is not None and schedule.created_at == tick.created_at and schedule.pending:
        started = await _start(ctx, schedule.changed(pending=False), tick.due)
        ctx.set(SCHEDULE_KEY, started)


@private_handler(background_schedule, DELETE, retries=PATIENT_RETRIES)
async def delete(ctx: ObjectContext) -> None:
    """Delete the schedule. What was started goes on. Errors: NotFound."""
    if await _load(ctx) is None:
        raise NotFound(f"There is no schedule {ctx.key()!r}")
    ctx.clear_all()


@private_handler(background_schedule, DESCRIBE, kind="shared", retries=PATIENT_RETRIES)
async def describe(ctx: ObjectSharedContext) -> Schedule:
    """Return what the schedule has done and when it is due. Errors: NotFound."""
    schedule = await _load(ctx)
    if schedule is None:
        raise NotFound(f"There is no schedule {ctx.key()!r}")
    return schedule


async def _start(ctx: ObjectContext, schedule: Schedule, due: datetime) -> Schedule:
    agent_id = f"{ctx.key()}-{due:%Y%m%dT%H%M%SZ}"
    try:
        # Checks again what `create` has checked: the class may have changed since.
        await mailbox.START.call(ctx, agent_id, schedule.start)
    except TerminalError as exc:  # the next time may go better; until then it can be read here
        return schedule.changed(problem=f"{due:%Y-%m-%d %H:%M:%S}: {exc.message}")
    return schedule.changed(last_agent_id=agent_id, started=schedule.started + 1, problem=None)


async def _is_busy(ctx: ObjectContext, schedule: Schedule) -> bool:
    if schedule.last_agent_id is None:
        return False
    try:
        last = await mailbox.DESCRIBE.call(ctx, schedule.last_agent_id, None)
    except TerminalError:  # it was purged
        return False
    return last.status is Status.RUNNING


def _arm(ctx: ObjectContext, schedule: Schedule, due: datetime, now: datetime) -> Schedule:
    """Store the schedule and send the next tick to itself, if there is one."""
    next_at = schedule.spec.next_after(max(due, now))
    armed = schedule.changed(next_at=next_at)
    if next_at is not None:
        delay = next_at + schedule.spec.delay_of(next_at, ctx.key()) - now
        next_tick = Tick(created_at=armed.created_at, due=next_at)
        TICK.send(ctx, ctx.key(), next_tick, delay=max(delay, timedelta(milliseconds=1)))
    ctx.set(SCHEDULE_KEY, armed)
    return armed


async def _load(ctx: ObjectContext | ObjectSharedContext) -> Schedule | None:
    return await ctx.get(SCHEDULE_KEY, type_hint=Schedule)


async def _now(ctx: ObjectContext) -> datetime:
    return datetime.fromtimestamp(await ctx.time(), UTC)

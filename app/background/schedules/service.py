"""BackgroundSchedule: starts an agent again and again, keyed by schedule id. Each start is an agent of its own.

Owns what is due and what was started, skipped or coalesced; when that is, is in `spec.py`.
"""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from restate import ObjectContext, ObjectSharedContext, TerminalError, VirtualObject

from app.background.declare import registry
from app.background.mailbox import service as background_agent
from app.background.mailbox.checks import check_start
from app.background.mailbox.mail import tell_runs
from app.background.protocol import SCHEDULES, AgentDescription, ScheduleEnd, StartRequest, Status
from app.background.schedules.spec import ScheduleSpec
from app.boundary import PATIENT_RETRIES, handler
from app.errors import Conflict, NotFound
from app.values import Stored

background_schedule = VirtualObject(
    SCHEDULES, description="Starts a background agent again and again.", ingress_private=True, enable_lazy_state=True
)
_private = partial(handler, private=True, retries=PATIENT_RETRIES)

_RECORD = "schedule"
_EPOCH = datetime.fromtimestamp(0, UTC)


class CreateSchedule(Stored):
    """What to start, and when."""

    spec: ScheduleSpec
    start: StartRequest


class Schedule(CreateSchedule):
    """A schedule and what has become of it so far. `missed` were due while nothing ran at all.

    `next_at` is None when it has come to its end.
    """

    schedule_id: str
    created_at: datetime = _EPOCH
    next_at: datetime | None = _EPOCH
    last_agent_id: str | None = None
    started: int = 0
    skipped: int = 0
    coalesced: int = 0
    missed: int = 0
    pending: bool = False
    problem: str | None = None


class ScheduleList(Stored):
    """Schedules, by id."""

    schedules: tuple[Schedule, ...]


class Tick(Stored):
    """A time that was due; `created_at` fences it: a schedule of the same name that came later ignores it."""

    created_at: datetime
    due: datetime


@_private(background_schedule)
async def create(ctx: ObjectContext, request: CreateSchedule) -> Schedule:
    """Create the schedule. Errors: Conflict if there is one; what check_start says of an agent that cannot start."""
    if await _load(ctx) is not None:
        raise Conflict(f"There is a schedule {ctx.key()!r} already: delete_schedule it first, or choose another id")
    start = await check_start(ctx, request.start)
    definition = registry.find_agent(request.start.agent_name)
    if definition is not None:
        definition.run.require_input(request.start.input)  # one start may go without it, again and again makes no sense
    now = await _now(ctx)
    schedule = Schedule(spec=request.spec, start=start, schedule_id=ctx.key(), created_at=now)
    return _arm(ctx, schedule, now, now)


@_private(background_schedule)
async def tick(ctx: ObjectContext, tick: Tick) -> None:
    """Start the agent, or note why not; then wait for the next time."""
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
            tell_runs(ctx, "watch_scheduled", end)
        schedule = schedule.changed(coalesced=schedule.coalesced + 1, pending=True)
    _arm(ctx, schedule, tick.due, now)


@_private(background_schedule)
async def released(ctx: ObjectContext, tick: Tick) -> None:
    """The agent that was busy has ended: start what was coalesced."""
    schedule = await _load(ctx)
    if schedule is not None and schedule.created_at == tick.created_at and schedule.pending:
        started = await _start(ctx, schedule.changed(pending=False), tick.due)
        ctx.set(_RECORD, started)


@_private(background_schedule)
async def delete(ctx: ObjectContext) -> None:
    """Start nothing any more; what was started goes on. Errors: NotFound."""
    if await _load(ctx) is None:
        raise NotFound(f"There is no schedule {ctx.key()!r}")
    ctx.clear_all()


@_private(background_schedule, kind="shared")
async def describe(ctx: ObjectSharedContext) -> Schedule:
    """Say what the schedule has done and when it is due. Errors: NotFound."""
    schedule = await _load(ctx)
    if schedule is None:
        raise NotFound(f"There is no schedule {ctx.key()!r}")
    return schedule


async def _start(ctx: ObjectContext, schedule: Schedule, due: datetime) -> Schedule:
    agent_id = f"{ctx.key()}-{due:%Y%m%dT%H%M%SZ}"
    changes: dict[str, Any]
    try:
        await ctx.object_call(background_agent.start, agent_id, schedule.start)
    except TerminalError as exc:  # the next time may go better; until then it can be read here
        changes = {"problem": f"{due:%Y-%m-%d %H:%M:%S}: {exc.message}"}
    else:
        changes = {"last_agent_id": agent_id, "started": schedule.started + 1, "problem": None}
    return schedule.changed(**changes)


async def _is_busy(ctx: ObjectContext, schedule: Schedule) -> bool:
    if schedule.last_agent_id is None:
        return False
    try:
        last: AgentDescription = await ctx.object_call(background_agent.describe, schedule.last_agent_id, arg=None)
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
        ctx.object_send(tick, ctx.key(), next_tick, send_delay=max(delay, timedelta(milliseconds=1)))
    ctx.set(_RECORD, armed)
    return armed


async def _load(ctx: ObjectContext | ObjectSharedContext) -> Schedule | None:
    return await ctx.get(_RECORD, type_hint=Schedule)


async def _now(ctx: ObjectContext) -> datetime:
    return datetime.fromtimestamp(await ctx.time(), UTC)

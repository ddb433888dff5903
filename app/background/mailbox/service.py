"""BackgroundAgent: directory and mailbox of one agent, keyed by agent_id. All that happens to it goes through here.

A handler is short: load, decide (in `rules.py`), carry out the effects, store. None waits for a run.
"""

from datetime import timedelta

from restate import ObjectContext, ObjectSharedContext, VirtualObject

from app.background.declare import registry
from app.background.failure import status_of, text_of
from app.background.mailbox.addresses import (
    ADOPT,
    CANCEL,
    CLOSE,
    DELIVER,
    DESCRIBE,
    DISOWN,
    END,
    HANDLED,
    LOOK,
    NEXT_RUN,
    PURGE,
    RUN_DIED,
    START,
    START_CHILD,
    TERMINATE,
    WAIT,
)
from app.background.mailbox.checks import answers_queries, check_delivery, check_size, check_start
from app.background.mailbox.control import RECORD_KEY, Record, description_of
from app.background.mailbox.effects import carry_out
from app.background.mailbox.rules import Mailbox
from app.background.mailbox.store import CHILDREN_KEY, Children, get, load, load_all, save
from app.background.protocol import (
    MAILBOX,
    AgentDescription,
    Child,
    Close,
    Delivered,
    Delivery,
    End,
    Handled,
    NextRun,
    RunOfAgent,
    Started,
    StartRequest,
    StopRequest,
    WaitRequest,
)
from app.background.query import QueryTarget
from app.boundary import PATIENT_RETRIES, PUBLIC_RETRIES, private_handler
from app.errors import UsageError

background_agent = VirtualObject(
    MAILBOX,
    description="Directory and mailbox of one background agent. Clients reach it through BackgroundAgents.",
    ingress_private=True,
    enable_lazy_state=True,
)


# For clients, through BackgroundAgents


@private_handler(background_agent, START, retries=PATIENT_RETRIES)
async def start(ctx: ObjectContext, request: StartRequest) -> Started:
    """Start the agent, or send it the event if it runs."""
    return await _start(ctx, request)


@private_handler(background_agent, DELIVER, retries=PATIENT_RETRIES)
async def deliver(ctx: ObjectContext, delivery: Delivery) -> Delivered:
    """Number an event and send it to the run."""
    mailbox = await load(ctx)
    _check_delivery(mailbox, delivery)
    seq = mailbox.deliver(delivery)
    await _commit(ctx, mailbox)
    return Delivered(agent_id=ctx.key(), run_id=mailbox.known().run_id, seq=seq)


@private_handler(
    background_agent, LOOK, kind="shared", retries=PUBLIC_RETRIES, journal_retention=timedelta(0)
)  # a read leaves nothing behind
async def look(ctx: ObjectSharedContext, delivery: Delivery) -> QueryTarget:
    """Return the run that a query is for, and the last event that was accepted before it."""
    mailbox = Mailbox(ctx.key(), await get(ctx, RECORD_KEY, Record))
    _check_delivery(mailbox, delivery)
    record = mailbox.open(delivery.run_id)
    can_be_asked = await answers_queries(ctx, record.agent_name)
    return QueryTarget(
        agent_name=record.agent_name, run_id=record.run_id, through=record.last_seq, answers_queries=can_be_asked
    )


@private_handler(background_agent, CANCEL, retries=PATIENT_RETRIES)
async def cancel(ctx: ObjectContext, request: StopRequest) -> None:
    """Ask the agent to end."""
    mailbox = await load(ctx)
    if _is_meant(mailbox, request):
        mailbox.cancel(run_id=request.run_id)
        await _commit(ctx, mailbox)


@private_handler(background_agent, TERMINATE, retries=PATIENT_RETRIES)
async def terminate(ctx: ObjectContext, request: StopRequest) -> None:
    """End the agent at once."""
    mailbox = await load_all(ctx)
    if _is_meant(mailbox, request):
        mailbox.terminate(run_id=request.run_id)
        await _commit(ctx, mailbox)


@private_handler(background_agent, WAIT, retries=PATIENT_RETRIES)
async def wait(ctx: ObjectContext, request: WaitRequest) -> None:
    """Register an awakeable for the outcome."""
    mailbox = await load(ctx)
    mailbox.wait(request.waiter, run_id=request.run_id)
    await _commit(ctx, mailbox)


@private_handler(background_agent, PURGE, retries=PATIENT_RETRIES)
async def purge(ctx: ObjectContext) -> None:
    """Erase what is known of an agent that has ended."""
    mailbox = await load(ctx)
    mailbox.require_ended()
    ctx.clear_all()


@private_handler(background_agent, DESCRIBE, kind="shared", retries=PATIENT_RETRIES)
async def describe(ctx: ObjectSharedContext) -> AgentDescription:
    """Return the status of the agent, its run and its children."""
    children = get(ctx, CHILDREN_KEY, Children)
    mailbox = Mailbox(ctx.key(), await get(ctx, RECORD_KEY, Record))
    known = await children or Children()
    return description_of(ctx.key(), mailbox.known(), tuple(child.agent_id for child in known.children))


# For runs


@private_handler(background_agent, HANDLED, retries=PATIENT_RETRIES)
async def handled(ctx: ObjectContext, report: Handled) -> None:
    """Forget events that were handled."""
    mailbox = await load(ctx)
    mailbox.handled(report)
    await _commit(ctx, mailbox)


@private_handler(background_agent, NEXT_RUN, retries=PATIENT_RETRIES)
async def next_run(ctx: ObjectContext, request: NextRun) -> None:
    """Continue as new."""
    mailbox = await load_all(ctx)
    mailbox.next_run(request)
    await _commit(ctx, mailbox)


@private_handler(background_agent, CLOSE, retries=PATIENT_RETRIES)
async def close(ctx: ObjectContext, request: Close) -> None:
    """Close the agent unless it must handle more events. The answer goes to the awakeable of the run."""
    mailbox = await load_all(ctx)
    mailbox.close(request)
    await _commit(ctx, mailbox)


@private_handler(background_agent, END, retries=PATIENT_RETRIES)
async def end(ctx: ObjectContext, request: End) -> None:
    """Close the agent after its last events."""
    mailbox = await load_all(ctx)
    mailbox.end(request)
    await _commit(ctx, mailbox)


@private_handler(background_agent, RUN_DIED, retries=PATIENT_RETRIES)
async def run_died(ctx: ObjectContext, request: RunOfAgent) -> None:
    """Close the agent of a run that was killed."""
    mailbox = await load_all(ctx)
    mailbox.run_died(request.run_id)
    await _commit(ctx, mailbox)


# For parents and children


@private_handler(background_agent, START_CHILD, retries=PATIENT_RETRIES)
async def start_child(ctx: ObjectContext, request: StartRequest) -> None:
    """Start the agent as a child. The answer goes to the awakeable of the parent's run."""
    reply = request.reply or ""
    try:
        check_size(request.input, f"The input of {request.agent_name}")  # no client, so nobody has checked it yet
        started = await _start(ctx, request)
    except UsageError as exc:
        ctx.reject_awakeable(reply, text_of(exc), status_of(exc))
    else:
        ctx.resolve_awakeable(reply, started)


@private_handler(background_agent, ADOPT, retries=PATIENT_RETRIES)
async def adopt(ctx: ObjectContext, child: Child) -> None:
    """Note a child that has started."""
    mailbox = await load_all(ctx)
    mailbox.adopt(child)
    await _commit(ctx, mailbox)


@private_handler(background_agent, DISOWN, retries=PATIENT_RETRIES)
async def disown(ctx: ObjectContext, child: Child) -> None:
    """Forget a child that has ended."""
    mailbox = await load_all(ctx)
    mailbox.disown(child.agent_id)
    await _commit(ctx, mailbox)


async def _commit(ctx: ObjectContext, mailbox: Mailbox) -> None:
    """Carry out what the change wants done, and store it."""
    await carry_out(ctx, mailbox)
    save(ctx, mailbox)


async def _start(ctx: ObjectContext, request: StartRequest) -> Started:
    checked = await check_start(ctx, request)
    mailbox = await load(ctx)
    started = mailbox.start(checked)
    await _commit(ctx, mailbox)
    return Started(agent_id=ctx.key(), run_id=mailbox.known().run_id, started=started)


def _check_delivery(mailbox: Mailbox, delivery: Delivery) -> None:
    """Check against the class, if this process serves it. Errors: NotFound, UsageError."""
    definition = registry.find_agent(mailbox.known().agent_name)
    if definition is not None:
        check_delivery(definition, delivery)


def _is_meant(mailbox: Mailbox, request: StopRequest) -> bool:
    """Return whether the request is for this agent. A parent's is for its own running child only."""
    if request.parent_id is None:
        return True
    record = mailbox.record
    return record is not None and record.parent_id == request.parent_id and record.outcome is None

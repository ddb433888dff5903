"""The stored state of one background agent: loads it as a Mailbox, carries out what a change wants done, stores it.

State is lazy: a handler reads the keys it needs, so an event costs the same at any age. Decides nothing.
"""

from typing import TypeVar, cast

from restate import ObjectContext, ObjectSharedContext, RestateDurableFuture

from app.background.mailbox.control import (
    Answer,
    CancelRun,
    Effect,
    Forget,
    Keep,
    KillRun,
    Record,
    Refuse,
    Signal,
    StartRun,
    StopChild,
    TellParent,
)
from app.background.mailbox.mail import signal_of, tell_agent, tell_runs
from app.background.mailbox.rules import Mailbox
from app.background.protocol import RUN, Child, Event, ParentClosePolicy, RunOfAgent, StopRequest
from app.values import Stored

S = TypeVar("S", bound=Stored)

RECORD_KEY = "agent"
CHILDREN_KEY = "children"


class Children(Stored):
    """The children of an agent that have not ended."""

    children: tuple[Child, ...] = ()


async def load(ctx: ObjectContext) -> Mailbox:
    return Mailbox(ctx.key(), await get(ctx, RECORD_KEY, Record))


async def load_all(ctx: ObjectContext) -> Mailbox:
    """Load the mailbox with its events and children."""
    children = get(ctx, CHILDREN_KEY, Children)
    record = await get(ctx, RECORD_KEY, Record)
    numbers = range(record.handled + 1, record.last_seq + 1) if record else ()
    reads = [get(ctx, _event_key(seq), Event) for seq in numbers]
    events = [event for read in reads if (event := await read) is not None]
    return Mailbox(ctx.key(), record, events, (await children or Children()).children)


async def commit(ctx: ObjectContext, mailbox: Mailbox) -> None:
    """Carry out the effects, then store what changed."""
    for effect in mailbox.effects:
        await _carry_out(ctx, mailbox, effect)
    if mailbox.record is not None:
        ctx.set(RECORD_KEY, mailbox.record)
    if mailbox.children_changed:
        ctx.set(CHILDREN_KEY, Children(children=tuple(mailbox.children)))


async def _carry_out(ctx: ObjectContext, mailbox: Mailbox, effect: Effect) -> None:
    match effect:
        case StartRun(run):
            sent = ctx.generic_send(run.agent_name, RUN, run.model_dump_json().encode())
            mailbox.started(await sent.invocation_id())
            tell_runs(ctx, "watch", RunOfAgent(agent_id=ctx.key(), run_id=mailbox.known().run_id))
        case Signal(event):
            ctx.resolve_signal(mailbox.known().run_id, signal_of(event.seq), event)
        case Keep(event):
            ctx.set(_event_key(event.seq), event)
        case Forget(first, last):
            for seq in range(first, last + 1):
                ctx.clear(_event_key(seq))
        case Answer(awakeable_id, value):
            ctx.resolve_awakeable(awakeable_id, value)
        case Refuse(awakeable_id, text, status):
            ctx.reject_awakeable(awakeable_id, text, status)
        case CancelRun():
            ctx.cancel_invocation(mailbox.known().run_id)
        case KillRun(run_id):
            tell_runs(ctx, "kill", RunOfAgent(agent_id=ctx.key(), run_id=run_id))
        case StopChild(child):
            if child.policy is not ParentClosePolicy.ABANDON:
                how = "terminate" if child.policy is ParentClosePolicy.TERMINATE else "cancel"
                tell_agent(ctx, child.agent_id, how, StopRequest(parent_id=ctx.key()))
        case TellParent(parent_id, policy):
            child = Child(agent_id=ctx.key(), policy=policy or ParentClosePolicy.ABANDON)
            tell_agent(ctx, parent_id, "disown" if policy is None else "adopt", child)


def _event_key(seq: int) -> str:
    return f"event/{seq}"


def get(ctx: ObjectContext | ObjectSharedContext, key: str, model: type[S]) -> RestateDurableFuture[S | None]:
    """Start to read one state key; reads that are started before the first is awaited share a round trip."""
    return cast("RestateDurableFuture[S | None]", ctx.get(key, type_hint=model))

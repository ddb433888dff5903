"""What a change of a mailbox wants done, carried out: runs, events, answers, and what relatives are told.

What happens is decided in `rules.py`, here only by which calls.
"""

from restate import ObjectContext

from app.background.mailbox.addresses import ADOPT, CANCEL, DISOWN, TERMINATE
from app.background.mailbox.control import (
    Answer,
    CancelRun,
    Effect,
    Forget,
    Keep,
    KillRun,
    Refuse,
    Signal,
    StartRun,
    StopChild,
    TellParent,
)
from app.background.mailbox.rules import Mailbox
from app.background.mailbox.store import event_key
from app.background.protocol import Child, ParentClosePolicy, RunOfAgent, StopRequest
from app.background.run.addresses import KILL, WATCH, run_of, signal_of


async def carry_out(ctx: ObjectContext, mailbox: Mailbox) -> None:
    """Carry out the effects of a change, in order."""
    for effect in mailbox.effects:
        await _do(ctx, mailbox, effect)


async def _do(ctx: ObjectContext, mailbox: Mailbox, effect: Effect) -> None:
    match effect:
        case StartRun(run):
            sent = run_of(run.agent_name).send(ctx, run)
            mailbox.started(await sent.invocation_id())
            WATCH.send(ctx, RunOfAgent(agent_id=ctx.key(), run_id=mailbox.known().run_id))
        case Signal(event):
            ctx.resolve_signal(mailbox.known().run_id, signal_of(event.seq), event)
        case Keep(event):
            ctx.set(event_key(event.seq), event)
        case Forget(first, last):
            for seq in range(first, last + 1):
                ctx.clear(event_key(seq))
        case Answer(awakeable_id, value):
            ctx.resolve_awakeable(awakeable_id, value)
        case Refuse(awakeable_id, text, status):
            ctx.reject_awakeable(awakeable_id, text, status)
        case CancelRun():
            ctx.cancel_invocation(mailbox.known().run_id)
        case KillRun(run_id):
            KILL.send(ctx, RunOfAgent(agent_id=ctx.key(), run_id=run_id))
        case StopChild(child):
            if child.policy is not ParentClosePolicy.ABANDON:
                stop = TERMINATE if child.policy is ParentClosePolicy.TERMINATE else CANCEL
                stop.send(ctx, child.agent_id, StopRequest(parent_id=ctx.key()))
        case TellParent(parent_id, policy):
            child = Child(agent_id=ctx.key(), policy=policy or ParentClosePolicy.ABANDON)
            (DISOWN if policy is None else ADOPT).send(ctx, parent_id, child)

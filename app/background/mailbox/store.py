"""The stored state of one background agent: its keys, and the mailbox that they hold.

State is lazy: a handler reads the keys it needs, so an event costs the same at any age. Sends nothing.
"""

from typing import TypeVar, cast

from restate import ObjectContext, ObjectSharedContext, RestateDurableFuture

from app.background.mailbox.control import RECORD_KEY, Record
from app.background.mailbox.rules import Mailbox
from app.background.protocol import Child, Event
from app.values import Stored

S = TypeVar("S", bound=Stored)

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
    reads = [get(ctx, event_key(seq), Event) for seq in numbers]
    events = [event for read in reads if (event := await read) is not None]
    return Mailbox(ctx.key(), record, events, (await children or Children()).children)


def save(ctx: ObjectContext, mailbox: Mailbox) -> None:
    """Store what changed. The events are stored one by one, with the effects of the change."""
    if mailbox.record is not None:
        ctx.set(RECORD_KEY, mailbox.record)
    if mailbox.children_changed:
        ctx.set(CHILDREN_KEY, Children(children=tuple(mailbox.children)))


def event_key(seq: int) -> str:
    return f"event/{seq}"


def get(ctx: ObjectContext | ObjectSharedContext, key: str, model: type[S]) -> RestateDurableFuture[S | None]:
    """Start to read one state key. Reads that are started before the first is awaited share a round trip."""
    return cast("RestateDurableFuture[S | None]", ctx.get(key, type_hint=model))

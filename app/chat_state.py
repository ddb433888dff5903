"""The stored state of one chat: loads it as a Conversation, carries out what a change wants done, and stores it.

State is lazy: a handler reads the keys it needs, so its cost does not grow with the history. Decides nothing.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import TypeVar, cast

from restate import ObjectContext, ObjectSharedContext, RestateDurableFuture

from app import agent_session
from app.context import estimate_tokens
from app.conversation import Conversation
from app.durable import get_logger
from app.protocol import Context, Limits, Receipt, Ring, TurnRef, TurnStart
from app.session import Cancel, Effect, RingDoorbell, Session, Settle, Start
from app.settings import Settings
from app.transcript import Stored, Turn, TurnStatus

S = TypeVar("S", bound=Stored)

SESSION_KEY = "session"
IN_CONTEXT = (TurnStatus.COMPLETED, TurnStatus.INTERRUPTED, TurnStatus.FAILED, TurnStatus.LIMIT_REACHED)

SETTLE_DELAY = timedelta(milliseconds=250)  # so that it does not stand between an interrupted turn and the next one

logger = get_logger("chat")


class StoredReceipt(Stored):
    """The receipt of a message with an id of the client's, and the text it was given for."""

    receipt: Receipt
    content: str


def turn_key(turn_id: int) -> str:
    return f"turn/{turn_id}"


def receipt_key(message_id: str) -> str:
    return f"message/{message_id}"


async def load(ctx: ObjectContext | ObjectSharedContext, *turn_ids: int) -> Conversation:
    """Load the chat with all its open turns. Naming the turns that a handler is about saves a round trip."""
    session_read = get(ctx, SESSION_KEY, Session)
    turn_reads = [get(ctx, turn_key(turn_id), Turn) for turn_id in turn_ids]
    session = await session_read or Session()
    turns = [turn for read in turn_reads if (turn := await read) is not None]
    missing = [turn.turn_id for turn in session.open if turn.turn_id not in turn_ids]
    return Conversation(session, [*turns, *await load_turns(ctx, missing)])


async def load_turns(ctx: ObjectContext | ObjectSharedContext, turn_ids: Iterable[int]) -> list[Turn]:
    """Load turns in one round trip, in the order of `turn_ids`; unknown ones are left out."""
    reads = [get(ctx, turn_key(turn_id), Turn) for turn_id in turn_ids]
    return [turn for read in reads if (turn := await read) is not None]


async def commit(ctx: ObjectContext, conversation: Conversation, settings: Settings) -> None:
    """Carry out the effects, then store what changed. Nothing is stored if the handler is cancelled on the way."""
    for effect in conversation.effects:
        await _carry_out(ctx, conversation, effect, settings)
    for turn_id in sorted(conversation.changed):
        put(ctx, turn_key(turn_id), conversation.turns[turn_id])
    if conversation.session_changed:
        put(ctx, SESSION_KEY, conversation.session)


async def _carry_out(ctx: ObjectContext, conversation: Conversation, effect: Effect, settings: Settings) -> None:
    match effect:
        case Cancel(invocation_id):
            ctx.cancel_invocation(invocation_id)
        case RingDoorbell(awakeable_id, steer, content):
            ctx.resolve_awakeable(awakeable_id, Ring(steer=steer, content=content))
        case Settle(turn_id):  # after its Start, so that it waits in the queue of the key behind the run
            run_id = conversation.turns[turn_id].invocation_id
            ref = TurnRef(turn_id=turn_id, invocation_id=run_id)
            ctx.object_send(agent_session.settle, ctx.key(), ref, send_delay=SETTLE_DELAY)
        case Start(turn_id, with_context):
            logger.info("Starting new agent run")
            context = await context_of(ctx, conversation, turn_id, settings) if with_context else None
            start = TurnStart(turn_id=turn_id, limits=_limits(settings), context=context)
            run = ctx.object_send(agent_session.run, ctx.key(), start)
            conversation.started(turn_id, await run.invocation_id())


def context_range(turn_id: int, settings: Settings) -> range:
    """Return the earlier turns that the LLM may see at the start of a turn."""
    return range(max(1, turn_id - settings.context_turns), turn_id)


async def context_of(ctx: ObjectContext, conversation: Conversation, turn_id: int, settings: Settings) -> Context:
    """Return what the LLM sees at the start of a turn: the newest earlier turns that fit the budget, and its own."""
    known = conversation.turns
    earlier = context_range(turn_id, settings)
    known |= {turn.turn_id: turn for turn in await load_turns(ctx, [n for n in earlier if n not in known])}
    budget = settings.context_tokens
    history = []
    for n in reversed(earlier):
        turn = known.get(n)
        if turn is None or turn.status not in IN_CONTEXT:
            continue
        budget -= estimate_tokens(turn.items)
        if budget < 0:
            break
        history.append(turn.items)
    return Context(history=tuple(reversed(history)), current=known[turn_id].items)


def get(ctx: ObjectContext | ObjectSharedContext, key: str, model: type[S]) -> RestateDurableFuture[S | None]:
    """Start to read one state key; reads that are started before the first is awaited share a round trip."""
    return cast("RestateDurableFuture[S | None]", ctx.get(key, type_hint=model))


def put(ctx: ObjectContext, key: str, value: Stored) -> None:
    ctx.set(key, value)


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_iterations=settings.max_iterations,
        tool_concurrency=settings.tool_concurrency,
        max_tool_result_chars=settings.max_tool_result_chars,
        llm_attempts=settings.llm_attempts,
    )

"""What a change of a chat wants done, carried out: runs are sent, cancelled, rung and looked after.

Decides nothing, stores nothing.
"""

import hashlib
from collections.abc import Iterable
from datetime import timedelta

from restate import ObjectContext, ObjectSharedContext

from app.durable import abort_now, get_logger, is_here, replaying
from app.settings import Settings
from app.turns.addresses import PROBE, RUN, SETTLE, SUM_UP, decision_name, ring_name
from app.turns.calls.head_start import head_starts
from app.turns.compaction.protocol import SummaryRequest
from app.turns.control import Cancel, Decide, Effect, OpenTurn, Probe, RingDoorbell, RingRun, Settle, Start, SumUp
from app.turns.conversation import Conversation
from app.turns.protocol import Limits, ProbeRequest, Ring, TurnRef, TurnStart

SETTLE_DELAY = timedelta(milliseconds=250)  # so that it does not stand between an interrupted turn and the next one
SUM_UP_DELAY = timedelta(milliseconds=500)  # the next message comes first, and the turn is stored by then

logger = get_logger("chat")


async def carry_out(ctx: ObjectContext, conversation: Conversation, settings: Settings) -> None:
    """Carry out the effects of a change, in order. It is stored afterwards: not at all if the handler is cancelled."""
    for effect in conversation.effects:
        await _do(ctx, conversation, effect, settings)


async def _do(ctx: ObjectContext, conversation: Conversation, effect: Effect, settings: Settings) -> None:
    match effect:
        case Cancel(invocation_id):
            abort_now(invocation_id, "cancellation")
            head_starts.drop(ctx.key())
            ctx.cancel_invocation(invocation_id)
        case RingRun(invocation_id, number, steer, content):
            if steer:
                abort_now(invocation_id, "steering")
            ctx.resolve_signal(invocation_id, ring_name(number), Ring(steer=steer, content=content))
        case Decide(invocation_id, approval_id, resolution):
            ctx.resolve_signal(invocation_id, decision_name(approval_id), resolution)
        case RingDoorbell(awakeable_id, steer, content):
            ctx.resolve_awakeable(awakeable_id, Ring(steer=steer, content=content))
        case Settle(turn_id):  # after its Start, so that it waits in the queue of the key behind the run
            run_id = conversation.turns[turn_id].invocation_id
            ref = TurnRef(turn_id=turn_id, invocation_id=run_id)
            SETTLE.send(ctx, ctx.key(), ref, delay=SETTLE_DELAY)
        case Probe(turn_ids):
            send_probe(ctx, (turn for turn in conversation.session.open if turn.turn_id in turn_ids))
        case SumUp():
            request = SummaryRequest(attempts=settings.llm_attempts, context_tokens=settings.context_tokens)
            sent = SUM_UP.send(ctx, ctx.key(), request, delay=SUM_UP_DELAY)
            conversation.summary_sent(await sent.invocation_id())
        case Start(turn_id, messages, memory):
            logger.info("Starting new agent run for %s (turn %d)", ctx.key(), turn_id)
            items = tuple(message.item for message in messages)
            start = TurnStart(turn_id=turn_id, limits=_limits(settings), messages=items, memory=memory)
            if not replaying():
                head_starts.expect(ctx.key(), start)
            run = RUN.send(ctx, ctx.key(), start)
            conversation.started(turn_id, await run.invocation_id())


def send_probe(
    ctx: ObjectContext | ObjectSharedContext, turns: Iterable[OpenTurn], *, delay: timedelta | None = None
) -> None:
    """Have the runs of these turns probed, now or later; while such a probe of the same runs is open, it is enough.

    Later: not those that run in this process, and are alive. A probe costs as much as a third of a turn (measured).
    """
    sent = [turn for turn in turns if turn.sent and (delay is None or not is_here(turn.invocation_id))]
    refs = tuple(TurnRef(turn_id=turn.turn_id, invocation_id=turn.invocation_id) for turn in sent)
    if refs:
        names = " ".join([*(ref.invocation_id for ref in refs), "" if delay is None else "later"])
        same = hashlib.sha256(names.encode()).hexdigest()
        request = ProbeRequest(turns=refs)
        PROBE.send(ctx, ctx.key(), request, idempotency_key=same, delay=delay)


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_iterations=settings.max_iterations,
        tool_concurrency=settings.tool_concurrency,
        max_tool_result_chars=settings.max_tool_result_chars,
        llm_attempts=settings.llm_attempts,
        context_tokens=settings.context_tokens,
        context_turns=settings.context_turns,
        summary_share=settings.context_summary_share,
        approval_timeout_s=settings.approval_timeout_s,
        max_turn_tokens=settings.max_turn_tokens,
    )

"""ChatService: the controller of one chat, keyed by user. Every change of a chat goes through its exclusive handlers.

The handlers are short: load the conversation, decide, carry out the effects, store, answer. None waits for a turn, an
LLM or a tool. What a message does is decided in `turns/modes.py` and `turns/conversation.py`.
"""

from collections.abc import Callable
from datetime import timedelta

from restate import ObjectContext, ObjectSharedContext, RunOptions, VirtualObject

from app.boundary import handler, private_handler
from app.chat_agents.ending import end_agents
from app.chat_agents.offered import OFFERED
from app.durable import get_logger
from app.engine.erasure import erase_all
from app.engine.unfit import why_ended
from app.errors import NotFound
from app.live.hints import note_change
from app.settings import get_settings
from app.turns import addresses as at
from app.turns import protocol
from app.turns.approval import protocol as approval
from app.turns.approval.asking import resolution_of
from app.turns.approval.rules import settled_before, turn_of
from app.turns.arriving.messages import receive
from app.turns.compaction.keeping import offer_summaries
from app.turns.conversation import Conversation
from app.turns.effects import carry_out, send_probe
from app.turns.protocol import Receipt, TurnRef
from app.turns.reading import protocol as reading
from app.turns.reading.history import Look, LookRequest, status_of, view_of
from app.turns.rollback.rules import RollbackPreview
from app.turns.store import (
    SESSION_KEY,
    StoredReceipt,
    context_of,
    get,
    load,
    load_changed,
    load_page,
    load_session,
    load_session_or_nothing,
    load_turn,
    put,
    receipt_key,
    save,
)
from app.turns.transcript import Message, Resolution
from app.turns.waiting import protocol as waiting
from app.turns.waiting.limits import require_not_too_long

chat_service = VirtualObject(
    at.CHAT_SERVICE,
    description="One chat: takes messages while the agent works, and shows what was said.",
    enable_lazy_state=True,
)
logger = get_logger("chat")

# Clients look at a chat while its turn runs, often: by then most turns have ended, and the probe finds nothing to do.
READ_PROBE_DELAY = timedelta(seconds=3)

# For people


@handler(chat_service)
async def process_user_message(ctx: ObjectContext, message: protocol.UserMessage) -> Receipt:
    """Send a message to the agent. If it is busy, the mode says what happens: INTERRUPT, ROLLBACK, INCORPORATE, STEER,
    QUEUE or REJECT. Answers at once with a receipt; `get_chat_history` shows the reply."""
    settings = get_settings()
    require_not_too_long(message.content, settings)
    first_receipt = get(ctx, receipt_key(message.message_id), StoredReceipt) if message.message_id else None
    conversation = await load(ctx)
    if first_receipt is not None and (stored := await first_receipt) is not None:
        send_probe(ctx, conversation.session.open)
        return stored.again(message)

    accepted = Message(
        message_id=message.message_id or str(ctx.uuid()),
        content=message.content,
        mode=message.mode or conversation.session.mode or settings.mode,
    )
    receipt = await receive(ctx, conversation, accepted, settings)
    text = message.content if message.message_id else None
    put(ctx, receipt_key(receipt.message_id), StoredReceipt(receipt=receipt, content=text))
    return receipt


@handler(chat_service, kind="shared")
async def get_chat_history(ctx: ObjectSharedContext, request: reading.HistoryRequest) -> reading.History:
    """Show the last turns of the chat, oldest first; `before_turn` and `limit` (in turns) page back."""
    conversation = await load(ctx)
    page = await load_page(ctx, conversation, request)
    send_probe(ctx, conversation.session.open, delay=READ_PROBE_DELAY)  # the last command, see durable/here.py
    return page


@handler(chat_service, kind="shared")
async def get_status(ctx: ObjectSharedContext) -> reading.ChatStatus:
    """Show the mode of the chat, its open turns, and the messages that wait, with their ids."""
    conversation = await load(ctx)
    # A chat that somebody looks at does not stand still.
    send_probe(ctx, conversation.session.open, delay=READ_PROBE_DELAY)
    return status_of(conversation.session, conversation.turns, get_settings().mode)


@handler(chat_service, kind="shared", idempotency_retention=timedelta(0), journal_retention=timedelta(0))
async def look(ctx: ObjectSharedContext, request: LookRequest) -> Look:
    """Show the state of the chat and the turns that may have changed since turn `after_turn`, the last known one that
    had closed and before which all had. For programs that show the chat; Restate keeps nothing of it."""
    conversation = await load(ctx)
    turns = await load_changed(ctx, conversation, request)
    if request.heal:
        send_probe(ctx, conversation.session.open, delay=READ_PROBE_DELAY)  # the last command, see durable/here.py
    status = status_of(conversation.session, conversation.turns, get_settings().mode)
    return Look(status=status, turns=[view_of(turn) for turn in turns])


@handler(chat_service, kind="shared")
async def preview_rollback(ctx: ObjectSharedContext) -> RollbackPreview:
    """Show what ROLLBACK, or `stop` with `rollback`, would undo in the open turn, and what it could not."""
    conversation = await load(ctx)
    return conversation.preview(lambda name: (tool := OFFERED.get(name)) is not None and tool.compensate is not None)


@handler(chat_service)
async def stop(ctx: ObjectContext, request: waiting.StopRequest) -> waiting.StopAnswer:
    """End the open turn; `queue` says what becomes of the messages that wait: `withdraw`, `hold` until `resume`, or
    `send` (they begin the next turn, at once). With `turn_id`, only if that turn is open."""
    conversation = await load(ctx)
    answer = conversation.stop(request.turn_id, request.queue, rollback=request.rollback)
    if answer.turn_id is not None:
        logger.info("Stopping agent run for %s (turn %d)", ctx.key(), answer.turn_id)
    await _commit(ctx, conversation)
    return answer


@handler(chat_service)
async def resume(ctx: ObjectContext, request: waiting.ResumeRequest) -> waiting.ResumeAnswer:
    """Have held messages answered, behind the open turns; all of them, or those named in `message_ids`."""
    conversation = await load(ctx)
    receipts = conversation.resume(request.message_ids)
    await _commit(ctx, conversation)
    return waiting.ResumeAnswer(resumed=tuple(receipts))


@handler(chat_service)
async def set_mode(ctx: ObjectContext, request: protocol.ModeRequest) -> protocol.ModeAnswer:
    """Set what messages without a mode of their own do in this chat; null gives that back to the service's MODE."""
    session = await load_session(ctx)
    put(ctx, SESSION_KEY, session.changed(mode=request.mode))
    note_change(ctx.key())
    return protocol.ModeAnswer(mode=request.mode or get_settings().mode)


@handler(chat_service)
async def edit_queued_message(ctx: ObjectContext, request: waiting.EditRequest) -> waiting.ChangeAnswer:
    """Change the text of a message that waits; `already_taken` if the agent has it."""
    return await _change_waiting(ctx, request.message_id, lambda chat: chat.edit(request.message_id, request.content))


@handler(chat_service)
async def withdraw_queued_message(ctx: ObjectContext, request: waiting.MessageRequest) -> waiting.ChangeAnswer:
    """Take back a message that waits; `already_taken` if the agent has it."""
    return await _change_waiting(ctx, request.message_id, lambda chat: chat.edit(request.message_id, None))


@handler(chat_service)
async def promote_queued_message(ctx: ObjectContext, request: waiting.MessageRequest) -> waiting.ChangeAnswer:
    """Give a message that waits to the agent now, ahead of the others, as mode STEER does."""
    return await _change_waiting(ctx, request.message_id, lambda chat: chat.promote(request.message_id))


@handler(chat_service)
async def hold_queued_message(ctx: ObjectContext, request: waiting.MessageRequest) -> waiting.ChangeAnswer:
    """Set a message that waits aside, until `resume`; `already_taken` if the agent has it."""
    return await _change_waiting(ctx, request.message_id, lambda chat: chat.hold(request.message_id))


@handler(chat_service)
async def resolve_approval(ctx: ObjectContext, request: approval.ResolveRequest) -> approval.ResolveAnswer:
    """Approve or reject a tool call that waits for it; `get_status` shows its ids. `arguments` replace those that the
    LLM wrote; `answer` is for a call that asks a question. Sent again, it changes nothing."""
    conversation = await load(ctx)
    if (waits := conversation.waiting_approval(request)) is None:
        send_probe(ctx, conversation.session.open)
        return settled_before(await load_turn(ctx, conversation, turn_of(request.approval_id)), request)
    answer = conversation.resolve_approval(waits, resolution_of(request, OFFERED.get(waits.name), waits.question))
    conversation.heal()
    await _commit(ctx, conversation)
    return answer


@handler(chat_service)
async def forget(ctx: ObjectContext) -> None:
    """End everything and erase the chat, also what Restate keeps of its invocations; works whatever is stored."""
    conversation = Conversation(await load_session_or_nothing(ctx), [])
    conversation.forget()
    await carry_out(ctx, conversation, get_settings())
    ctx.clear_all()
    note_change(ctx.key(), forgotten=True)
    end_agents(ctx, conversation.session.agents)
    at.FORGET.send(ctx, ctx.key(), None)
    at.ERASE_JOURNALS.send(ctx, ctx.key(), protocol.EraseRequest(forget_id=ctx.request().id))
    logger.info("Forgot the chat of %s", ctx.key())


# For AgentSession. Each is fenced by turn and invocation: what another run says changes nothing.


@private_handler(chat_service, at.BEGIN_TURN)
async def begin_turn(ctx: ObjectContext, request: protocol.BeginTurn) -> protocol.BeginAnswer:
    """Let a turn run, and return what it begins with; no context if it was withdrawn."""
    conversation = await load(ctx)
    if not conversation.begin(request):
        return protocol.BeginAnswer(context=None)
    known = conversation.session.expected
    if known is not None and request.memory is not None and known.is_met_by(request.memory):
        context = protocol.Context(history=(), current=conversation.turns[request.turn_id].items)
    else:
        known = None
        context = await context_of(ctx, conversation, request.turn_id, get_settings())
    await _commit(ctx, conversation)
    return protocol.BeginAnswer(context=context, remembered=known, rings=conversation.rings(request))


@private_handler(chat_service, at.READY)
async def ready(ctx: ObjectContext, request: protocol.Ready) -> None:
    """Register the doorbell of a run of the version before."""
    conversation = await load(ctx)
    conversation.arm(request, request.doorbell, steer_only=request.steer_only)
    await _commit(ctx, conversation)


@private_handler(chat_service, at.TAKE_INPUT)
async def take_input(ctx: ObjectContext, request: protocol.TakeInput) -> protocol.TakenInput:
    """Hand the waiting messages over, once."""
    conversation = await load(ctx)
    taken = conversation.take(request)
    await _commit(ctx, conversation)
    return taken


@private_handler(chat_service, at.RECORD)
async def record(ctx: ObjectContext, report: protocol.Report) -> None:
    """Store what an iteration produced."""
    conversation = await load(ctx)
    conversation.record(report)
    await _commit(ctx, conversation)


@private_handler(chat_service, at.END_TURN)
async def end_turn(ctx: ObjectContext, report: protocol.EndTurn) -> protocol.TurnEnd:
    """Close a turn, or give it the messages that came before it could end."""
    conversation = await load(ctx)
    answer = conversation.end(report)
    await _commit(ctx, conversation)
    if report.listens:
        ctx.resolve_signal(report.invocation_id, at.end_name(report.listens), answer)
    return answer


@private_handler(chat_service, at.EXPIRE_APPROVAL)
async def expire_approval(ctx: ObjectContext, ref: approval.ApprovalRef) -> Resolution:
    """Let an approval expire, unless somebody has resolved it meanwhile; answer how it was resolved."""
    conversation = await load(ctx)
    resolution = conversation.expire(ref)
    await _commit(ctx, conversation)
    return resolution


@private_handler(chat_service, at.SETTLE_TURN)
async def settle_turn(ctx: ObjectContext, ref: TurnRef) -> None:
    """Close a turn whose run is over but did not live to say so."""
    conversation = await load(ctx)
    if not conversation.is_open(ref):
        return
    why = await ctx.run_typed("why it ended", why_ended, RunOptions(), ref.invocation_id)
    conversation.settle(ref, why)
    logger.warning("Agent run for %s (turn %d) ended from outside; its turn is closed", ctx.key(), ref.turn_id)
    await _commit(ctx, conversation)


@private_handler(chat_service, at.ERASE_JOURNALS, kind="shared", journal_retention=timedelta(0))
async def erase_journals(ctx: ObjectSharedContext, request: protocol.EraseRequest) -> None:
    """Erase the journals of a forgotten chat once its invocations have ended; they have a minute for that."""
    await erase_all(ctx, ctx.key(), request.forget_id)


async def _commit(ctx: ObjectContext, conversation: Conversation) -> None:
    """Carry out what the change wants done, and store it."""
    note_change(ctx.key())
    await carry_out(ctx, conversation, get_settings())
    save(ctx, conversation)


offer_summaries(chat_service, _commit)


async def _change_waiting(
    ctx: ObjectContext, message_id: str, change: Callable[[Conversation], bool]
) -> waiting.ChangeAnswer:
    receipt = get(ctx, receipt_key(message_id), StoredReceipt)
    conversation = await load(ctx)
    applied = change(conversation)
    # Messages of the version before have no receipt if their id was not the client's.
    if not applied and await receipt is None and not conversation.was_given(message_id):
        raise NotFound(f"No message {message_id!r} is known in this chat; get_status shows those that wait")
    conversation.heal()
    await _commit(ctx, conversation)
    return waiting.ChangeAnswer(result="applied" if applied else "already_taken")

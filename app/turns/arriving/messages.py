"""A message arrives in a chat: its limits, what its mode does, and what of that is stored.

Owns what is the same for messages of users and of background agents. Who may send is not its matter.
"""

from restate import ObjectContext

from app.durable import get_logger
from app.errors import Conflict
from app.live.hints import note_change
from app.settings import Settings
from app.turns.conversation import Conversation
from app.turns.effects import carry_out, send_probe
from app.turns.modes import ANNOUNCEMENTS, Decision
from app.turns.protocol import Receipt
from app.turns.store import save
from app.turns.transcript import Message
from app.turns.waiting.limits import too_many_pending

logger = get_logger("chat")


async def receive(ctx: ObjectContext, conversation: Conversation, message: Message, settings: Settings) -> Receipt:
    """Let a message do what its mode says, and store what that changes.

    Durable: the time, in the journal, where tokens a day are limited.
    Errors: TooManyPending, SpentForToday; Conflict if it is rejected.
    """
    if settings.max_chat_tokens_per_day:
        conversation.require_tokens(await ctx.time(), settings.max_chat_tokens_per_day)
    if (refusal := too_many_pending(conversation.waiting, settings)) is not None:
        send_probe(ctx, conversation.session.open)  # they may wait for a run that is dead
        raise refusal
    ongoing = conversation.session.open[0].turn_id if conversation.session.open else 0
    receipt = conversation.receive(message)
    if receipt.decision in ANNOUNCEMENTS:
        logger.info(ANNOUNCEMENTS[receipt.decision], ctx.key(), ongoing)
    note_change(ctx.key())
    await carry_out(ctx, conversation, settings)
    save(ctx, conversation)
    if receipt.decision is Decision.REJECTED:
        raise Conflict(f"Turn {receipt.turn_id} is open and the mode is REJECT; send this again when it has ended")
    return receipt

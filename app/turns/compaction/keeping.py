"""ChatService's side of the summary: what is to be summed up, and the summary that it keeps.

Two handlers, which `chat.py` puts into ChatService. What they decide is in rules.py.
"""

from collections.abc import AsyncIterator, Awaitable, Callable

from restate import ObjectContext, ObjectSharedContext, VirtualObject

from app.boundary import private_handler
from app.durable import get_logger
from app.turns.addresses import KEEP_SUMMARY, SUMMARY_WORK
from app.turns.compaction.protocol import SummaryReport, SummaryWork, WorkRequest
from app.turns.compaction.request import transcript_of
from app.turns.conversation import Conversation
from app.turns.store import IN_CONTEXT, load, load_session, load_summary, load_turns
from app.turns.transcript import Turn

MOST_TURNS = 200  # before the last one; of a chat that had got long before there were summaries the rest is left out
AT_ONCE = 10  # turns that are read in one round trip; each may be megabytes

Commit = Callable[[ObjectContext, Conversation], Awaitable[None]]

logger = get_logger("chat")


async def summary_work(ctx: ObjectSharedContext, request: WorkRequest) -> SummaryWork:
    """Return what an invocation of ChatSummary is to sum up: the summary so far, and turns after it that have closed.

    Shared: while it reads, the chat goes on. If not all fit one request, the chat asks for the rest later.
    """
    session = await load_session(ctx)
    asked = session.summary and session.summary.asked
    if not asked or asked.invocation_id != request.invocation_id:
        return SummaryWork()
    before = await load_summary(ctx, session)
    first = max(1 if before is None else before.covers + 1, asked.up_to - MOST_TURNS + 1)
    notes = "" if before is None else before.text
    seen = [turn async for turn in _turns(ctx, first, asked.up_to, 4 * request.max_chars)]
    transcript, covers = transcript_of((turn for turn in seen if turn.status in IN_CONTEXT), request.max_chars)
    in_context = [turn.turn_id for turn in seen if turn.status in IN_CONTEXT]
    if in_context[-1:] in ([], [covers]):
        covers = seen[-1].turn_id if seen else asked.up_to
    return SummaryWork(wanted=True, notes=notes, transcript=transcript, covers=covers)


async def _turns(ctx: ObjectSharedContext, first: int, last: int, chars: int) -> AsyncIterator[Turn]:
    """Yield turns in their order, until they have so many characters."""
    for start in range(first, last + 1, AT_ONCE):
        for turn in await load_turns(ctx, range(start, min(start + AT_ONCE, last + 1))):
            yield turn
            chars -= sum(len(item.content) for item in turn.items)
        if chars < 0:
            return


def offer_summaries(chat: VirtualObject, commit: Commit) -> None:
    """Put the handlers into ChatService."""

    async def keep_summary(ctx: ObjectContext, report: SummaryReport) -> None:
        """Keep a summary, or note that there is none."""
        conversation = await load(ctx)
        if not conversation.keep_summary(report):
            logger.info("A summary of %s came too late, and is dropped", ctx.key())
            return
        if conversation.new_summary is not None:
            logger.info("Summed up %s up to turn %d", ctx.key(), report.covers)
        else:
            state = conversation.session.summary
            problem, again = (state.problem, state.not_before) if state is not None else (None, 0)
            logger.warning("No summary of %s: %s Tried again after turn %d.", ctx.key(), problem, again)
        await commit(ctx, conversation)

    private_handler(chat, SUMMARY_WORK, kind="shared")(summary_work)
    private_handler(chat, KEEP_SUMMARY)(keep_summary)

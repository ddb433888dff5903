"""ChatSummary: has the LLM sum up earlier turns of a chat, one summary at a time.

Knows nothing of the chat but what that hands out, and changes nothing: it reports. While it works, neither ChatService
nor AgentSession waits. One that is killed is asked for again by the chat, see rules.py.
"""

import asyncio
import time
from datetime import timedelta

from restate import ObjectContext, VirtualObject

from app.boundary import private_handler
from app.durable import RetryPolicy, get_logger, run_durably, step, wait_for
from app.errors import LLMUnavailable, ReplyTooLong, StepFailed
from app.llm import get_llm
from app.turns.addresses import CHAT_SUMMARY, KEEP_SUMMARY, SUM_UP, SUMMARY_WORK
from app.turns.compaction.protocol import SummaryReport, SummaryRequest, SummaryWork, WorkRequest
from app.turns.compaction.summary import INSTRUCTIONS, Summary, bounded, max_chars, request_text
from app.turns.transcript import Finish, UserItem

chat_summary = VirtualObject(
    CHAT_SUMMARY,
    description="Sums up earlier turns of a chat that gets long. ChatService starts it.",
    ingress_private=True,
    enable_lazy_state=True,
)
logger = get_logger("chat")

LONGEST_CALL_S = 300.0
LATER_S = 5.0  # until the chat is asked once more: its handler may have been killed before it could store what it wants
REQUEST_SHARE = 0.75  # of the window, for the turns in one request; the rest is for instructions, notes and answer


# The turns are in its journal, so Restate keeps none of it.
@private_handler(chat_summary, SUM_UP, journal_retention=timedelta(0), idempotency_retention=timedelta(0))
async def sum_up(ctx: ObjectContext, request: SummaryRequest) -> None:
    """Sum up what the chat wants summed up, and report it; a chat that wants nothing any more is left alone."""
    await run_durably(ctx, _sum_up(ctx, request))


async def _sum_up(ctx: ObjectContext, request: SummaryRequest) -> None:
    work = await _work(ctx, request)
    if not work.wanted:
        await asyncio.sleep(LATER_S)
        work = await _work(ctx, request)
    if not work.wanted:
        return

    async def ask() -> Summary:
        return await _ask(work, max_chars(request.context_tokens))

    invocation_id = ctx.request().id
    retry = RetryPolicy(max_attempts=request.attempts)
    try:
        summary = await step("summary", ask, result_type=Summary, timeout_s=LONGEST_CALL_S, retry=retry)
    except StepFailed as exc:
        report = SummaryReport(invocation_id=invocation_id, covers=work.covers, problem=exc.message)
    else:
        report = SummaryReport(
            invocation_id=invocation_id, covers=work.covers, text=summary.text, made_at=summary.made_at
        )
    KEEP_SUMMARY.send(ctx, ctx.key(), report)


async def _work(ctx: ObjectContext, request: SummaryRequest) -> SummaryWork:
    """Ask the chat what is to be summed up."""
    room = int(request.context_tokens * REQUEST_SHARE) * 4 - max_chars(request.context_tokens)
    wanted = WorkRequest(invocation_id=ctx.request().id, max_chars=max(room, 1000))
    return await wait_for(SUMMARY_WORK.call(ctx, ctx.key(), wanted))


async def _ask(work: SummaryWork, limit: int) -> Summary:
    """Ask the LLM.

    Errors: LLMError; LLMUnavailable for an answer that says nothing.
    """
    if not work.transcript:  # all of it was rolled back
        return Summary(covers=work.covers, text=work.notes or "Nothing was said.", made_at=time.time())
    asked = UserItem(message_id="summary", content=request_text(work.notes, work.transcript))
    try:
        reply = await get_llm().instructed(INSTRUCTIONS).complete([asked])
    except ReplyTooLong as exc:
        text = exc.text
    else:
        if reply.item.finish is Finish.ABORTED:  # the call has swallowed what ended it: the step must know
            raise asyncio.CancelledError
        text = reply.item.content
    if not (text := bounded(text, limit)):
        raise LLMUnavailable("The LLM gave an empty summary.")
    return Summary(covers=work.covers, text=text, made_at=time.time())

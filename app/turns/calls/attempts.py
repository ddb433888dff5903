"""The attempts at one LLM call: each is a durable step, and between two of them a message can end the wait.

Knows when to try again and what is worth keeping; not what the LLM sees, and not what becomes of the turn.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

from app.durable import RetryPolicy, abortable, get_logger, step
from app.errors import LLMError, LLMLimited, ReplyTooLong, StepFailed
from app.llm import Failure, Reply
from app.settings import get_settings
from app.text import words_of
from app.turns.link import ChatLink
from app.turns.transcript import AssistantItem, Finish, Usage, Wait

logger = get_logger("agent_session")

WORD_S = 5.0  # from the end of a call that was foreseen to the word that ended it


class Attempts:
    """The attempts at the LLM call `complete`. `salvaged` is what to keep if none gives a reply: the last with text.

    `ends_at_once`: the turn asks nothing and nobody once it is cancelled, so it need not wait for the word of that.
    A reply that is `ahead` is not recorded yet: until the chat is told of it, what came meanwhile must change nothing.
    """

    def __init__(
        self,
        chat: ChatLink,
        complete: Callable[[], Awaitable[Reply]],
        *,
        max_attempts: int,
        ends_at_once: bool = True,
    ) -> None:
        self._chat = chat
        self._complete = complete
        self._retry = RetryPolicy(max_attempts=max_attempts)
        self._ends_at_once = ends_at_once
        self.salvaged: Reply | None = None

    async def reply(self) -> Reply | None:
        """Return the LLM's reply; or, if a message ended the call or a wait between two, what had arrived, if anything.

        A message during a wait ends it, however long the server asked to wait: a person who writes wants it tried now.
        One that waits for its turn because a limit of ours makes it wait was not made, and does not count.
        Durable: one step for each attempt, one timer between two.
        Errors: StepFailed after the last attempt, asyncio.CancelledError; `salvaged` is then what had arrived.
        """
        attempt = 0
        while True:
            since: float | None = None
            try:
                reply = await self._attempt()
            except StepFailed as exc:  # how journals of earlier versions tell of a failed attempt
                failure = end = exc
            else:
                if reply is None or reply.failure is None:
                    return reply if reply is not None and _has_content(reply) else self.salvaged
                failure, since = _step_failed(reply.failure), reply.ended_at
                end = _step_failed(reply.failure, reply.failure.advice)
            if failure.error_type == LLMLimited.__name__:
                delay_s = failure.retry_after_s
            else:
                attempt += 1
                delay_s = self._retry.delay_s(attempt, failure)
            if delay_s is None:
                raise end
            if await self._wait(failure.message, since, delay_s):
                return self.salvaged

    async def _attempt(self) -> Reply | None:
        """Return a reply: whole, partial if a steering message ended it or it failed, None if it never started."""
        call = asyncio.create_task(step("LLM call", self._call, result_type=Reply, salvage=True, ahead=self._ahead))
        steered = asyncio.create_task(self._chat.steer.wait())
        try:
            await asyncio.wait((call, steered), return_when=asyncio.FIRST_COMPLETED)
            reply = self._noted(await _ended(call))
        except asyncio.CancelledError:
            reply = None
            with suppress(StepFailed):  # the user's interrupt is what ends this turn
                reply = self._noted(await _ended(call))
            if reply is None or not reply.ahead:
                raise
            _cancel_later()
        finally:
            steered.cancel()
        if reply is not None and _is_cancelled(reply):
            if not self._ends_at_once:
                await asyncio.sleep(WORD_S)  # which the cancellation ends; it was foreseen, as in `_word`
            raise asyncio.CancelledError
        if reply is not None and reply.ended_by == "steering":
            await self._word()
        return reply

    async def _word(self) -> None:
        """Wait for the ring of the chat that ended the call; it was foreseen, see durable/foreseen.py.

        It comes within milliseconds, unless the chat's handler was killed in between: the turn then goes on.
        """
        if self._chat.steer.is_set():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(WORD_S):
                await self._chat.steer.wait()

    async def _call(self) -> Reply:
        """The closure of the step: a failure is a result too, with the text that had arrived before it."""
        started_at = time.time()
        call = asyncio.ensure_future(self._complete())  # a task of its own, as the step itself must not end by it
        try:
            with abortable(self._chat.invocation_id, call) as foreseen:
                reply = await call
        except asyncio.CancelledError:
            if foreseen.word is None:
                raise
            reply = _aborted(started_at)  # before it began
        except Exception as exc:
            if not isinstance(exc, LLMError):
                logger.exception("Bug in an LLM call")
            return _failed(exc, started_at)
        if reply.item.finish is Finish.ABORTED:
            return reply.changed(ended_by=foreseen.word)
        answers = reply.item.finish is Finish.STOP and not reply.item.tool_calls and _has_content(reply)
        return reply.changed(ahead=answers and get_settings().head_starts)

    def _ahead(self, reply: Reply) -> bool:
        """Return whether the turn goes on by a reply ahead of its record; see durable/ahead.py."""
        return reply.ahead or (self._ends_at_once and _is_cancelled(reply))

    def _noted(self, reply: Reply | None) -> Reply | None:
        if reply is not None and (reply.failure is None or _has_content(reply)):
            self._chat.add_usage(reply.usage, reply.started_at, reply.ended_at)
        elif reply is not None and reply.failure is not None and reply.failure.ended_at is not None:
            self._chat.add_times(reply.started_at, reply.failure.ended_at)
        if reply is not None and _has_content(reply):
            self.salvaged = reply
        return reply

    async def _wait(self, reason: str, since: float | None, delay_s: float) -> bool:
        """Wait for the next attempt; return whether a message came instead. Meanwhile the chat shows the wait.

        `since` is when the failed attempt ended. Without it the chat shows nothing: so it was when that was journaled.
        """
        if since is not None:
            if self._chat.rung.is_set():
                return True
            until = datetime.fromtimestamp(since + delay_s, UTC)
            logger.info("Waiting with the next LLM call for %s until %s: %s", self._chat.name, until, reason)
            self._chat.note_wait(Wait(reason=reason, until=until))
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._chat.rung.wait()
        if since is not None:
            self._chat.note_wait(None)
        return self._chat.rung.is_set()


def _has_content(reply: Reply) -> bool:
    return bool(reply.item.tool_calls or reply.item.content.strip() or reply.item.thought)


def _is_cancelled(reply: Reply) -> bool:
    """Return whether the turn ends by this reply, as the cancellation that is on its way will say."""
    return reply.ended_by == "cancellation"


def _cancel_later() -> None:
    """Have the cancellation of this turn come once more, where it waits next.

    A replay may meet it before a reply that was ahead of its record, and must do what was done when that came first.
    """
    if (turn := asyncio.current_task()) is not None:
        turn.cancel()


def _aborted(started_at: float) -> Reply:
    """Return the reply of a call that was ended before it began."""
    item = AssistantItem(finish=Finish.ABORTED)
    return Reply(item=item, usage=Usage(), started_at=started_at, ended_at=time.time())


def _failed(exc: Exception, started_at: float) -> Reply:
    """Return the reply that a failed call gave."""
    ended_at = time.time()
    finish = Finish.LENGTH if isinstance(exc, ReplyTooLong) else Finish.BROKEN
    return Reply(
        item=AssistantItem(content=getattr(exc, "text", ""), finish=finish),
        usage=Usage(calls=1, unmetered_calls=1),
        started_at=started_at,
        ended_at=ended_at,
        failure=Failure(
            message=words_of(exc),
            error_type=type(exc).__name__,
            retryable=getattr(exc, "retryable", True),
            retry_after_s=getattr(exc, "retry_after_s", None),
            ended_at=ended_at,
        ),
    )


def _step_failed(failure: Failure, advice: str = "") -> StepFailed:
    return StepFailed(
        failure.message + advice,
        error_type=failure.error_type,
        retryable=failure.retryable,
        retry_after_s=failure.retry_after_s,
    )


async def _ended(call: asyncio.Task[Reply]) -> Reply | None:
    """End a call unless it has ended by itself; return what it gave, None if it was ended before it gave anything."""
    call.cancel()
    await asyncio.wait((call,))
    return None if call.cancelled() else call.result()

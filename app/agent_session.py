"""AgentSession: runs the turns of one chat, one at a time. `run` is one turn: the durable LLM loop.

Owns what a turn does; what the chat becomes by it is decided by ChatService, to which it reports.
"""

import asyncio
from contextlib import suppress
from itertools import chain

from restate import ObjectContext, TerminalError, VirtualObject

from app import chat
from app.boundary import handler
from app.chat_link import ChatLink
from app.context import window
from app.durable import RetryPolicy, get_logger, run_durably, step
from app.errors import StepFailed
from app.llm import Reply, get_llm
from app.protocol import TurnRef, TurnResult, TurnStart
from app.settings import get_settings
from app.tool_calls import ToolCalls
from app.tools import TOOLS
from app.transcript import Finish, Item, Message, ToolItem, TurnStatus, UserItem, text_of

agent_session = VirtualObject(
    "AgentSession",
    description="Runs the turns of a chat, one after the other. ChatService starts and stops them.",
    ingress_private=True,
    enable_lazy_state=True,
)
logger = get_logger("agent_session")

LOGGED_ITEMS = 12  # of what the LLM sees; the chat itself is in get_chat_history


@handler(agent_session, private=True)
async def run(ctx: ObjectContext, start: TurnStart) -> TurnResult:
    """Run one turn: call the LLM and the tools it asks for until it has answered or is told to end."""
    return await run_durably(ctx, TurnRun(ctx, start).run())


@handler(agent_session, private=True)
async def settle(ctx: ObjectContext, ref: TurnRef) -> None:
    """Tell the chat that the run of a turn is over; being exclusive, this starts only then."""
    ctx.object_send(chat.settle_turn, ctx.key(), ref)


class TurnRun:
    """One run of one turn, on the durable loop. INTERRUPT, ROLLBACK and `stop` reach it as a cancellation."""

    def __init__(self, ctx: ObjectContext, start: TurnStart) -> None:
        self._key = ctx.key()
        self._start = start
        self._chat = ChatLink(ctx, start.turn_id)
        self._history: tuple[tuple[Item, ...], ...] = ()
        self._items: list[Item] = []  # of this turn, as the LLM sees them
        self._answered = False

    async def run(self) -> TurnResult:
        """Run the turn to one of its ends and report it: no end leaves the turn open."""
        try:
            status = await self._run_to_answer()
        except asyncio.CancelledError:
            logger.info("Agent run for %s was interrupted", self._key)
            status = TurnStatus.COMPLETED if self._answered else TurnStatus.INTERRUPTED
            self._chat.end(status)
        except StepFailed as exc:
            logger.warning("Agent run for %s failed: %s", self._key, exc.message)
            status = TurnStatus.FAILED
            self._chat.end(status, f"The turn failed: {exc.message}")
        except Exception as exc:
            logger.exception("Bug in the agent run for %s", self._key)
            self._chat.end(TurnStatus.FAILED, f"The turn failed: internal error {exc!r}")
            raise TerminalError(f"Internal error in turn {self._start.turn_id} of {self._key}: {exc!r}") from exc
        return TurnResult(turn_id=self._start.turn_id, status=status)

    async def _run_to_answer(self) -> TurnStatus:
        context = self._start.context or await self._chat.begin()
        if context is None:
            return TurnStatus.WITHDRAWN
        self._history, self._items = context.history, list(context.current)
        self._chat.listen()
        limit = self._start.limits.max_iterations
        iterations = 0  # since the user last said something: every message gets an answer
        while iterations < limit:
            iterations += 1
            await self._iterate()
            messages = await self._chat.take_input() if self._chat.rung else ()
            if self._answered and not messages:
                end = await self._chat.complete()
                if end.closed is not None:
                    return end.closed
                messages = end.messages
            if messages:
                iterations = 0
                self._hear(messages)
        why = f"No answer after {limit} iterations: send a message to go on, or raise MAX_ITERATIONS."
        self._chat.end(TurnStatus.LIMIT_REACHED, why)
        return TurnStatus.LIMIT_REACHED

    async def _iterate(self) -> None:
        """Call the LLM once, and the tools it asks for."""
        seen = [text_of(item) for item in (*chain.from_iterable(self._history), *self._items)]
        logger.info("Running iteration of agent for %s with input items: %s", self._key, _message_history(seen))
        reply = await self._ask()
        if reply is None:
            return
        logger.info("Agent generated output for %s: %s", self._key, reply.item.content)
        calls = self._tool_calls_of(reply)
        try:
            await calls.run(concurrency=self._start.limits.tool_concurrency, skip=self._chat.steer)
        finally:
            self._keep(reply, calls.results)
        if reply.item.tool_calls:
            self._chat.send_report()

    async def _ask(self) -> Reply | None:
        """Return the LLM's reply: whole, partial if a steering message ended it, None if it was ended before a try."""
        items = tuple(self._items)

        async def complete() -> Reply:
            seen = window(self._history, items, budget_tokens=get_settings().context_tokens)
            return await get_llm().complete(seen, [tool.spec for tool in TOOLS.values()])

        retry = RetryPolicy(max_attempts=self._start.limits.llm_attempts)
        call = asyncio.create_task(step("LLM call", complete, result_type=Reply, retry=retry, salvage=True))
        steered = asyncio.create_task(self._chat.steer.wait())
        try:
            await asyncio.wait((call, steered), return_when=asyncio.FIRST_COMPLETED)
            return await _ended(call)
        except asyncio.CancelledError:
            with suppress(StepFailed):  # the user's interrupt is what ends this turn
                if (reply := await _ended(call)) is not None:
                    self._keep(reply, self._tool_calls_of(reply).results)
            raise
        finally:
            steered.cancel()

    def _tool_calls_of(self, reply: Reply) -> ToolCalls:
        return ToolCalls(reply.item.tool_calls, TOOLS, max_result_chars=self._start.limits.max_tool_result_chars)

    def _keep(self, reply: Reply, results: list[ToolItem]) -> None:
        """Put a reply and the results of all its tool calls into the transcript, together."""
        self._chat.add_usage(reply.usage, reply.started_at, reply.ended_at)
        self._answered = not reply.item.tool_calls and reply.item.finish is not Finish.ABORTED
        if reply.item.content or reply.item.tool_calls:
            self._items += [reply.item, *results]
            self._chat.add(reply.item, *results)

    def _hear(self, messages: tuple[Message, ...]) -> None:
        """Put messages that came meanwhile where the next iteration sees them."""
        self._answered = False
        for message in messages:
            logger.info("Incorporating new input for %s: %s", self._key, message.content)
            self._items.append(UserItem(message_id=message.message_id, content=message.content))


def _message_history(seen: list[str]) -> str:
    left_out = f"… {len(seen) - LOGGED_ITEMS} earlier, " if len(seen) > LOGGED_ITEMS else ""
    return f"message_history=[{left_out}{', '.join(map(repr, seen[-LOGGED_ITEMS:]))}]"


async def _ended(call: asyncio.Task[Reply]) -> Reply | None:
    """End a call unless it has ended by itself; return what it gave, None if it was ended before it gave anything."""
    call.cancel()
    await asyncio.wait((call,))
    return None if call.cancelled() else call.result()

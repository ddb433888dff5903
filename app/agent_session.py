"""AgentSession: runs the turns of one chat, one at a time. `run` is one turn: the durable LLM loop.

Owns what a turn does; what the chat becomes by it is decided by ChatService, to which it reports.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import Any

from restate import (
    ObjectContext,
    ObjectSharedContext,
    RestateDurableFuture,
    TerminalError,
    VirtualObject,
    wait_completed,
)
from restate.serde import BytesSerde
from restate.vm import VMException  # type: ignore[attr-defined]  # not re-exported, and its own module has no types

from app.boundary import private_handler
from app.chat_agents.link import AgentsLink
from app.chat_agents.offered import OFFERED
from app.durable import get_logger, run_durably
from app.errors import ReplyTooLong, StepFailed
from app.live.telling import Teller
from app.llm import Reply
from app.mcp.tools import AllTools
from app.text import shorten, words_of
from app.turns.addresses import AGENT_SESSION, FORGET, PROBE, RUN, SETTLE, SETTLE_TURN
from app.turns.approval.asking import approval_of
from app.turns.calls.attempts import Attempts
from app.turns.calls.budget import Budget
from app.turns.calls.head_start import head_starts
from app.turns.compaction.view import Listener, View
from app.turns.link import ChatLink
from app.turns.memory import Memory, Remembered, last_writer, load_memory, memory_of, save_memory
from app.turns.protocol import ProbeRequest, TurnRef, TurnResult, TurnStart
from app.turns.rollback.compensating import Done, reversible, undo
from app.turns.tool_calls import ToolCalls
from app.turns.transcript import (
    LOGGED_CHARS,
    Finish,
    Item,
    Message,
    Question,
    Resolution,
    ToolCall,
    ToolItem,
    TurnStatus,
    Undone,
    UserItem,
    message_history,
    without_thoughts,
)

agent_session = VirtualObject(
    AGENT_SESSION,
    description="Runs the turns of a chat, one after the other. ChatService starts and stops them.",
    ingress_private=True,
    enable_lazy_state=True,  # but for `run`, whose memory comes with it
)
logger = get_logger("agent_session")

ALL_TOOLS = AllTools(OFFERED)
PROBE_TIME = timedelta(minutes=10)  # long, as each one leaves a trace at the run; a dead run shows within 10 ms


async def ask_llm(view: View, items: Sequence[Item], listener: Listener) -> Reply:
    """Ask the LLM to go on after `items`, with the tools that there are now."""
    return ALL_TOOLS.ruled(await view.ask(items, await ALL_TOOLS.specs(), listener))


head_starts.serve(ask_llm)


@private_handler(agent_session, RUN, enable_lazy_state=False)
async def run(ctx: ObjectContext, start: TurnStart) -> TurnResult:
    """Run one turn: call the LLM and the tools it asks for until it has answered or is told to end."""
    return await run_durably(ctx, TurnRun(ctx, start).run())


@private_handler(agent_session, SETTLE)
async def settle(ctx: ObjectContext, ref: TurnRef) -> None:
    """Tell the chat that the run of a turn is over; being exclusive, this starts only then.

    A run that has written its memory has told the chat itself, before.
    """
    if await last_writer(ctx) != ref.invocation_id:
        SETTLE_TURN.send(ctx, ctx.key(), ref)


@private_handler(agent_session, FORGET)
async def forget(ctx: ObjectContext) -> None:
    """Erase what the runs of the chat remember."""
    head_starts.forget(ctx.key())
    ctx.clear_all()


# Contacts with a chat share one probe for as long as it is open: it misses no death. A killed one is sent again.
@private_handler(
    agent_session, PROBE, kind="shared", idempotency_retention=timedelta(0), journal_retention=timedelta(0)
)
async def probe(ctx: ObjectSharedContext, request: ProbeRequest) -> None:
    """Tell the chat of each of these runs that is over, or ends while this looks; it waits in no queue."""
    timer = ctx.sleep(PROBE_TIME)
    runs = {ctx.attach_invocation(ref.invocation_id, serde=BytesSerde()): ref for ref in request.turns}
    over: list[RestateDurableFuture[Any]] = []
    while runs and timer not in over:
        over, _ = await wait_completed(timer, *runs)
        for over_run in filter(runs.__contains__, over):
            SETTLE_TURN.send(ctx, ctx.key(), runs.pop(over_run))


class TurnRun:
    """One run of one turn, on the durable loop. INTERRUPT, ROLLBACK and `stop` reach it as a cancellation."""

    def __init__(self, ctx: ObjectContext, start: TurnStart) -> None:
        self._ctx = ctx
        self._key = ctx.key()
        self._start = start
        self._chat = ChatLink(ctx, start.turn_id, Budget(start.limits))
        self._teller = Teller(self._key, start.turn_id)
        self._stored = self._memory = Memory()  # as it is stored, and without what must not be seen
        self._history: tuple[tuple[Item, ...], ...] = ()
        self._view = View()
        self._items: list[Item] = []  # of this turn, as the LLM sees them
        self._read = 0  # of these, by the LLM
        self._answered = False
        self._ahead = False  # whether the last reply is not recorded yet
        self._done: list[Done] = []  # calls that gave a result, as they ended

    async def run(self) -> TurnResult:
        """Run the turn to one of its ends and report it: no end leaves the turn open."""
        try:
            status = await self._run_to_answer()
        except asyncio.CancelledError:
            logger.info("Agent run for %s was interrupted", self._chat.name)
            status = TurnStatus.COMPLETED if self._answered else TurnStatus.INTERRUPTED
            await self._end_interrupted(status)
        except StepFailed as exc:
            logger.warning("Agent run for %s failed: %s", self._chat.name, exc.message)
            too_long = exc.error_type == ReplyTooLong.__name__
            status = TurnStatus.LIMIT_REACHED if too_long else TurnStatus.FAILED
            self._end(status, exc.message if too_long else f"The turn failed: {exc.message}")
        except VMException:  # the attempt is over, see engine/journal_watch.py
            raise
        except TerminalError as exc:
            logger.warning("Agent run for %s failed: the chat answered %s", self._chat.name, exc.message)
            self._end(TurnStatus.FAILED, f"The turn failed: {exc.message}")
            raise
        except Exception as exc:
            logger.exception("Bug in the agent run for %s", self._chat.name)
            said = f"{type(exc).__name__}: {shorten(words_of(exc), LOGGED_CHARS)}"
            self._end(TurnStatus.FAILED, f"The turn failed: internal error {said}")
            raise TerminalError(f"Internal error in turn {self._start.turn_id} of {self._key}: {said}") from exc
        return TurnResult(turn_id=self._start.turn_id, status=status)

    async def _run_to_answer(self) -> TurnStatus:
        if not await self._begin():
            return TurnStatus.WITHDRAWN
        self._chat.listen()
        budget = self._chat.budget
        while (problem := budget.problem) is None:
            budget.spend_call()
            await self._iterate()
            # To an answer that is ahead of its record the chat gives what waits, whether this has heard of it or not.
            messages = await self._chat.take_input() if self._chat.rung.is_set() and not self._ahead else ()
            if self._answered and not messages:
                memory = self._memory_with_this_turn()
                end = await self._chat.complete(memory, ahead=self._ahead)
                if end.closed is not None:
                    if end.closed is not TurnStatus.WITHDRAWN:
                        self._save(memory)
                    return end.closed
                messages = end.messages
            if messages:
                budget.renew()
                self._hear(messages)
        self._end(TurnStatus.LIMIT_REACHED, problem)
        return TurnStatus.LIMIT_REACHED

    async def _begin(self) -> bool:
        """Find out what the turn begins with: from its input and its memory, or from the chat; False if withdrawn."""
        start = self._start
        self._stored = memory = await load_memory(self._ctx)
        if start.messages and start.memory is not None and start.memory.is_met_by(memory.ref):
            self._memory, self._items = memory.as_expected(start.memory), list(start.messages)
        else:
            answer = await self._chat.begin(memory.ref)
            if answer.context is None:
                return False
            known = answer.remembered
            self._memory = memory_of(answer.context) if known is None else memory.as_expected(known)
            self._items = list(answer.context.current)
        self._history = self._memory.history()
        self._view = View(self._history, self._memory.summary, caller=self._key)
        self._chat.in_doubt = False
        return True

    def _memory_with_this_turn(self, *, interrupted: bool = False) -> Memory:
        turn = Remembered(turn_id=self._start.turn_id, items=without_thoughts(self._items), interrupted=interrupted)
        return self._memory.with_turn(turn, self._ctx.request().id, self._start.limits)

    async def _end_interrupted(self, status: TurnStatus) -> None:
        """End a turn that was cancelled. One that can undo anything asks whether it must, the others need not wait."""
        if status is TurnStatus.COMPLETED or not reversible(self._done):
            self._end(status)
            return
        ending = asyncio.create_task(self._undo_and_end(status))
        while not ending.done():
            with suppress(asyncio.CancelledError):  # it ends already: only a kill keeps it from undoing its work
                await asyncio.wait((ending,))
        ending.result()

    async def _undo_and_end(self, status: TurnStatus) -> None:
        """End the turn, after its work has been undone if the chat wants it rolled back."""
        memory = Memory() if self._chat.in_doubt else self._memory_with_this_turn(interrupted=True)
        try:
            must_undo = await self._chat.must_undo(memory)
        except TerminalError as exc:  # what is not undone is reported as that
            logger.warning("The chat did not say whether %s is rolled back: %s", self._chat.name, exc.message)
            self._end(status)
            return
        if not must_undo:
            self._save(self._memory_with_this_turn(interrupted=status is TurnStatus.INTERRUPTED))
            return
        self._end(status, undone=await undo(self._done, self._chat.name))

    def _save(self, memory: Memory) -> None:
        """Save what the next turn remembers; not of a turn in doubt about what it was given: the next one asks then."""
        if not self._chat.in_doubt:
            save_memory(self._ctx, memory, self._stored)
            head_starts.remember(self._key, memory)

    def _end(self, status: TurnStatus, error: str | None = None, undone: tuple[Undone, ...] = ()) -> None:
        """Report the end of the turn, then remember it: the memory is never ahead of the chat."""
        memory = self._memory_with_this_turn(interrupted=status is TurnStatus.INTERRUPTED)
        self._chat.end(status, error, Memory() if self._chat.in_doubt else memory, undone)
        self._save(memory)

    async def _iterate(self) -> None:
        """Call the LLM once, and the tools it asks for."""
        turn = f"(turn {self._start.turn_id})"
        seen = [*chain.from_iterable(self._history), *self._items]
        logger.info("Running iteration of agent for %s with input items: %s %s", self._key, message_history(seen), turn)
        reply = await self._ask()
        if reply is None:
            return
        logger.info("Agent generated output for %s: %s %s", self._key, shorten(reply.item.content, LOGGED_CHARS), turn)
        calls = self._tool_calls_of(reply)
        try:
            await calls.run(concurrency=self._start.limits.tool_concurrency, skip=self._chat.steer)
        finally:
            self._keep(reply, calls.results)
        if reply.item.tool_calls:
            self._chat.send_report()

    async def _ask(self) -> Reply | None:
        """Return the LLM's reply: whole, partial if a message ended it, None if that came before anything else."""
        items = tuple(self._items)
        read = tuple(item.message_id for item in items[self._read :] if isinstance(item, UserItem))
        self._read = len(items)

        async def complete() -> Reply:
            with self._teller.call(len(items), read) as tell:
                return await head_starts.reply(self._key, self._start.turn_id, self._view, items, tell, ask_llm)

        attempts = Attempts(
            self._chat, complete, max_attempts=self._start.limits.llm_attempts, ends_at_once=not reversible(self._done)
        )
        try:
            return await attempts.reply()
        except (asyncio.CancelledError, StepFailed):
            if (reply := attempts.salvaged) is not None:
                self._keep(reply, self._tool_calls_of(reply).results)
            raise

    def _tool_calls_of(self, reply: Reply) -> ToolCalls:
        return ToolCalls(
            reply.item.tool_calls,
            ALL_TOOLS,
            max_result_chars=self._start.limits.max_tool_result_chars,
            owner=self._chat.name,
            chat_key=self._key,
            turn_id=self._start.turn_id,
            agents=AgentsLink(self._chat.ref, self._key, len(self._items)),
            tell=partial(self._teller.tool, len(self._items)),
            progress=self._teller.progress,
            approve=partial(self._approve, len(self._items)),
            to_approve=reply.to_approve,
            done=self._done.append,
        )

    async def _approve(self, index: int, position: int, call: ToolCall, question: Question | None) -> Resolution:
        """Have call number `position` of the reply that will stand at `index` approved, or its question answered."""
        approval = approval_of(call, self._start.turn_id, self._chat.invocation_id, index, position, question)
        return await self._chat.resolution_of(approval, self._start.limits.approval_timeout_s)

    def _keep(self, reply: Reply, results: list[ToolItem]) -> None:
        """Put a reply and the results of all its tool calls into the transcript, together."""
        self._ahead = reply.ahead
        self._answered = not reply.item.tool_calls and reply.item.finish not in (Finish.ABORTED, Finish.BROKEN)
        if reply.item.content or reply.item.tool_calls or reply.item.thought:
            self._items += [reply.item, *results]
            self._chat.add(reply.item.shown, *results)

    def _hear(self, messages: tuple[Message, ...]) -> None:
        """Put messages that came meanwhile where the next iteration sees them."""
        self._answered = False
        for message in messages:
            content = shorten(message.content, LOGGED_CHARS)
            logger.info("Incorporating new input for %s: %s (turn %s)", self._key, content, self._start.turn_id)
            self._items.append(message.item)

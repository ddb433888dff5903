"""The run's side of the turn protocol: what a turn says to its chat, and the doorbell by which the chat calls back.

Knows how to report and to listen; not what the turn does in between. Every message names turn and invocation.
"""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Any

from restate import ObjectContext

from app.durable import get_logger, wait_for
from app.text import shorten
from app.turns.addresses import (
    BEGIN_TURN,
    END_TURN,
    EXPIRE_APPROVAL,
    RECORD,
    TAKE_INPUT,
    decision_name,
    end_name,
    ring_name,
)
from app.turns.approval.protocol import ApprovalRef
from app.turns.calls.budget import Budget
from app.turns.memory import Memory
from app.turns.protocol import BeginAnswer, BeginTurn, EndTurn, MemoryRef, Report, Ring, TakeInput, TurnEnd, TurnRef
from app.turns.transcript import LOGGED_CHARS, Approval, Item, Message, Resolution, TurnStatus, Undone, Usage, Wait

logger = get_logger("agent_session")

UNHEARD_S = 10.0  # from a report that is answered by a signal to its repetition: somebody has killed the chat's handler


class ChatLink:
    """The link of one run to its chat; lives on the durable loop. `name` is the chat's and the turn's, for the log.

    `rung` is set when messages wait, `steer` when one of them wants the iteration to end at once. `in_doubt` tells
    whether the chat may have given the turn messages that it does not know of: an answer of the chat was not heard.
    `budget` is charged with what is reported as used.
    """

    def __init__(self, ctx: ObjectContext, turn_id: int, budget: Budget) -> None:
        self._ctx = ctx
        self.budget = budget
        self.ref = TurnRef(turn_id=turn_id, invocation_id=ctx.request().id)
        self._ends = 0
        self._rings = 0  # the last one that counts: its message has been taken, or makes the run take it
        self._listening = 0
        self._reported = 0
        self._unreported: list[Item] = []
        self._usage = Usage()
        self._started_at: float | None = None
        self._ended_at: float | None = None
        self.in_doubt = True
        self.invocation_id = self.ref.invocation_id
        self.name = f"{ctx.key()} (turn {turn_id})"
        self.rung = asyncio.Event()
        self.steer = asyncio.Event()

    async def begin(self, memory: MemoryRef) -> BeginAnswer:
        """Return what the turn begins with. `memory` is what the run has in memory."""
        request = BeginTurn(**dict(self.ref), memory=memory)
        answer = await wait_for(BEGIN_TURN.call(self._ctx, self._ctx.key(), request))
        self._taken(answer.rings)
        return answer

    def listen(self) -> None:
        """Hear the rings of the chat from here on, also those that came before."""
        self._listen_for(self._rings + 1)

    async def take_input(self) -> tuple[Message, ...]:
        """Return the messages that wait, after all that was reported before them."""
        self.send_report()
        self.in_doubt = True
        answer = await wait_for(TAKE_INPUT.call(self._ctx, self._ctx.key(), TakeInput(**dict(self.ref))))
        self.in_doubt = False
        self._taken(answer.rings)
        return answer.messages

    def add(self, *items: Item) -> None:
        """Put items into the next report."""
        self._unreported.extend(items)

    def add_usage(self, usage: Usage, started_at: float, ended_at: float) -> None:
        """Put an LLM call into the next report."""
        self._usage += usage
        self.budget.spend_tokens(usage.tokens)
        self.add_times(started_at, ended_at)

    def add_times(self, started_at: float, ended_at: float) -> None:
        """Put when an LLM call began and ended into the next report: also one that failed says when the turn was."""
        self._started_at = self._started_at or started_at
        self._ended_at = ended_at

    def send_report(self) -> None:
        """Report what is not reported yet; nothing waits for that."""
        if self._unreported:
            RECORD.send(self._ctx, self._ctx.key(), Report(**self._report()))
            self._mark_reported()

    def note_wait(self, waiting_for: Wait | None) -> None:
        """Tell the chat what the turn waits for, or that it goes on; nothing waits for that."""
        report = Report(**dict(self.ref), offset=self._reported, items=(), waiting_for=waiting_for)
        RECORD.send(self._ctx, self._ctx.key(), report)

    async def resolution_of(self, approval: Approval, timeout_s: float | None) -> Resolution:
        """Have a tool call approved by a person, and wait for that; when time runs out, the chat has the last word.

        Durable: one message, one signal, a timer with a timeout. The signal may come before the wait.
        """
        since = self._ended_at if approval.question is None else approval.question.asked_at
        if timeout_s is not None and since is not None:
            approval = approval.changed(expires_at=datetime.fromtimestamp(since + timeout_s, UTC))
        report = Report(**dict(self.ref), offset=self._reported, items=(), asks=(approval,))
        RECORD.send(self._ctx, self._ctx.key(), report)
        logger.info("Waiting for approval of %s for %s (%s)", approval.name, self.name, approval.approval_id)
        decision = self._ctx.signal(decision_name(approval.approval_id), type_hint=Resolution)
        try:
            async with asyncio.timeout(timeout_s):
                return await wait_for(decision)
        except TimeoutError:
            ref = ApprovalRef(**dict(self.ref), approval_id=approval.approval_id)
            return await wait_for(EXPIRE_APPROVAL.call(self._ctx, self._ctx.key(), ref))

    async def complete(self, memory: Memory, *, ahead: bool) -> TurnEnd:
        """Report that the answer is complete; the chat closes the turn or gives it the messages that came meanwhile.

        `memory` is that with this turn. `ahead`: the answer is not recorded yet.
        Errors: asyncio.CancelledError; whether the chat has the report is then unknown, `end` gives it again.
        """
        known = {"digest": memory.digest, "sum_up": memory.sum_up}
        request = EndTurn(**self._report(), outcome=TurnStatus.COMPLETED, may_go_on=True, **known)
        self.in_doubt = True
        end = await (
            self._end_heard(request) if ahead else wait_for(END_TURN.call(self._ctx, self._ctx.key(), request))
        )
        self.in_doubt = False
        self._mark_reported()
        self._taken(end.rings)
        return end

    async def _end_heard(self, request: EndTurn) -> TurnEnd:
        """Report an end, and wait for the signal that answers it.

        Not by a call: who is cancelled while one is open tells the callee, by a command of its own (the SDK does). A
        replay that meets the cancellation earlier would not, see durable/ahead.py.
        """
        self._ends += 1
        END_TURN.send(self._ctx, self._ctx.key(), request.changed(listens=self._ends))
        heard = self._ctx.signal(end_name(self._ends), type_hint=TurnEnd)
        try:
            async with asyncio.timeout(UNHEARD_S):
                return await wait_for(heard)
        except TimeoutError:
            return await wait_for(END_TURN.call(self._ctx, self._ctx.key(), request))

    async def must_undo(self, memory: Memory) -> bool:
        """Report that the turn was interrupted, and return whether it is rolled back: it must be ended again then.

        `memory` is that with this turn. Without a rollback the turn has ended by this.
        """
        known = {"digest": memory.digest, "sum_up": memory.sum_up}
        request = EndTurn(**self._report(), outcome=TurnStatus.INTERRUPTED, may_undo=True, **known)
        end = await wait_for(END_TURN.call(self._ctx, self._ctx.key(), request))
        self._mark_reported()
        return end.undo

    def end(self, outcome: TurnStatus, error: str | None, memory: Memory, undone: tuple[Undone, ...] = ()) -> None:
        """Report the end of the turn. One-way: the next turn need not wait, and no cancellation reaches it."""
        known = {"digest": memory.digest, "sum_up": memory.sum_up}
        request = EndTurn(**self._report(), outcome=outcome, error=error, undone=undone, **known)
        END_TURN.send(self._ctx, self._ctx.key(), request)

    def _report(self) -> dict[str, Any]:
        return {
            **dict(self.ref),
            "offset": self._reported,
            "items": tuple(self._unreported),
            "usage": self._usage,
            "started_at": self._started_at,
            "ended_at": self._ended_at,
        }

    def _mark_reported(self) -> None:
        self._reported += len(self._unreported)
        self._unreported = []
        self._usage = Usage()

    def _taken(self, rings: int) -> None:
        """Note that the messages of the first `rings` rings have been taken; a later one still counts."""
        if self._rings <= rings:
            self._rings = rings
            self.rung.clear()
            self.steer.clear()
        if 0 < self._listening <= rings:
            self._listen_for(rings + 1)

    def _listen_for(self, number: int) -> None:
        self._listening = number
        ring = self._ctx.signal(ring_name(number), type_hint=Ring)
        wait_for(ring).add_done_callback(partial(self._on_ring, number))

    def _on_ring(self, number: int, ring: asyncio.Future[Ring]) -> None:
        if ring.cancelled() or number <= self._rings:
            return
        self._rings = number
        why = ring.result()
        awakeable = f"{self.ref.invocation_id}/{ring_name(number)}"
        new_input = f"{shorten(why.content, LOGGED_CHARS)} (turn {self.ref.turn_id})"
        logger.info("Resolved awakeable with ID %s with new input for %s: %s", awakeable, self._ctx.key(), new_input)
        self._listen_for(number + 1)
        if why.steer:
            self.steer.set()
        self.rung.set()

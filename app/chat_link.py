"""The run's side of the turn protocol: what a turn says to its chat, and the doorbell by which the chat calls back.

Knows how to report and to listen; not what the turn does in between. Every message names turn and invocation.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from restate import ObjectContext, RestateDurableFuture, TerminalError

from app import chat
from app.durable import get_logger, wait_for
from app.protocol import Context, EndTurn, Ready, Report, Ring, TakeInput, TurnEnd, TurnRef
from app.transcript import Item, Message, TurnStatus, Usage

T = TypeVar("T")

CANCELLED = 409  # status of a call that was cancelled together with its caller

logger = get_logger("agent_session")


class ChatLink:
    """The link of one run to its chat; lives on the durable loop.

    `rung` is true when messages wait, `steer` is set when one of them wants the iteration to end at once.
    """

    def __init__(self, ctx: ObjectContext, turn_id: int) -> None:
        self._ctx = ctx
        self._ref = TurnRef(turn_id=turn_id, invocation_id=ctx.request().id)
        self._doorbell = ""
        self._reported = 0
        self._unreported: list[Item] = []
        self._usage = Usage()
        self._started_at: float | None = None
        self._ended_at: float | None = None
        self.rung = False
        self.steer = asyncio.Event()

    async def begin(self) -> Context | None:
        """Return the context of the turn, None if it was withdrawn."""
        answer = await wait_for(self._ctx.object_call(chat.begin_turn, self._ctx.key(), self._ref))
        return answer.context

    def listen(self) -> None:
        """Tell the chat which doorbell to ring; nothing waits for that."""
        self._register(steer_only=False)

    async def take_input(self) -> tuple[Message, ...]:
        """Return the messages that wait, after all that was reported before them."""
        self.send_report()
        request = TakeInput(**dict(self._ref), doorbell=self._new_doorbell())
        answer = await wait_for(self._ctx.object_call(chat.take_input, self._ctx.key(), request))
        return answer.messages

    def add(self, *items: Item) -> None:
        """Put items into the next report."""
        self._unreported.extend(items)

    def add_usage(self, usage: Usage, started_at: float, ended_at: float) -> None:
        """Put an LLM call into the next report."""
        self._usage += usage
        self._started_at = self._started_at or started_at
        self._ended_at = ended_at

    def send_report(self) -> None:
        """Report what is not reported yet; nothing waits for that."""
        if self._unreported:
            self._ctx.object_send(chat.record, self._ctx.key(), self._take_report())

    async def complete(self) -> TurnEnd:
        """Report that the answer is complete; the chat closes the turn or gives it the messages that came meanwhile.

        Errors: asyncio.CancelledError if the turn was cancelled and did not close as completed.
        """
        end, cancelled = await self._end(TurnStatus.COMPLETED, doorbell=self._new_doorbell())
        if cancelled is not None and end.closed is None:
            raise cancelled
        return end

    async def end(self, outcome: TurnStatus, error: str | None = None) -> TurnStatus:
        """Report the end of the turn, in spite of cancellations; return the status in which the chat closed it."""
        end, _ = await self._end(outcome, error=error)
        return end.closed or outcome

    async def _end(
        self, outcome: TurnStatus, *, doorbell: str | None = None, error: str | None = None
    ) -> tuple[TurnEnd, asyncio.CancelledError | None]:
        report = self._take_report()
        request = EndTurn(**dict(report), outcome=outcome, doorbell=doorbell, error=error)
        return await _insist(lambda: self._ctx.object_call(chat.end_turn, self._ctx.key(), request))

    def _take_report(self) -> Report:
        report = Report(
            **dict(self._ref),
            offset=self._reported,
            items=tuple(self._unreported),
            usage=self._usage,
            started_at=self._started_at,
            ended_at=self._ended_at,
        )
        self._reported += len(self._unreported)
        self._unreported = []
        self._usage = Usage()
        return report

    def _register(self, *, steer_only: bool) -> None:
        request = Ready(**dict(self._ref), doorbell=self._new_doorbell(), steer_only=steer_only)
        self._ctx.object_send(chat.ready, self._ctx.key(), request)

    def _new_doorbell(self) -> str:
        """Make the doorbell that counts from now on; what an earlier one still says is ignored."""
        self._doorbell, ring = self._ctx.awakeable(type_hint=Ring)
        self.rung = False
        self.steer.clear()
        wait_for(ring).add_done_callback(partial(self._on_ring, self._doorbell))
        return self._doorbell

    def _on_ring(self, doorbell: str, ring: asyncio.Future[Ring]) -> None:
        if doorbell != self._doorbell:
            return
        why = ring.result()
        logger.info("Resolved awakeable with ID %s with new input for %s: %s", doorbell, self._ctx.key(), why.content)
        if why.steer:
            self.steer.set()
        else:
            self._register(steer_only=True)
        self.rung = True


async def _insist(call: Callable[[], RestateDurableFuture[T]]) -> tuple[T, asyncio.CancelledError | None]:
    """Make a call and wait for its answer although the turn is cancelled meanwhile; return both.

    A cancellation reaches the calls that its target waits for, so the call may have been cancelled before it was
    served: it is made again. Its handler must take that (`end_turn` is fenced and idempotent).
    """
    cancelled: asyncio.CancelledError | None = None
    while True:
        answer = wait_for(call())
        while not answer.done():
            try:
                await asyncio.wait((answer,))
            except asyncio.CancelledError as exc:
                cancelled = exc
        try:
            return answer.result(), cancelled
        except TerminalError as exc:
            if exc.status_code != CANCELLED:
                raise

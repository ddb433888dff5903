"""The run's side of the turn protocol: what a turn says to its chat, and the doorbell by which the chat calls back.

Knows how to report and to listen; not what the turn does in between. Every message names turn and invocation.
"""

import asyncio
from functools import partial
from typing import Any

from restate import ObjectContext

from app.durable import get_logger, wait_for
from app.text import shorten
from app.turns.addresses import BEGIN_TURN, END_TURN, READY, RECORD, TAKE_INPUT
from app.turns.protocol import Context, EndTurn, Ready, Report, Ring, TakeInput, TurnEnd, TurnRef
from app.turns.transcript import Item, Message, TurnStatus, Usage, Wait

logger = get_logger("agent_session")

LOGGED_CHARS = 200  # of a text in a log line; the chat itself is in get_chat_history


class ChatLink:
    """The link of one run to its chat; lives on the durable loop. `name` is the chat's and the turn's, for the log.

    `rung` is set when messages wait, `steer` when one of them wants the iteration to end at once.
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
        self.name = f"{ctx.key()} (turn {turn_id})"
        self.rung = asyncio.Event()
        self.steer = asyncio.Event()

    async def begin(self) -> Context | None:
        """Return the context of the turn, None if it was withdrawn."""
        answer = await wait_for(BEGIN_TURN.call(self._ctx, self._ctx.key(), self._ref))
        return answer.context

    def listen(self) -> None:
        """Tell the chat which doorbell to ring; nothing waits for that."""
        self._register(steer_only=False)

    async def take_input(self) -> tuple[Message, ...]:
        """Return the messages that wait, after all that was reported before them."""
        self.send_report()
        request = TakeInput(**dict(self._ref), doorbell=self._new_doorbell())
        answer = await wait_for(TAKE_INPUT.call(self._ctx, self._ctx.key(), request))
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
            RECORD.send(self._ctx, self._ctx.key(), Report(**self._report()))
            self._mark_reported()

    def note_wait(self, waiting_for: Wait | None) -> None:
        """Tell the chat what the turn waits for, or that it goes on; nothing waits for that."""
        report = Report(**dict(self._ref), offset=self._reported, items=(), waiting_for=waiting_for)
        RECORD.send(self._ctx, self._ctx.key(), report)

    async def complete(self) -> TurnEnd:
        """Report that the answer is complete; the chat closes the turn or gives it the messages that came meanwhile.

        Errors: asyncio.CancelledError; whether the chat has the report is then unknown, `end` gives it again.
        """
        request = EndTurn(**self._report(), outcome=TurnStatus.COMPLETED, doorbell=self._new_doorbell())
        end = await wait_for(END_TURN.call(self._ctx, self._ctx.key(), request))
        self._mark_reported()
        return end

    def end(self, outcome: TurnStatus, error: str | None = None) -> None:
        """Report the end of the turn. One-way: the next turn need not wait, and no cancellation reaches it."""
        request = EndTurn(**self._report(), outcome=outcome, error=error)
        END_TURN.send(self._ctx, self._ctx.key(), request)

    def _report(self) -> dict[str, Any]:
        return {
            **dict(self._ref),
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

    def _register(self, *, steer_only: bool) -> None:
        request = Ready(**dict(self._ref), doorbell=self._new_doorbell(), steer_only=steer_only)
        READY.send(self._ctx, self._ctx.key(), request)

    def _new_doorbell(self) -> str:
        """Make the doorbell that counts from now on; what an earlier one still says is ignored."""
        self._doorbell, ring = self._ctx.awakeable(type_hint=Ring)
        self.rung.clear()
        self.steer.clear()
        wait_for(ring).add_done_callback(partial(self._on_ring, self._doorbell))
        return self._doorbell

    def _on_ring(self, doorbell: str, ring: asyncio.Future[Ring]) -> None:
        if doorbell != self._doorbell:
            return
        why = ring.result()
        new_input = f"{shorten(why.content, LOGGED_CHARS)} (turn {self._ref.turn_id})"
        logger.info("Resolved awakeable with ID %s with new input for %s: %s", doorbell, self._ctx.key(), new_input)
        if why.steer:
            self.steer.set()
        else:
            self._register(steer_only=True)
        self.rung.set()

"""One chat as a value: what messages, runs and people do to its turns.

Pure: no I/O, no Restate. `chat.py` loads a Conversation, calls one method, carries out the effects and stores it.
"""

from collections.abc import Callable

from app.turns.agents.rules import Agents
from app.turns.approval.rules import Approvals
from app.turns.compaction.rules import SumsUp
from app.turns.control import Cancel, Doorbell
from app.turns.modes import Decision, Mode, decide
from app.turns.protocol import EndTurn, MemoryRef, Receipt, Report, TakeInput, TakenInput, TurnEnd, TurnRef
from app.turns.rollback.rules import RollbackPreview, preview_of
from app.turns.transcript import Message, TurnStatus, Usage, UserItem
from app.turns.waiting.rules import Waiting
from app.turns.waiting.spending import Spends


class Conversation(Waiting, Approvals, Agents, SumsUp, Spends):
    """The working copy of a chat; a handler calls one of its methods, once. `Moves` says what it holds.

    `Waiting` and `Approvals` are what people do beside talking, `Agents` what background agents do, `SumsUp` what
    becomes of a long chat, `Spends` what a day allows.
    """

    # What people do

    def receive(self, message: Message) -> Receipt:
        """Let `message` do what its mode says; a rejected one leaves no trace."""
        live = self._live()
        busy = bool(self.session.open)
        undoes = message.mode is Mode.ROLLBACK and self._ends_without_rollback() is not None
        decision = decide(message.mode, turn_open=bool(live) or undoes)
        if decision is not Decision.REJECTED:
            message = self._numbered(message)
        match decision:
            case Decision.REJECTED:
                turn_id = live[0].turn_id
            case Decision.STARTED | Decision.QUEUED:
                turn_id = self._new_turn([message])
            case Decision.INTERRUPTED | Decision.ROLLED_BACK:
                turn_id = self._replace(TurnStatus(decision.value), [message])
            case Decision.INCORPORATED | Decision.STEERED:
                turn_id = self._hand_in(message)
        if busy:  # somebody counts on turns that were open already: they must not stay open if their runs are dead
            self.heal()
        return Receipt(message_id=message.message_id, turn_id=turn_id, decision=decision)

    def was_given(self, message_id: str) -> bool:
        """Return whether the run of an open turn has this message."""
        items = (item for turn in self.session.open for item in self.turns[turn.turn_id].items)
        return message_id in [item.message_id for item in items if isinstance(item, UserItem)]

    def preview(self, has_compensation: Callable[[str], bool]) -> RollbackPreview:
        """Return what a rollback would do to the turn that runs, as far as it has reported."""
        running = next((turn for turn in self._live() if turn.running), None) or self._ends_without_rollback()
        items = () if running is None else self.turns[running.turn_id].items
        return preview_of(None if running is None else running.turn_id, items, has_compensation)

    def forget(self) -> None:
        """Cancel everything, the queued first; the caller erases the state."""
        self.effects = [Cancel(turn.invocation_id) for turn in reversed(self.session.open) if turn.sent]
        self._cancel_summary()

    # What runs report

    def begin(self, ref: TurnRef) -> bool:
        """Let a turn run with what waits for it; False if it was withdrawn."""
        turn = self._heard_from(ref)
        if turn is None:
            return False
        self._run(turn.turn_id)
        return True

    def rings(self, ref: TurnRef) -> int:
        """Return how often the run of a turn was rung."""
        turn = self._fenced(ref)
        return turn.rings if turn is not None else 0

    def arm(self, ref: TurnRef, awakeable_id: str, *, steer_only: bool) -> None:
        """Register the doorbell of a run of the version before; it rings at once if something waits already."""
        turn = self._known_run(ref)
        if turn is None or turn.stopping:
            return
        self._set(doorbell=Doorbell(turn_id=turn.turn_id, awakeable_id=awakeable_id, steer_only=steer_only))
        waiting = self.turns[turn.turn_id].pending
        ringing = [m for m in waiting if m.mode is Mode.STEER] or ([] if steer_only else waiting)
        if ringing:
            self._ring_bell(ringing[0])

    def take(self, request: TakeInput) -> TakenInput:
        """Hand over the waiting messages, once."""
        turn = self._heard_from(request)
        if turn is None or turn.stopping:
            return TakenInput()
        self._hang(request)
        return TakenInput(messages=self._give_pending(turn.turn_id), rings=turn.rings)

    def _hang(self, request: TakeInput | EndTurn) -> None:
        """Register the next doorbell of a run of the version before."""
        if request.doorbell:
            self._set(doorbell=Doorbell(turn_id=request.turn_id, awakeable_id=request.doorbell))

    def record(self, report: Report) -> None:
        """Store what a run reports; the same report twice is stored once."""
        if self._known_run(report) is None:
            return
        turn = self.turns[report.turn_id]
        fresh = report.items[max(0, turn.reported - report.offset) :]
        usage = Usage() if report.offset < turn.reported else report.usage
        self._set(usage=self.session.usage + usage)
        self._change(
            report.turn_id,
            items=(*turn.items, *fresh),
            reported=turn.reported + len(fresh),
            usage=turn.usage + usage,
            started_at=turn.started_at or report.started_at,
            ended_at=report.ended_at or turn.ended_at,
            waiting_for=report.waiting_for,
        )
        self._ask(report)

    def end(self, report: EndTurn) -> TurnEnd:
        """Close a turn, or give it the messages that arrived before it reported its completion."""
        turn = self._heard_from(report)
        if turn is None:
            return TurnEnd(closed=TurnStatus.WITHDRAWN)
        self.record(report)
        unheard = self._unheard(turn.turn_id) if report.may_go_on else ()
        if (
            (report.may_go_on or report.doorbell)
            and not turn.stopping
            and (unheard or self.turns[turn.turn_id].pending)
        ):
            self._hang(report)
            return TurnEnd(messages=(*unheard, *self._give_pending(turn.turn_id)), rings=turn.rings)
        status = report.outcome  # work that was completed before the stop reached it stays completed
        if status is TurnStatus.INTERRUPTED and turn.stopping:
            status = turn.stopping
        if status is TurnStatus.ROLLED_BACK and report.may_undo:
            return TurnEnd(undo=True, rings=turn.rings)
        left_out = (turn.turn_id,) if status is TurnStatus.ROLLED_BACK else ()
        known = MemoryRef(last=turn.turn_id, digest=report.digest, without=left_out)
        self._set(memory=known if report.digest else None)
        self._close(turn, status, report.error, report.undone)
        self._sum_up(report.sum_up, report.ended_at or 0.0)
        return TurnEnd(closed=status)

    def _unheard(self, turn_id: int) -> tuple[Message, ...]:
        """Return what the turn was given behind its answer: an earlier report of it, whose answer was not heard."""
        given: list[Message] = []
        for item in reversed(self.turns[turn_id].items):
            if not isinstance(item, UserItem):
                break
            given.insert(0, Message(message_id=item.message_id, content=item.content, source=item.source))
        return tuple(given)

    def is_open(self, ref: TurnRef) -> bool:
        """Return whether `ref` names an open turn and its run."""
        return self._fenced(ref) is not None

    def settle(self, ref: TurnRef, why: str | None = None) -> None:
        """Close a turn whose run is over, if it is still open; `why` says how the run ended, if that is known."""
        turn = self._fenced(ref)
        if turn is not None:
            self._bury(turn, why)

    # What store.py reports back

    def started(self, turn_id: int, invocation_id: str) -> None:
        """Note the invocation of a turn whose run was sent."""
        self._control(turn_id, invocation_id=invocation_id)
        self._change(turn_id, invocation_id=invocation_id)

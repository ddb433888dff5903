"""One chat as a value: what messages, runs and people do to its turns.

Pure: no I/O, no Restate. `chat.py` loads a Conversation, calls one method, carries out the effects and stores it.
"""

from app.turns.control import Cancel, Doorbell
from app.turns.modes import Decision, Mode, decide
from app.turns.moves import Moves
from app.turns.protocol import EndTurn, MemoryRef, Receipt, Report, TakeInput, TakenInput, TurnEnd, TurnRef
from app.turns.transcript import Message, TurnStatus, UserItem


class Conversation(Moves):
    """The working copy of a chat; a handler calls one of these methods, once. `Moves` says what it holds."""

    # What people do

    def receive(self, message: Message) -> Receipt:
        """Let `message` do what its mode says; a rejected one leaves no trace."""
        live = self._live()
        busy = bool(self.session.open)
        decision = decide(message.mode, turn_open=bool(live))
        match decision:
            case Decision.REJECTED:
                turn_id = live[0].turn_id
            case Decision.STARTED | Decision.QUEUED:
                turn_id = self._new_turn([message])
            case Decision.INTERRUPTED | Decision.ROLLED_BACK:
                turn_id = self._replace(message, TurnStatus(decision.value))
            case Decision.INCORPORATED | Decision.STEERED:
                turn_id = self._hand_in(message)
        if busy:  # somebody counts on turns that were open already: they must not stay open if their runs are dead
            self.heal()
        return Receipt(message_id=message.message_id, turn_id=turn_id, decision=decision)

    def stop(self, turn_id: int | None) -> tuple[int | None, list[str]]:
        """End the open turn (or withdraw queued turn `turn_id`); return the turn and the withdrawn messages."""
        live = self._live()
        if not live or (turn_id is not None and turn_id not in [turn.turn_id for turn in live]):
            self.heal()
            return None, []
        if turn_id is not None and turn_id != live[0].turn_id:
            targets = [turn for turn in live if turn.turn_id == turn_id]
        else:
            targets = live
        withdrawn = [message.message_id for turn in targets for message in self._take_pending(turn.turn_id)]
        for turn in targets:
            if turn.running:
                self._stop(turn, TurnStatus.INTERRUPTED)
            else:
                self._withdraw(turn)
        self.heal()
        return targets[0].turn_id, withdrawn

    def edit(self, message_id: str, content: str | None) -> bool:
        """Replace the text of a waiting message, or withdraw it if `content` is None; False if it does not wait."""
        for turn in self._live():
            pending = self.turns[turn.turn_id].pending
            if message_id not in [message.message_id for message in pending]:
                continue
            self._recall_early()
            kept = [m for m in pending if m.message_id != message_id or content is not None]
            self._change(
                turn.turn_id,
                pending=tuple(m.changed(content=content) if m.message_id == message_id else m for m in kept),
            )
            if not kept and not turn.running:
                self._withdraw(turn)
            self._send_runs()
            return True
        return False

    def promote(self, message_id: str) -> bool:
        """Hand a waiting message to the first live turn, now (as STEER does); False if it does not wait."""
        live = self._live()
        found = next((m for turn in live for m in self.turns[turn.turn_id].pending if m.message_id == message_id), None)
        if found is None:
            return False
        promoted = found.changed(mode=Mode.STEER)
        self.edit(message_id, None)
        first = self._live()[0] if self._live() else None
        if first is None:  # it was alone in the only live turn
            self._new_turn([promoted])
        elif first.running:
            self._change(first.turn_id, pending=(*self.turns[first.turn_id].pending, promoted))
            self._ring(first.turn_id, promoted)
        else:
            self._recall_early()
            self._change(first.turn_id, pending=(promoted, *self.turns[first.turn_id].pending))
            self._send_runs()
        return True

    def was_given(self, message_id: str) -> bool:
        """Return whether the run of an open turn has this message."""
        items = (item for turn in self.session.open for item in self.turns[turn.turn_id].items)
        return message_id in [item.message_id for item in items if isinstance(item, UserItem)]

    def forget(self) -> None:
        """Cancel everything, the queued first; the caller erases the state."""
        self.effects = [Cancel(turn.invocation_id) for turn in reversed(self.session.open) if turn.sent]

    @property
    def waiting(self) -> int:
        """How many messages wait for the agent."""
        return sum(len(self.turns[turn.turn_id].pending) for turn in self.session.open)

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
        self._change(
            report.turn_id,
            items=(*turn.items, *fresh),
            reported=turn.reported + len(fresh),
            usage=turn.usage if report.offset < turn.reported else turn.usage + report.usage,
            started_at=turn.started_at or report.started_at,
            ended_at=report.ended_at or turn.ended_at,
            waiting_for=report.waiting_for,
        )

    def end(self, report: EndTurn) -> TurnEnd:
        """Close a turn, or give it the messages that arrived before it reported its completion."""
        turn = self._heard_from(report)
        if turn is None:
            return TurnEnd(closed=TurnStatus.WITHDRAWN)
        self.record(report)
        if (report.may_go_on or report.doorbell) and not turn.stopping and self.turns[turn.turn_id].pending:
            self._hang(report)
            return TurnEnd(messages=self._give_pending(turn.turn_id), rings=turn.rings)
        status = report.outcome  # work that was completed before the stop reached it stays completed
        if status is TurnStatus.INTERRUPTED and turn.stopping:
            status = turn.stopping
        left_out = (turn.turn_id,) if status is TurnStatus.ROLLED_BACK else ()
        known = MemoryRef(last=turn.turn_id, digest=report.digest, without=left_out)
        self._set(memory=known if report.digest else None)
        self._close(turn, status, report.error)
        return TurnEnd(closed=status)

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

"""One chat as a value: what messages, runs and people do to its turns.

Pure: no I/O, no Restate. `chat.py` loads a Conversation, calls one method, carries out the effects and stores it.
"""

from collections.abc import Iterable
from typing import Any

from app.modes import Decision, Mode, decide
from app.protocol import EndTurn, Receipt, Report, TurnEnd, TurnRef
from app.session import Cancel, Doorbell, Effect, OpenTurn, RingDoorbell, Session, Settle, Start
from app.transcript import Message, Turn, TurnStatus, UserItem

ENDED_OUTSIDE = "The run of this turn was ended from outside; what it had reported so far is kept."


class Conversation:
    """A working copy of a chat: `session`, its open turns, and what the change wants done.

    `effects` are in the order in which they must happen; `changed` names the turns to store.
    """

    def __init__(self, session: Session, turns: Iterable[Turn]) -> None:
        self.session = self._loaded = session
        self.turns = {turn.turn_id: turn for turn in turns}
        self.effects: list[Effect] = []
        self.changed: set[int] = set()

    @property
    def session_changed(self) -> bool:
        return self.session != self._loaded

    # What people do

    def receive(self, message: Message) -> Receipt:
        """Let `message` do what its mode says; a rejected one leaves no trace."""
        live = self._live()
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
        if live:  # somebody counts on turns that were open already: they must not stay open if their runs are dead
            for turn in self.session.open:
                self._watch(turn)
        return Receipt(message_id=message.message_id, turn_id=turn_id, decision=decision)

    def stop(self, turn_id: int | None) -> tuple[int | None, list[str]]:
        """End the open turn (or withdraw queued turn `turn_id`); return the turn and the withdrawn messages."""
        live = self._live()
        if not live or (turn_id is not None and turn_id not in [turn.turn_id for turn in live]):
            return None, []
        if turn_id is not None and turn_id != live[0].turn_id:
            targets = [turn for turn in live if turn.turn_id == turn_id]
        else:
            targets = live
        withdrawn = [message.message_id for turn in targets for message in self._take_pending(turn.turn_id)]
        for turn in targets:
            if turn.running:
                self._stop(turn, TurnStatus.INTERRUPTED)
                self._watch(turn)
            else:
                self._withdraw(turn)
        return targets[0].turn_id, withdrawn

    def edit(self, message_id: str, content: str | None) -> bool:
        """Replace the text of a waiting message, or withdraw it if `content` is None; False if it does not wait."""
        for turn in self._live():
            pending = self.turns[turn.turn_id].pending
            if message_id not in [message.message_id for message in pending]:
                continue
            kept = [m for m in pending if m.message_id != message_id or content is not None]
            self._change(
                turn.turn_id,
                pending=tuple(
                    m.model_copy(update={"content": content}) if m.message_id == message_id else m for m in kept
                ),
            )
            if not kept and not turn.running:
                self._withdraw(turn)
            return True
        return False

    def promote(self, message_id: str) -> bool:
        """Hand a waiting message to the first live turn, now (as STEER does); False if it does not wait."""
        live = self._live()
        found = next((m for turn in live for m in self.turns[turn.turn_id].pending if m.message_id == message_id), None)
        if found is None:
            return False
        promoted = found.model_copy(update={"mode": Mode.STEER})
        self.edit(message_id, None)
        first = self._live()[0] if self._live() else None
        if first is None:  # it was alone in the only live turn
            self._new_turn([promoted])
        elif first.running:
            self._change(first.turn_id, pending=(*self.turns[first.turn_id].pending, promoted))
            self._ring(promoted)
        else:
            self._change(first.turn_id, pending=(promoted, *self.turns[first.turn_id].pending))
        return True

    def forget(self) -> None:
        """Cancel everything, the queued first; the caller erases the state."""
        self.effects = [Cancel(turn.invocation_id) for turn in reversed(self.session.open) if turn.sent]

    @property
    def waiting(self) -> int:
        """How many messages wait for the agent."""
        return sum(len(self.turns[turn.turn_id].pending) for turn in self.session.open)

    # What runs report

    def begin(self, ref: TurnRef) -> bool:
        """Mark a queued turn as running; False if it was withdrawn. Turns before it are dead: runs never overlap."""
        turn = self._fenced(ref)
        if turn is None:
            return False
        while self.session.open[0].turn_id != turn.turn_id:
            self._bury(self.session.open[0])
        self._control(turn.turn_id, running=True)
        self._change(turn.turn_id, status=TurnStatus.RUNNING)
        self._give_pending(turn.turn_id)
        return True

    def arm(self, ref: TurnRef, awakeable_id: str, *, steer_only: bool) -> None:
        """Register a doorbell; it rings at once if what it waits for is there already."""
        turn = self._fenced(ref)
        if turn is None or turn.stopping:
            return
        self._set(doorbell=Doorbell(turn_id=turn.turn_id, awakeable_id=awakeable_id, steer_only=steer_only))
        waiting = self.turns[turn.turn_id].pending
        ringing = [m for m in waiting if m.mode is Mode.STEER] or ([] if steer_only else waiting)
        if ringing:
            self._ring(ringing[0])

    def take(self, ref: TurnRef, awakeable_id: str) -> tuple[Message, ...]:
        """Hand over the waiting messages, once, and register the next doorbell."""
        turn = self._fenced(ref)
        if turn is None or turn.stopping:
            return ()
        self._set(doorbell=Doorbell(turn_id=turn.turn_id, awakeable_id=awakeable_id))
        return self._give_pending(turn.turn_id)

    def record(self, report: Report) -> None:
        """Store what a run reports; the same report twice is stored once."""
        if self._fenced(report) is None:
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
        )

    def end(self, report: EndTurn) -> TurnEnd:
        """Close a turn, or give it the messages that arrived before it reported its completion."""
        turn = self._fenced(report)
        if turn is None:
            return TurnEnd(closed=TurnStatus.WITHDRAWN)
        self.record(report)
        if report.doorbell and not turn.stopping and self.turns[turn.turn_id].pending:
            self._set(doorbell=Doorbell(turn_id=turn.turn_id, awakeable_id=report.doorbell))
            return TurnEnd(messages=self._give_pending(turn.turn_id))
        status = report.outcome  # work that was completed before the stop reached it stays completed
        if status is TurnStatus.INTERRUPTED and turn.stopping:
            status = turn.stopping
        self._close(turn, status, report.error)
        return TurnEnd(closed=status)

    def settle(self, ref: TurnRef) -> None:
        """Close a turn whose run is over, if it is still open."""
        turn = self._fenced(ref)
        if turn is not None:
            self._bury(turn)

    # What chat_state.py reports back

    def started(self, turn_id: int, invocation_id: str) -> None:
        """Note the invocation of a turn whose run was sent."""
        self._control(turn_id, invocation_id=invocation_id)
        self._change(turn_id, invocation_id=invocation_id)

    # The moves

    def _live(self) -> list[OpenTurn]:
        """The open turns that can still take a message."""
        return [turn for turn in self.session.open if not turn.stopping]

    def _fenced(self, ref: TurnRef) -> OpenTurn | None:
        """Return the open turn that `ref` names, None for a late or foreign run."""
        for turn in self.session.open:
            if (turn.turn_id, turn.invocation_id) == (ref.turn_id, ref.invocation_id):
                return turn
        return None

    def _new_turn(self, messages: list[Message]) -> int:
        """Open a turn behind the open ones."""
        turn_id = self.session.last_turn_id + 1
        self._set(last_turn_id=turn_id, open=(*self.session.open, OpenTurn(turn_id=turn_id)))
        self.turns[turn_id] = Turn(turn_id=turn_id, mode=messages[-1].mode)
        self._change(turn_id, pending=tuple(messages))
        self._send_runs()
        return turn_id

    def _send_runs(self) -> None:
        """Have the runs of open turns sent, in order. One behind a stopping turn waits for its end: then its context
        is known, and it need not ask for it."""
        for position, turn in enumerate(self.session.open):
            if turn.stopping:
                return
            if turn.sent:
                continue
            first = position == 0
            self._control(turn.turn_id, sent=True, running=first)
            if first:
                self._change(turn.turn_id, status=TurnStatus.RUNNING)
                self._give_pending(turn.turn_id)
            self.effects.append(Start(turn.turn_id, with_context=first))

    def _replace(self, message: Message, stopping: TurnStatus) -> int:
        """Stop what runs; the first queued turn (or a new one) gets all that waits, then `message`."""
        live = self._live()
        queued = [turn for turn in live if not turn.running]
        head = self.session.open[0]
        waiting = [m for turn in live for m in self._take_pending(turn.turn_id)]
        if head.running and (not head.stopping or stopping is TurnStatus.ROLLED_BACK):
            self._stop(head, stopping)
        for turn in queued[1:]:
            self._withdraw(turn)
        if not queued:
            return self._new_turn([*waiting, message])
        self._change(queued[0].turn_id, pending=(*waiting, message), mode=message.mode)
        return queued[0].turn_id

    def _hand_in(self, message: Message) -> int:
        """Give `message` to the first live turn, behind all that waits: a queued message is never overtaken."""
        first, *queued = self._live()
        waiting = [m for turn in (first, *queued) for m in self._take_pending(turn.turn_id)]
        for turn in queued:
            self._withdraw(turn)
        self._change(first.turn_id, pending=(*waiting, message))
        if first.running:
            self._ring(message)
        return first.turn_id

    def _ring(self, message: Message) -> None:
        bell = self.session.doorbell
        steer = message.mode is Mode.STEER
        if bell is not None and (steer or not bell.steer_only):
            self.effects.append(RingDoorbell(bell.awakeable_id, steer, message.content[:200]))
            self._set(doorbell=None)

    def _stop(self, turn: OpenTurn, status: TurnStatus) -> None:
        if not turn.stopping:
            self.effects.append(Cancel(turn.invocation_id))
        self._control(turn.turn_id, stopping=status)
        self._set(doorbell=None)

    def _watch(self, turn: OpenTurn) -> None:
        """Have a turn closed when its run is over, killed or cancelled from outside before it could say so."""
        if turn.sent and not turn.watched:
            self.effects.append(Settle(turn.turn_id))
            self._control(turn.turn_id, watched=True)

    def _withdraw(self, turn: OpenTurn) -> None:
        """Drop a queued turn; its messages went elsewhere or were withdrawn by name."""
        if turn.sent:
            self.effects.append(Cancel(turn.invocation_id))
        self._close(turn, TurnStatus.WITHDRAWN, None)

    def _close(self, turn: OpenTurn, status: TurnStatus, error: str | None) -> None:
        """Take a turn off the open ones; messages it leaves go to the next live turn, or to a new one."""
        left = self._take_pending(turn.turn_id)
        self._change(turn.turn_id, status=status, error=error)
        self._set(open=tuple(t for t in self.session.open if t.turn_id != turn.turn_id))
        if self.session.doorbell and self.session.doorbell.turn_id == turn.turn_id:
            self._set(doorbell=None)
        heir = next(iter(self._live()), None)
        if left and heir is not None:
            self._change(heir.turn_id, pending=(*left, *self.turns[heir.turn_id].pending))
        elif left:
            self._new_turn(list(left))
        self._send_runs()

    def _bury(self, turn: OpenTurn) -> None:
        """Close a turn whose run is dead."""
        error = None if turn.stopping else ENDED_OUTSIDE
        self._close(turn, turn.stopping or TurnStatus.FAILED, error)

    def _give_pending(self, turn_id: int) -> tuple[Message, ...]:
        """Move the waiting messages of a turn into its items, and return them."""
        given = self._take_pending(turn_id)
        items = [UserItem(message_id=m.message_id, content=m.content) for m in given]
        self._change(turn_id, items=(*self.turns[turn_id].items, *items))
        return given

    def _take_pending(self, turn_id: int) -> tuple[Message, ...]:
        pending = self.turns[turn_id].pending
        if pending:
            self._change(turn_id, pending=())
        return pending

    def _set(self, **fields: Any) -> None:
        self.session = self.session.model_copy(update=fields)

    def _control(self, turn_id: int, **fields: Any) -> None:
        self._set(open=tuple(t.model_copy(update=fields) if t.turn_id == turn_id else t for t in self.session.open))

    def _change(self, turn_id: int, **fields: Any) -> None:
        self.turns[turn_id] = self.turns[turn_id].model_copy(update=fields)
        self.changed.add(turn_id)

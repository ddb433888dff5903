"""What people do with the messages of a chat that wait: stop, edit, withdraw, promote, hold and resume.

Pure: no I/O, no Restate. A held message is given to no turn before somebody says so.
"""

from collections.abc import Collection, Iterable, Iterator

from app.turns.control import OpenTurn
from app.turns.modes import Decision, Mode
from app.turns.moves import Moves, in_order
from app.turns.protocol import Receipt
from app.turns.transcript import Message, TurnStatus
from app.turns.waiting.protocol import StopAnswer, WhatWaits


class Waiting(Moves):
    """The part of a conversation that people shape while the agent works."""

    @property
    def waiting(self) -> int:
        """How many messages wait for the agent, the held ones included."""
        return len(self.held) + sum(len(self.turns[turn.turn_id].pending) for turn in self.session.open)

    def stop(self, turn_id: int | None, queue: WhatWaits = "withdraw", *, rollback: bool = False) -> StopAnswer:
        """End the open turn (or withdraw queued turn `turn_id`), and withdraw, hold or send what waits."""
        status = TurnStatus.ROLLED_BACK if rollback else TurnStatus.INTERRUPTED
        if queue == "send":
            return self._stop_and_send(turn_id, status)
        ending = self._roll_back_ending(turn_id) if rollback else None
        targets = self._targets(turn_id)
        waiting = [message for turn in targets for message in self._take_pending(turn.turn_id)]
        for turn in targets:
            if turn.running:
                self._stop(turn, status)
            else:
                self._withdraw(turn)
        self.heal()
        ids = tuple(_ids(waiting))
        ended = [turn.turn_id for turn in (ending, *targets) if turn is not None]
        stopped = StopAnswer(stopped=bool(ended), turn_id=ended[0] if ended else None)
        if queue == "withdraw":
            return stopped.changed(withdrawn=ids)
        self._hold(waiting)
        return stopped.changed(held=ids)

    def edit(self, message_id: str, content: str | None) -> bool:
        """Replace the text of a waiting message, or withdraw it if `content` is None; False if it does not wait."""
        if message_id in _ids(self.held):
            self._set(held=tuple(_edited(self.held, message_id, content)))
            return True
        for turn in self._live():
            pending = self.turns[turn.turn_id].pending
            if message_id not in _ids(pending):
                continue
            self._recall_early()
            kept = tuple(_edited(pending, message_id, content))
            self._change(turn.turn_id, pending=kept)
            if not kept and not turn.running:
                self._withdraw(turn)
            self._send_runs()
            return True
        return False

    def promote(self, message_id: str) -> bool:
        """Hand a waiting message to the first live turn, now (as STEER does); False if it does not wait."""
        found = self._found(message_id)
        if found is None:
            return False
        promoted = found.changed(mode=Mode.STEER)
        self.edit(message_id, None)
        first = self._live()[0] if self._live() else None
        if first is None:  # it was alone in the only live turn, or held
            self._new_turn([promoted])
        elif first.running:
            self._change(first.turn_id, pending=(*self.turns[first.turn_id].pending, promoted))
            self._ring(first.turn_id, promoted)
        else:
            self._recall_early()
            self._change(first.turn_id, pending=(promoted, *self.turns[first.turn_id].pending))
            self._send_runs()
        return True

    def hold(self, message_id: str) -> bool:
        """Set a waiting message aside; False if it does not wait."""
        found = self._found(message_id)
        if found is None:
            return False
        if message_id not in _ids(self.held):
            self.edit(message_id, None)
            self._hold([found])
        return True

    def resume(self, message_ids: Collection[str] | None) -> list[Receipt]:
        """Have held messages (all, or those named) answered behind the open turns; return what became of each.

        As before they were held, one of mode QUEUE begins a turn of its own; the others join the one in front of them.
        """
        busy = bool(self.session.open)
        receipts = []
        for messages in _by_turn(self._release(message_ids)):
            decision = Decision.QUEUED if self._live() else Decision.STARTED
            turn_id = self._new_turn([self._numbered(message) for message in messages])
            receipts += [Receipt(message_id=m.message_id, turn_id=turn_id, decision=decision) for m in messages]
        if busy:
            self.heal()
        return receipts

    def _targets(self, turn_id: int | None) -> list[OpenTurn]:
        """Return what `stop` ends: everything, a queued turn alone if that is named, nothing if it is not open."""
        live = self._live()
        if turn_id is None or (live and turn_id == live[0].turn_id):
            return live
        return [turn for turn in live if turn.turn_id == turn_id]

    def _ends_without_rollback(self) -> OpenTurn | None:
        """Return the turn that was stopped and still ends, unless what it has done will be undone."""
        ending = self.session.open[:1]
        return next((turn for turn in ending if turn.running and turn.stopping is TurnStatus.INTERRUPTED), None)

    def _roll_back_ending(self, turn_id: int | None) -> OpenTurn | None:
        """Have the turn that was stopped rolled back, too, if it is this one or none is named; return it."""
        ending = self._ends_without_rollback()
        if ending is None or turn_id not in (None, ending.turn_id):
            return None
        self._recall_early()
        self._stop(ending, TurnStatus.ROLLED_BACK)
        self._send_runs()
        return ending

    def _stop_and_send(self, turn_id: int | None, status: TurnStatus) -> StopAnswer:
        """End the open turn and begin the next with all that waits and is held, as INTERRUPT does.

        The turn may be stopping already: who says `hold` and then `send` means the same turn.
        """
        live = self._live()
        running = next((turn for turn in live if turn.running), None)
        answer = StopAnswer(stopped=False, sent=())
        if turn_id in (None, *(turn.turn_id for turn in (*self.session.open[:1], *live[:1]))):
            pending = [message for turn in live for message in self.turns[turn.turn_id].pending]
            sent = tuple(_ids(in_order(pending, self.held)))
            if running is not None:
                answer = answer.changed(stopped=True, turn_id=running.turn_id)
            if sent and (running is not None or self.held or len(live) > 1):  # else they begin the next turn already
                turn_id = self._replace(status, self._release(None))
                answer = answer.changed(sent=sent, next_turn_id=turn_id)
            elif running is not None:
                self._stop(running, status)
        self.heal()
        return answer

    def _found(self, message_id: str) -> Message | None:
        """Return a message that waits, or is held."""
        waiting = (message for turn in self._live() for message in self.turns[turn.turn_id].pending)
        return next((message for message in (*self.held, *waiting) if message.message_id == message_id), None)

    def _hold(self, messages: Iterable[Message]) -> None:
        """Hold messages that no turn has any more, each at its place among those that are held."""
        self._set(held=tuple(in_order(self.held, messages)))

    def _release(self, message_ids: Collection[str] | None) -> list[Message]:
        """Hold the messages (all, or those named) no longer; the caller gives them to a turn."""
        released = [m for m in self.held if message_ids is None or m.message_id in message_ids]
        if released:
            self._set(held=tuple(message for message in self.held if message not in released))
        return released


def _ids(messages: Iterable[Message]) -> list[str]:
    return [message.message_id for message in messages]


def _edited(messages: Iterable[Message], message_id: str, content: str | None) -> Iterator[Message]:
    for message in messages:
        if message.message_id != message_id:
            yield message
        elif content is not None:
            yield message.changed(content=content, source=None)  # whoever edits it says it


def _by_turn(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Yield the messages of each turn that they begin."""
    turn: list[Message] = []
    for message in messages:
        if turn and message.mode is Mode.QUEUE:
            yield turn
            turn = []
        turn.append(message)
    if turn:
        yield turn

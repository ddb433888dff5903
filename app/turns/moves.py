"""The moves of a chat's turns: open, hand messages over, stop, withdraw, close, and have dead runs found.

Pure: no I/O, no Restate. What makes them happen is in `conversation.py`.
"""

from collections.abc import Iterable
from heapq import merge
from operator import attrgetter
from typing import Any

from app.turns.control import Cancel, Decide, Effect, OpenTurn, Probe, RingDoorbell, RingRun, Session, Settle, Start
from app.turns.modes import Mode
from app.turns.protocol import MemoryRef, TurnRef
from app.turns.rollback.rules import rollback_note
from app.turns.transcript import Message, Resolution, Turn, TurnStatus, Undone, Verdict

MAX_REASON_CHARS = 1000  # of a message; the turn is given all of it
ENDED_OUTSIDE = "The run of this turn was ended from outside; what it had reported so far is kept."


class Moves:
    """A working copy of a chat: `session`, its open turns, and what the change wants done.

    `effects` are in the order in which they must happen; `changed` names the turns to store.
    """

    def __init__(self, session: Session, turns: Iterable[Turn]) -> None:
        self.session = self._loaded = session
        self.turns = {turn.turn_id: turn for turn in turns}
        self.effects: list[Effect] = []
        self.changed: set[int] = set()

    @property
    def stored(self) -> Session | None:
        """What is open as it is to be stored, None if it is stored already."""
        stored = self.session.changed(turns=tuple(self.turns[turn.turn_id] for turn in self.session.open))
        loaded = self._loaded.changed(turns=self._loaded.turns or ())  # that of a chat without state is not stored
        return None if stored == loaded else stored

    @property
    def closed(self) -> list[Turn]:
        """The turns that this change has closed, to be stored each under a key of its own."""
        open_turns = {turn.turn_id for turn in self.session.open}
        return [self.turns[turn_id] for turn_id in sorted(self.changed - open_turns)]

    @property
    def held(self) -> tuple[Message, ...]:
        """The messages that wait for `resume`, in order."""
        return self.session.held or ()

    @property
    def changed_held(self) -> bool:
        """Whether this change has held or released messages."""
        return self.held != (self._loaded.held or ())

    # Healing: what was killed or cancelled from outside reports nothing

    def heal(self) -> None:
        """Have every turn closed that was open before this change and whose run is dead.

        A settlement waits behind each run. One that was sent earlier may have been killed together with the run, so
        where there is one the run is probed as well. A run that is sent now is looked after by who counts on it next.
        """
        watched = tuple(turn.turn_id for turn in self.session.open if turn.watched)
        if watched:
            self.effects.append(Probe(watched))
        sent_now = {effect.turn_id for effect in self.effects if isinstance(effect, Start)}
        for turn in self.session.open:
            if turn.sent and not turn.watched and turn.turn_id not in sent_now:
                self.effects.append(Settle(turn.turn_id))
                self._control(turn.turn_id, watched=True)

    def _bury(self, turn: OpenTurn, why: str | None = None) -> None:
        """Close a turn whose run is dead. One whose end was stored before its handler was killed keeps that end."""
        stored = self.turns[turn.turn_id]
        if turn.running:
            self._set(memory=None)  # nobody knows how far it came
        if stored.status not in (TurnStatus.QUEUED, TurnStatus.RUNNING):
            self._close(turn, stored.status, stored.error)
        elif turn.stopping:
            self._close(turn, turn.stopping, None)
        else:
            self._close(turn, TurnStatus.FAILED, why or ENDED_OUTSIDE)

    # The moves

    def _live(self) -> list[OpenTurn]:
        """The open turns that can still take a message."""
        return [turn for turn in self.session.open if not turn.stopping]

    def _open(self, turn_id: int) -> OpenTurn:
        return next(turn for turn in self.session.open if turn.turn_id == turn_id)

    def _fenced(self, ref: TurnRef) -> OpenTurn | None:
        """Return the open turn that `ref` names, None for a late or foreign run."""
        for turn in self.session.open:
            if (turn.turn_id, turn.invocation_id) == (ref.turn_id, ref.invocation_id):
                return turn
        return None

    def _heard_from(self, ref: TurnRef) -> OpenTurn | None:
        """As `_fenced`, for what only a live run says: the turns before it are then dead, as runs never overlap."""
        turn = self._fenced(ref)
        while turn is not None and self.session.open[0].turn_id != turn.turn_id:
            self._bury(self.session.open[0])
        return self._fenced(ref)

    def _known_run(self, ref: TurnRef) -> OpenTurn | None:
        """As `_heard_from`; a run that the chat does not know is told to end.

        Its handler was killed after it had sent the run, or the chat was forgotten meanwhile.
        """
        turn = self._heard_from(ref)
        if turn is None:
            self.effects.append(Cancel(ref.invocation_id))
        return turn

    def _numbered(self, message: Message) -> Message:
        """Return a message that comes behind all others."""
        self._set(received=self.session.received + 1)
        return message.changed(number=self.session.received)

    def _new_turn(self, messages: list[Message]) -> int:
        """Open a turn behind the open ones."""
        turn_id = self.session.last_turn_id + 1
        self._set(last_turn_id=turn_id, open=(*self.session.open, OpenTurn(turn_id=turn_id)))
        self.turns[turn_id] = Turn(turn_id=turn_id, mode=messages[-1].mode)
        self._change(turn_id, pending=tuple(messages))
        self._send_runs()
        return turn_id

    def _send_runs(self) -> None:
        """Have the runs of open turns sent, in order.

        The first runs at once. One right behind a stopping turn is sent early, to run when that one has ended; those
        behind it wait, because an early run is sent again if its messages change. Any other asks for its messages when
        its time comes: until then they can be edited and withdrawn.
        """
        for position, turn in enumerate(self.session.open):
            head = self.session.open[0]
            if turn.sent or (position > 1 and head.stopping):
                continue
            messages = self.turns[turn.turn_id].pending
            self._control(turn.turn_id, sent=True, early=position == 1 and head.stopping is not None)
            if position == 0:
                self._run(turn.turn_id)
                self.effects.append(Start(turn.turn_id, messages, self._memory_now(turn.turn_id)))
            elif head.stopping:
                self.effects.append(Start(turn.turn_id, messages, self._memory_behind(head)))
            else:
                self.effects.append(Start(turn.turn_id))

    def _run(self, turn_id: int) -> None:
        """Note that a turn runs, with the messages that wait for it."""
        self._control(turn_id, running=True, early=False)
        self._change(turn_id, status=TurnStatus.RUNNING)
        self._give_pending(turn_id)

    def _memory_now(self, turn_id: int) -> MemoryRef | None:
        """Return what the first of the open turns finds in memory."""
        return MemoryRef() if turn_id == 1 else self.session.expected

    def _memory_behind(self, stopping: OpenTurn) -> MemoryRef:
        """Return what a run finds in memory that begins when the run of `stopping` has ended."""
        rolled_back = stopping.stopping is TurnStatus.ROLLED_BACK
        left_out = (stopping.turn_id,) if rolled_back else ()
        last, run_id = stopping.turn_id, stopping.invocation_id
        return MemoryRef(last=last, invocation_id=run_id, without=left_out, summary=self.session.covered)

    def _recall_early(self) -> None:
        """Take back the run that was sent early: what it was sent does not hold any more."""
        for turn in self.session.open:
            if turn.early:
                self._unsend(turn)
                self._control(turn.turn_id, sent=False, early=False, watched=False)

    def _unsend(self, turn: OpenTurn) -> None:
        """Take back the run of a turn. One that this change wants sent is not sent; another one is cancelled."""
        wanted = [effect for effect in self.effects if isinstance(effect, Start) and effect.turn_id == turn.turn_id]
        if wanted:
            self.effects.remove(wanted[0])
        else:
            self.effects.append(Cancel(turn.invocation_id))

    def _replace(self, stopping: TurnStatus, added: Iterable[Message]) -> int:
        """Stop what runs; the first queued turn (or a new one) gets all that waits and what is `added`, in order."""
        live = self._live()
        queued = [turn for turn in live if not turn.running]
        self._recall_early()
        messages = in_order((m for turn in live for m in self._take_pending(turn.turn_id)), added)
        for head in self.session.open[:1]:
            if head.running and (not head.stopping or stopping is TurnStatus.ROLLED_BACK):
                self._stop(head, stopping)
        if not queued:
            return self._new_turn(messages)
        self._change(queued[0].turn_id, pending=tuple(messages), mode=messages[-1].mode)
        for turn in queued[1:]:
            self._withdraw(turn)
        self._send_runs()
        return queued[0].turn_id

    def _hand_in(self, message: Message) -> int:
        """Give `message` to the first live turn, behind all that waits: a queued message is never overtaken."""
        first, *queued = self._live()
        self._recall_early()
        waiting = [m for turn in (first, *queued) for m in self._take_pending(turn.turn_id)]
        self._change(first.turn_id, pending=(*waiting, message))
        for turn in queued:
            self._withdraw(turn)
        if first.running:
            self._ring(first.turn_id, message)
        self._send_runs()
        return first.turn_id

    def _ring(self, turn_id: int, message: Message) -> None:
        """Tell the run of a turn that `message` waits for it."""
        turn = self._open(turn_id)
        self._ring_bell(message)
        self._control(turn_id, rings=turn.rings + 1)
        steer = message.mode is Mode.STEER
        self.effects.append(RingRun(turn.invocation_id, turn.rings + 1, steer, message.content[:200]))
        # Behind the ring: the run fetches the message before its next LLM call.
        self._resolve(turn_id, rejected_by(message))

    def _resolve(self, turn_id: int, resolution: Resolution, approval_id: str | None = None) -> None:
        """Resolve what a turn waits to have approved: all, or this one. Its run hears of it, if it goes on by that."""
        approvals = self.turns[turn_id].approvals
        waiting = {each.approval_id for each in approvals if each.resolution is None}
        resolved = waiting if approval_id is None else waiting.intersection([approval_id])
        if not resolved:
            return
        changed = [a.changed(resolution=resolution) if a.approval_id in resolved else a for a in approvals]
        self._change(turn_id, approvals=tuple(changed))
        if resolution.verdict in (Verdict.APPROVED, Verdict.REJECTED):
            run = self._open(turn_id).invocation_id
            told = (each.approval_id for each in approvals if each.approval_id in resolved)
            self.effects += (Decide(run, approval_id, resolution) for approval_id in told)

    def _ring_bell(self, message: Message) -> None:
        """As `_ring`, for a run of the version before."""
        bell = self.session.doorbell
        steer = message.mode is Mode.STEER
        if bell is not None and (steer or not bell.steer_only):
            self.effects.append(RingDoorbell(bell.awakeable_id, steer, message.content[:200]))
            self._set(doorbell=None)

    def _stop(self, turn: OpenTurn, status: TurnStatus) -> None:
        if not turn.stopping:
            self.effects.append(Cancel(turn.invocation_id))
        self._control(turn.turn_id, stopping=status)
        self._resolve(turn.turn_id, Resolution(verdict=Verdict.WITHDRAWN))
        self._set(doorbell=None)

    def _withdraw(self, turn: OpenTurn) -> None:
        """Drop a queued turn; its messages went elsewhere or were withdrawn by name."""
        if self._open(turn.turn_id).sent:  # this change may have sent or recalled it
            self._unsend(turn)
        self._close(turn, TurnStatus.WITHDRAWN, None)

    def _close(self, turn: OpenTurn, status: TurnStatus, error: str | None, undone: tuple[Undone, ...] = ()) -> None:
        """Take a turn off the open ones; messages it leaves go to the live turn behind it, or to a new one at the end.

        Never to one before it: the messages of turns in between would be overtaken.
        """
        left = self._take_pending(turn.turn_id)
        self._resolve(turn.turn_id, Resolution(verdict=Verdict.WITHDRAWN))
        if status is TurnStatus.ROLLED_BACK and error is None:
            error = rollback_note(self.turns[turn.turn_id].items, undone)
        self._change(turn.turn_id, status=status, error=error)
        self._set(open=tuple(t for t in self.session.open if t.turn_id != turn.turn_id))
        if self.session.doorbell and self.session.doorbell.turn_id == turn.turn_id:
            self._set(doorbell=None)
        heir = next((other for other in self._live() if other.turn_id > turn.turn_id), None)
        if left and heir is not None:
            self._recall_early()
            self._change(heir.turn_id, pending=(*left, *self.turns[heir.turn_id].pending))
        elif left:
            self._new_turn(list(left))
        if self.session.open and self.session.open[0].early:
            self._run(self.session.open[0].turn_id)
        self._send_runs()

    def _give_pending(self, turn_id: int) -> tuple[Message, ...]:
        """Move the waiting messages of a turn into its items, and return them."""
        given = self._take_pending(turn_id)
        self._change(turn_id, items=(*self.turns[turn_id].items, *(message.item for message in given)))
        return given

    def _take_pending(self, turn_id: int) -> tuple[Message, ...]:
        pending = self.turns[turn_id].pending
        if pending:
            self._change(turn_id, pending=())
        return pending

    def _set(self, **fields: Any) -> None:
        self.session = self.session.changed(**fields)

    def _control(self, turn_id: int, **fields: Any) -> None:
        self._set(open=tuple(t.changed(**fields) if t.turn_id == turn_id else t for t in self.session.open))

    def _change(self, turn_id: int, **fields: Any) -> None:
        self.turns[turn_id] = self.turns[turn_id].changed(**fields)
        self.changed.add(turn_id)


def rejected_by(message: Message) -> Resolution:
    """Return how an approval is resolved by a message that the turn is given: it never approves."""
    reason = message.item.said[:MAX_REASON_CHARS]
    return Resolution(verdict=Verdict.REJECTED, reason=reason, message_id=message.message_id)


def in_order(*waiting: Iterable[Message]) -> list[Message]:
    """Return messages that waited in several places in the order in which they were sent; each place keeps its own."""
    return list(merge(*waiting, key=attrgetter("number")))

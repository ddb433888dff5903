"""What a stream with an end waits for: the turn that has taken a message, or a chat that rests.

Pure: no I/O. Where the view cannot tell what became of a message, a goal is `in_doubt` until it has read the history.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.turns.reading.history import TurnView
from app.turns.reading.protocol import ChatStatus, HistoryEntry
from app.turns.transcript import Approval, TurnStatus, Usage
from app.web.watch.events import StatusSeen, TurnSeen, ViewEvent


@dataclass(frozen=True, slots=True)
class End:
    """How what a stream waited for has ended, or stands still. `status` None: nothing was asked of the agent."""

    status: TurnStatus | None
    turn_id: int | None = None
    error: str | None = None
    usage: Usage = field(default_factory=Usage)
    asks: tuple[Approval, ...] = ()  # it goes on when a person has decided about these


class MessageAnswered:
    """The turn that took the message is over, also if the message moved to another turn before it was taken.

    Or it waits for a person, as may a turn before it.
    """

    reads_anew = (StatusSeen, TurnSeen)  # of what it was before the message came, nothing counts

    def __init__(self, message_id: str, turn_id: int) -> None:
        self.message_id = message_id
        self.turn_id = turn_id
        self.in_doubt = True

    def take(self, event: ViewEvent) -> End | None:
        """Return the end if this event of the view brings it."""
        match event:
            case StatusSeen(status) if status.last_turn_id < self.turn_id:
                self.in_doubt = True  # the chat was forgotten, or the view is behind the message
            case StatusSeen(status) if _asks(status):
                self.in_doubt = True  # the view may be behind the decision
            case TurnSeen(turn) if _has(turn.entries, self.message_id) is not None:
                self.turn_id = turn.turn_id
                return None if is_open(turn.status) else _end_of(turn)
            case TurnSeen(turn) if turn.turn_id == self.turn_id:
                self.in_doubt = True
        return None

    def look(self, entries: Sequence[HistoryEntry], asks: Sequence[Approval] = ()) -> End | None:
        """Return the end if the history knows it. `entries` are those of whole turns, up to the newest.

        `asks` are the calls that wait for a person.
        """
        self.in_doubt = False
        entry = _has(entries, self.message_id)
        if entry is None:
            is_older = bool(entries) and self.turn_id < entries[0].turn_id
            return End(TurnStatus.COMPLETED if is_older else TurnStatus.WITHDRAWN, self.turn_id)
        self.turn_id = entry.turn_id
        if entry.held:
            return End(TurnStatus.WITHDRAWN, self.turn_id)
        if is_open(entry.status):
            return _standing(self.turn_id, asks)
        why = [line.content for line in entries if line.turn_id == self.turn_id and line.role == "system"]
        return End(entry.status, self.turn_id, why[-1] if why else None)


class ChatAtRest:
    """No turn is open, or one waits for a person; the end is that of the last turn which was seen to go on."""

    reads_anew = (TurnSeen,)

    def __init__(self) -> None:
        self.in_doubt = False
        self._status: ChatStatus | None = None
        self._open: set[int] = set()
        self._end = End(None)

    def take(self, event: ViewEvent) -> End | None:
        """Return the end if this event of the view brings it."""
        match event:
            case StatusSeen(status):
                self._status = status
                self._open |= {turn.turn_id for turn in status.open_turns}
                self.in_doubt = self.in_doubt or _asks(status)
            case TurnSeen(turn) if is_open(turn.status):
                self._open.add(turn.turn_id)
            case TurnSeen(turn) if turn.turn_id in self._open:
                self._open.discard(turn.turn_id)
                self._end = _end_of(turn)
        if self._status is None or self._status.busy:
            return None
        known = self._status.last_turn_id  # of a chat that was forgotten, the turns seen before are no more
        return None if any(turn_id <= known for turn_id in self._open) else self._end

    def look(self, entries: Sequence[HistoryEntry], asks: Sequence[Approval] = ()) -> End | None:
        """Return the end if a person is asked. `entries` and `asks` are those of the newest turns."""
        self.in_doubt = False
        return _standing(entries[-1].turn_id, asks) if entries else None


Goal = MessageAnswered | ChatAtRest


def is_open(status: TurnStatus) -> bool:
    """Return whether a turn of this status goes on, or is yet to begin."""
    return status in (TurnStatus.QUEUED, TurnStatus.RUNNING)


def _standing(turn_id: int, asks: Sequence[Approval]) -> End | None:
    """Return where a turn stands that waits for a person, or waits behind one that does."""
    return End(TurnStatus.RUNNING, turn_id, asks=tuple(asks)) if asks else None


def _asks(status: ChatStatus) -> bool:
    return any(turn.approvals for turn in status.open_turns)


def _has(entries: Sequence[HistoryEntry], message_id: str) -> HistoryEntry | None:
    return next((entry for entry in entries if entry.role == "user" and entry.message_id == message_id), None)


def _end_of(turn: TurnView) -> End:
    return End(turn.status, turn.turn_id, turn.error, turn.usage)

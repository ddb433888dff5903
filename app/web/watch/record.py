"""The record of a chat as its watchers know it: what each read of it changes.

Pure: no I/O.
"""

from collections.abc import Iterator

from app.live.events import TextId
from app.turns.reading.history import Look, TurnView
from app.turns.reading.protocol import ChatStatus


class Record:
    """What was read last. `after_turn` is the newest turn before which, itself included, all have closed."""

    def __init__(self) -> None:
        self.status: ChatStatus | None = None
        self.after_turn: int | None = None
        self._turns: dict[int, TurnView] = {}

    @property
    def busy(self) -> bool:
        return self.status is not None and self.status.busy

    @property
    def turns(self) -> list[TurnView]:
        """The open turns and the newest closed one, in order."""
        return [self._turns[turn_id] for turn_id in sorted(self._turns)]

    def take(self, look: Look) -> tuple[bool, list[TurnView]]:
        """Take what was read. Return whether the status has changed, and the turns that have, in order."""
        forgotten = self.status is not None and look.status.last_turn_id < self.status.last_turn_id
        if forgotten:
            self._turns = {}
        changed = [turn for turn in look.turns if self._turns.get(turn.turn_id) != turn]
        self._turns |= {turn.turn_id: turn for turn in changed}
        new_status = look.status != self.status
        self.status = look.status
        open_turns = {turn.turn_id for turn in look.status.open_turns}
        self.after_turn = min(open_turns, default=look.status.last_turn_id + 1) - 1
        kept = {turn_id for turn_id in self._turns if turn_id > self.after_turn}
        newest_closed = max(self._turns.keys() - open_turns, default=None)
        self._turns = {
            turn_id: turn for turn_id, turn in self._turns.items() if turn_id in kept or turn_id == newest_closed
        }
        return new_status, changed

    def has(self, text_id: TextId) -> bool:
        """Return whether the text of a call is in the record, or will never be: its turn has closed."""
        if self.status is None:
            return False
        if self.after_turn is not None and text_id.turn_id <= self.after_turn:
            return True
        turn = self._turns.get(text_id.turn_id)
        if turn is None:
            return False
        if text_id.turn_id not in self._open_turns():
            return True
        return any(entry.index is not None and entry.index >= text_id.index for entry in turn.entries)

    def _open_turns(self) -> Iterator[int]:
        return (turn.turn_id for turn in self.status.open_turns) if self.status else iter(())

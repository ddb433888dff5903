"""The text that an LLM call writes while somebody watches: how far a watcher has it.

Pure: no I/O. Whatever the view repeats or skips, a watcher never gets a piece of text twice.
"""

from dataclasses import dataclass

from app.live.events import TextAdded, TextId, ThoughtAdded


@dataclass(slots=True)
class RunningText:
    """How much of a text was passed on: `length` characters of it. `ended` if its call is over."""

    text_id: TextId
    length: int = 0
    ended: bool = False

    def is_at(self, text_id: TextId) -> bool:
        """Return whether a text stands at the same place, written by this attempt or by another one."""
        return (self.text_id.turn_id, self.text_id.index) == (text_id.turn_id, text_id.index)

    def has_news(self, event: TextAdded | ThoughtAdded) -> bool:
        """Return whether `new_part` has something to return."""
        known = self.ended or event.text_id != self.text_id
        return not known and event.offset <= self.length < event.offset + len(event.text)

    def new_part(self, event: TextAdded | ThoughtAdded) -> str:
        """Return what of a piece of text was not passed on yet.

        A piece that begins behind a gap is not passed on, nor is what follows it: the record has the whole text soon.
        """
        if self.ended or event.text_id != self.text_id or event.offset > self.length:
            return ""
        part = event.text[self.length - event.offset :]
        self.length += len(part)
        return part

"""What runs in a chat right now, as the events of a stream tell it: the LLM call, its text so far, the running tools.

Pure: no I/O. Events may come twice, late or not at all: what it passes on has neither gaps nor repeats.
"""

from dataclasses import replace
from typing import Generic, TypeVar

from app.live.events import (
    CallEnded,
    CallStarted,
    LiveEvent,
    TextAdded,
    TextId,
    ThoughtAdded,
    ToolEnded,
    ToolProgress,
    ToolStarted,
)

P = TypeVar("P", TextAdded, ThoughtAdded)


class Running:
    """The newest LLM call, over or not, with its text, its thoughts, and the tools that it asked for and that run.

    `max_chars` bounds the text, and the thoughts; what is beyond it is not passed on.
    """

    def __init__(self, max_chars: int) -> None:
        self._max_chars = max_chars
        self._call: CallStarted | None = None
        self._ended = True
        self._text: _Pieces[TextAdded] = _Pieces(max_chars)
        self._thought: _Pieces[ThoughtAdded] = _Pieces(max_chars)
        self._tools: dict[str, ToolStarted] = {}
        self._progress: dict[str, ToolProgress] = {}

    @property
    def text_id(self) -> TextId | None:
        """The newest call, None if there was none."""
        return self._call.text_id if self._call else None

    @property
    def idle(self) -> bool:
        """Whether neither a call nor a tool runs."""
        return self._ended and not self._tools

    def take(self, event: LiveEvent) -> tuple[LiveEvent, ...]:
        """Take an event and return what is news in it."""
        match event:
            case TextAdded():
                return self._text.add(event) if self._is_of_call(event) else ()
            case ThoughtAdded():
                return self._thought.add(event) if self._is_of_call(event) else ()
            case CallStarted():
                return self._start(event)
            case CallEnded(text_id):
                return self.end() if text_id == self.text_id else ()
            case ToolStarted():
                return self._start_tool(event)
            case ToolProgress():
                return self._note_progress(event)
            case ToolEnded():
                return self._end_tool(event)
        return ()

    def end(self) -> tuple[LiveEvent, ...]:
        """End the call, if it is not over, and return what is news in that."""
        if self._ended or self._call is None:
            return ()
        self._ended = True
        return (CallEnded(self._call.text_id),)

    def clear(self) -> tuple[LiveEvent, ...]:
        """Forget all, and return what is news in that."""
        news = self.end()
        self._call, self._text, self._thought = None, _Pieces(self._max_chars), _Pieces(self._max_chars)
        self._tools, self._progress = {}, {}
        return news

    def snapshot(self) -> list[LiveEvent]:
        """Return the events that tell all of this to somebody who knows nothing."""
        told: list[LiveEvent] = []
        if self._call is not None:
            told.append(self._call)
            if thought := self._thought.joined():
                told.append(ThoughtAdded(self._call.text_id, 0, thought))
            if text := self._text.joined():
                told.append(TextAdded(self._call.text_id, 0, text))
            if self._ended:
                told.append(CallEnded(self._call.text_id))
        return [*told, *self._tools.values(), *self._progress.values()]

    def _start(self, event: CallStarted) -> tuple[LiveEvent, ...]:
        if event.text_id == self.text_id:
            return ()
        before = self.clear()
        self._call, self._ended = event, False
        return (*before, event)

    def _is_of_call(self, event: TextAdded | ThoughtAdded) -> bool:
        return self._call is not None and event.text_id == self._call.text_id and not self._ended

    def _start_tool(self, event: ToolStarted) -> tuple[LiveEvent, ...]:
        if event.call_id in self._tools:
            return ()
        asked = event.text_id
        newest = self.text_id
        if newest is not None and (asked.turn_id, asked.index) == (newest.turn_id, newest.index):
            event = replace(event, text_id=newest)  # who starts it need not know the attempt
        self._tools[event.call_id] = event
        return (event,)

    def _note_progress(self, event: ToolProgress) -> tuple[LiveEvent, ...]:
        if event.call_id not in self._tools:
            return ()
        self._progress[event.call_id] = event
        return (event,)

    def _end_tool(self, event: ToolEnded) -> tuple[LiveEvent, ...]:
        if self._tools.pop(event.call_id, None) is None:
            return ()
        self._progress.pop(event.call_id, None)
        return (event,)


class _Pieces(Generic[P]):
    """A text of a call, as it comes in pieces: `max_chars` of it."""

    def __init__(self, max_chars: int) -> None:
        self._max_chars = max_chars
        self._texts: list[str] = []
        self._chars = 0

    def add(self, event: P) -> tuple[P, ...]:
        """Take a piece and return what is news in it."""
        if event.offset > self._chars:
            return ()
        if event.offset < self._chars:
            event = replace(event, offset=self._chars, text=event.text[self._chars - event.offset :])
        if self._chars + len(event.text) > self._max_chars:
            event = replace(event, text=event.text[: self._max_chars - self._chars])
        if not event.text:
            return ()
        self._texts.append(event.text)
        self._chars += len(event.text)
        return (event,)

    def joined(self) -> str:
        """Return the text so far."""
        self._texts = ["".join(self._texts)] if self._texts else []
        return self._texts[0] if self._texts else ""

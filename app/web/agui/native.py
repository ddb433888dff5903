"""The native stream: what the page and the terminal client show, as AG-UI events with a cursor each.

Pure: no I/O. The record is sent as it is (`CUSTOM` events of whole turns); text and tools are sent while they run.
"""

import string

from ag_ui.core import (
    BaseEvent,
    CustomEvent,
    StateSnapshotEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)

from app.live.events import (
    CallEnded,
    CallStarted,
    TextAdded,
    TextId,
    ThoughtAdded,
    ToolEnded,
    ToolProgress,
    ToolStarted,
)
from app.turns.reading.history import TurnView
from app.turns.transcript import TurnStatus
from app.web.agui.goal import is_open
from app.web.agui.running import RunningText
from app.web.agui.thinking import Thinking
from app.web.watch.events import Resync, StatusSeen, TurnSeen, Unavailable, ViewEvent

NO_CURSOR = "-"

Sent = tuple[str, BaseEvent]  # the cursor behind an event, and the event


class NativeEvents:
    """The events of one watcher. `last_event_id` is the cursor that a watcher who was cut off has reached."""

    def __init__(self, last_event_id: str | None = None) -> None:
        self._text, self._suffixed, thought_chars = _read_cursor(last_event_id)
        self._thinking = self._thinking_of(self._text, thought_chars)
        self._sent: list[Sent] = []

    @property
    def cursor(self) -> str:
        """Where the watcher stands in the running text: turn, index, characters, whether it is over, attempt.

        Behind the flag for the end stands how many characters of thought it has.
        """
        if self._text is None:
            return NO_CURSOR
        place, flags = self._text.text_id, ("e" if self._text.ended else "o") + ("s" if self._suffixed else "")
        if self._thinking is not None and (thought_chars := self._thinking.passed_on.length):
            flags += str(thought_chars)
        return f"{place.turn_id}.{place.index}.{self._text.length}.{flags}.{place.attempt}"

    def take(self, event: ViewEvent) -> list[Sent]:
        """Return what an event of the view tells the watcher."""
        self._sent = []
        match event:
            case StatusSeen(status):
                self._send(StateSnapshotEvent(snapshot=status.model_dump(mode="json")))
            case TurnSeen(turn):
                if self._text is not None and _shows(turn, self._text.text_id):
                    self._end_text()
                self._send(CustomEvent(name="turn", value=turn.model_dump(mode="json")))
            case CallStarted():
                self._start(event)
            case TextAdded():
                self._add(event)
            case ThoughtAdded() if self._thinking is not None:
                self._send_all(self._thinking.begin(event))  # with the cursor before the piece
                self._send_all(self._thinking.add(event))
            case CallEnded(text_id):
                if self._text is not None and self._text.text_id == text_id:
                    self._end_text()
            case ToolStarted() | ToolProgress() | ToolEnded():
                self._tell_of_tool(event)
            case Unavailable(message):
                self._send(CustomEvent(name="unavailable", value={"message": message}))
            case Resync():
                pass  # what follows says how it is; text that the watcher has is not sent again
        return self._sent

    def _send(self, event: BaseEvent) -> None:
        self._sent.append((self.cursor, event))

    def _start(self, event: CallStarted) -> None:
        if event.read:
            read = {"turn_id": event.text_id.turn_id, "message_ids": list(event.read)}
            self._send(CustomEvent(name="read", value=read))
        text = self._text
        if text is not None and text.text_id == event.text_id:
            return
        if text is not None:
            self._end_text()
        self._suffixed = text is not None and text.is_at(event.text_id)
        self._text = RunningText(event.text_id)
        self._thinking = self._thinking_of(self._text)
        place = {"turnId": event.text_id.turn_id, "index": event.text_id.index}
        self._send(TextMessageStartEvent(message_id=self._message_id(event.text_id), role="assistant", raw_event=place))

    def _add(self, event: TextAdded) -> None:
        if self._text is None:
            return
        if self._text.has_news(event):
            self._end_thinking()
        if part := self._text.new_part(event):
            self._send(TextMessageContentEvent(message_id=self._message_id(event.text_id), delta=part))

    def _end_text(self) -> None:
        self._end_thinking()
        if self._text is not None and not self._text.ended:
            self._text.ended = True
            self._send(TextMessageEndEvent(message_id=self._message_id(self._text.text_id)))

    def _thinking_of(self, text: RunningText | None, length: int = 0) -> Thinking | None:
        """Return the thoughts that lead to a text; those of which a watcher has some may be open."""
        if text is None:
            return None
        passed_on = RunningText(text.text_id, length, ended=text.ended)
        is_open = bool(length and not text.length and not text.ended)
        return Thinking(f"{self._message_id(text.text_id)}-reasoning", passed_on, is_open=is_open)

    def _end_thinking(self) -> None:
        if self._thinking is not None:
            self._send_all(self._thinking.end())

    def _send_all(self, events: list[BaseEvent]) -> None:
        for event in events:
            self._send(event)

    def _message_id(self, text_id: TextId) -> str:
        ours = self._text is not None and self._text.text_id == text_id
        return f"{_plain(text_id)}-{text_id.attempt}" if ours and self._suffixed else _plain(text_id)

    def _tell_of_tool(self, event: ToolStarted | ToolProgress | ToolEnded) -> None:
        match event:
            case ToolStarted(text_id, call_id, name, arguments):
                parent = self._message_id(text_id)
                self._send(ToolCallStartEvent(tool_call_id=call_id, tool_call_name=name, parent_message_id=parent))
                self._send(ToolCallArgsEvent(tool_call_id=call_id, delta=arguments))
                self._send(ToolCallEndEvent(tool_call_id=call_id))
            case ToolProgress(turn_id, call_id, text):
                value = {"turn_id": turn_id, "call_id": call_id, "text": text}
                self._send(CustomEvent(name="progress", value=value))
            case ToolEnded(turn_id, call_id, content, outcome):
                place = {"turnId": turn_id, "outcome": outcome}
                result = f"{turn_id}-{call_id}"
                self._send(
                    ToolCallResultEvent(message_id=result, tool_call_id=call_id, content=content, raw_event=place)
                )


def _shows(turn: TurnView, text_id: TextId) -> bool:
    """Return whether the record of a turn has what a running text was to become."""
    recorded = sum(entry.role != "system" and entry.status is not TurnStatus.QUEUED for entry in turn.entries)
    return turn.turn_id == text_id.turn_id and (recorded > text_id.index or not is_open(turn.status))


def _plain(text_id: TextId) -> str:
    return f"{text_id.turn_id}-{text_id.index}"


def _read_cursor(cursor: str | None) -> tuple[RunningText | None, bool, int]:
    """Return the text at which a watcher stands, whether its message id names the attempt, and what it has thought."""
    parts = (cursor or "").split(".", 4)
    if len(parts) != 5 or not all(part.isascii() and part.isdigit() and len(part) < 16 for part in parts[:3]):
        return None, False, 0
    turn_id, index, length = (int(part) for part in parts[:3])
    flags = parts[3].rstrip(string.digits)
    thought_chars = parts[3].removeprefix(flags)[:15]
    text = RunningText(TextId(turn_id, index, parts[4]), length, ended="e" in flags)
    thought = (
        int(thought_chars) if thought_chars.isascii() and thought_chars.isdigit() and len(thought_chars) < 16 else 0
    )
    return text, "s" in flags, thought

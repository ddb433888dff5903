"""One run as a client of AG-UI sees it: from RUN_STARTED through the running text to one terminal event.

Pure: no I/O. Keeps what the client has equal to the record: by pieces while that is enough, else by snapshots.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ag_ui.core import (
    PROTOCOL_VERSION,
    BaseEvent,
    CustomEvent,
    RunStartedEvent,
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
from app.turns.approval.rules import turn_of
from app.turns.reading.history import TurnView
from app.turns.reading.protocol import HistoryEntry
from app.turns.transcript import Approval
from app.web.agui.ending import last_event
from app.web.agui.goal import End, is_open
from app.web.agui.lines import (
    UNPLACED,
    Call,
    Line,
    line_call_id,
    lines_by_turn,
    lines_of,
    result_line_id,
    text_line_id,
)
from app.web.agui.request import Client
from app.web.agui.running import RunningText
from app.web.agui.thinking import Thinking
from app.web.agui.told import Told
from app.web.watch.events import StatusSeen, TurnSeen, Unavailable, ViewEvent

NO_TURN = 0
SNAPSHOT_CHARS = 2_000_000  # of the history that a run begins with; official clients buffer 10 million of one event


class RunEvents:
    """The events of one run. `start` comes first, then `take` for each event of the view, then `finish`, once.

    `ignored` names fields of its input that change nothing: the client is told.
    """

    def __init__(self, client: Client, ignored: Sequence[str] = ()) -> None:
        self._client = client
        self._ignored = list(ignored)
        self._told = Told(client.known)
        self._record: dict[int, list[Line]] = {}
        self._closed: set[int] = set()
        self._held: list[Line] = []  # what waits for `resume`, behind all turns
        self._text: RunningText | None = None
        self._thinking: Thinking | None = None
        self._parts: list[str] = []  # of the open text, of which `_told` has only the beginning
        self._shown = False  # the client has the open text's beginning
        self._events: list[BaseEvent] = []

    def start(self, history: Iterable[HistoryEntry]) -> list[BaseEvent]:
        """Return how a run begins: with the chat so far."""
        client = self._client
        self._note(history)
        self._record = _bounded(self._record)
        started = RunStartedEvent(thread_id=client.thread_id, run_id=client.run_id, protocol_version=PROTOCOL_VERSION)
        notes = [CustomEvent(name="ignored", value={"fields": self._ignored})] if self._ignored else []
        return [started, *notes, *self._told.become(self._wanted())]

    def take(self, event: ViewEvent) -> list[BaseEvent]:
        """Return what an event of the view tells the client."""
        self._events = []
        match event:
            case StatusSeen(status):
                self._held = [_held_line(message.message_id, message.content) for message in status.held]
                self._tell_all()
            case TurnSeen(turn):
                self._see(turn)
            case CallStarted(text_id):
                self._start_text(text_id)
            case TextAdded():
                self._add(event)
            case ThoughtAdded() if self._text is not None and self._thinking is not None and self._is_ahead(self._text):
                self._events += [*self._thinking.begin(event), *self._thinking.add(event)]
            case CallEnded(text_id):
                if self._text is not None and self._text.text_id == text_id:
                    self._end_text()
            case ToolStarted():
                self._start_tool(event)
            case ToolEnded():
                self._end_tool(event)
            case ToolProgress(turn_id, call_id, text):
                value = {"turn_id": turn_id, "call_id": call_id, "text": text}
                self._events.append(CustomEvent(name="progress", value=value))
            case Unavailable(message):
                self._events.append(CustomEvent(name="unavailable", value={"message": message}))
        return self._events

    def catch_up(self, history: Iterable[HistoryEntry]) -> list[BaseEvent]:
        """Return what the client lacks of the history: turns that have changed unseen."""
        self._events = []
        self._note(history)
        if self._text is not None and not self._is_ahead(self._text):
            self._end_text()
        self._tell_all()
        return self._events

    def finish(self, end: End) -> list[BaseEvent]:
        """Return the end of the stream: what is open is closed, then one terminal event."""
        self._events = []
        self._end_text()
        asks = [(approval, self._call_asked(approval)) for approval in end.asks]
        return [*self._events, last_event(self._client, end, asks)]

    def _call_asked(self, approval: Approval) -> str:
        """Return our id of the call that a person is asked about; a client that does not have it is told of it."""
        turn_id = turn_of(approval.approval_id)
        for line in self._told.lines:
            call_id = line_call_id(turn_id, line.place, approval.call_id)
            if line.turn_id == turn_id and call_id in [call.call_id for call in line.calls]:
                return call_id
        text_id = TextId(turn_id, self._recorded(turn_id), "")
        self._start_tool(ToolStarted(text_id, approval.call_id, approval.name, approval.arguments))
        return line_call_id(turn_id, text_id.index, approval.call_id)

    # The record

    def _note(self, history: Iterable[HistoryEntry]) -> None:
        entries = list(history)
        self._record |= lines_by_turn(entry for entry in entries if not entry.held)
        self._closed |= {entry.turn_id for entry in entries if not is_open(entry.status)}
        self._held = [_held_line(entry.message_id or "", entry.content) for entry in entries if entry.held]

    def _see(self, turn: TurnView) -> None:
        """Make the client's list that of the record, as far as the record is ahead of it."""
        self._record[turn.turn_id] = lines_of(turn.turn_id, turn.entries)
        if not is_open(turn.status):
            self._closed.add(turn.turn_id)
        if self._text is not None and self._text.text_id.turn_id == turn.turn_id and not self._is_ahead(self._text):
            self._end_text()
        self._tell_all()

    def _tell_all(self) -> None:
        """Send the whole list if the client's is another. An open text is closed for it and opened again behind it."""
        self._note_parts()
        wanted = self._wanted()
        if self._told.is_as(wanted):
            return
        reopen = self._text if self._shown else None
        self._close_text()
        self._events += self._told.become(wanted)
        if reopen is not None:
            self._open_text(reopen.text_id)

    def _wanted(self) -> list[Line]:
        """Return the lines of the record, and in open turns those that are ahead of it."""
        ahead: dict[int, list[Line]] = {}
        for line in self._told.lines:
            if line.turn_id not in self._closed and self._recorded(line.turn_id) <= line.place < UNPLACED:
                ahead.setdefault(line.turn_id, []).append(line)
        wanted: list[Line] = []
        for turn_id in sorted(self._record.keys() | ahead.keys()):
            recorded = self._record.get(turn_id, [])
            wanted += [line for line in recorded if line.place < UNPLACED]
            wanted += ahead.get(turn_id, [])
            wanted += [line for line in recorded if line.place == UNPLACED]
        known = {line.line_id for line in wanted}
        return wanted + [line for line in self._held if line.line_id not in known]

    def _recorded(self, turn_id: int) -> int:
        """Return how many entries of a turn's transcript are in the record."""
        return sum(line.place < UNPLACED for line in self._record.get(turn_id, ()))

    def _is_ahead(self, text: RunningText) -> bool:
        turn_id = text.text_id.turn_id
        return turn_id not in self._closed and self._recorded(turn_id) <= text.text_id.index

    # The running text

    def _start_text(self, text_id: TextId) -> None:
        if self._text is not None and self._text.text_id == text_id:
            return
        self._end_text()
        self._text, self._parts = RunningText(text_id), []
        self._thinking = Thinking(f"{_line_id(text_id)}-reasoning-{text_id.attempt}", RunningText(text_id))
        stale = [line for line in self._told.lines if _is_of_earlier_attempt(line, text_id)]
        if stale and self._is_ahead(self._text):
            self._events += self._told.become([line for line in self._told.lines if line not in stale])

    def _add(self, event: TextAdded) -> None:
        text = self._text
        if text is None or not self._is_ahead(text) or not (part := text.new_part(event)):
            return
        self._end_thinking()
        if not self._shown:
            self._told.put(_reply(event.text_id))
            self._open_text(event.text_id)
        self._parts.append(part)
        self._events.append(TextMessageContentEvent(message_id=_line_id(event.text_id), delta=part))

    def _end_thinking(self) -> None:
        self._events += self._thinking.end() if self._thinking is not None else []

    def _end_text(self) -> None:
        self._end_thinking()
        self._note_parts()
        self._close_text()
        if self._text is not None:
            self._text.ended = True

    def _open_text(self, text_id: TextId) -> None:
        self._shown = True
        self._events.append(TextMessageStartEvent(message_id=_line_id(text_id), role="assistant"))

    def _close_text(self) -> None:
        if self._text is not None and self._shown:
            self._events.append(TextMessageEndEvent(message_id=_line_id(self._text.text_id)))
        self._shown = False

    def _note_parts(self) -> None:
        """Note the text that the client was sent since the last time; not with each piece, which would cost a copy."""
        if self._text is not None and self._parts:
            line = self._told.get(_line_id(self._text.text_id)) or _reply(self._text.text_id)
            self._told.put(replace(line, content=line.content + "".join(self._parts)))
            self._parts = []

    # Tools

    def _start_tool(self, event: ToolStarted) -> None:
        text_id = event.text_id
        call = Call(line_call_id(text_id.turn_id, text_id.index, event.call_id), event.name, event.arguments)
        reply = self._told.get(_line_id(text_id)) or _reply(text_id)
        if call in reply.calls or self._recorded(text_id.turn_id) > text_id.index:
            return
        self._told.put_call(reply, call)
        self._events += [
            ToolCallStartEvent(
                tool_call_id=call.call_id, tool_call_name=call.name, parent_message_id=_line_id(text_id)
            ),
            ToolCallArgsEvent(tool_call_id=call.call_id, delta=call.arguments),
            ToolCallEndEvent(tool_call_id=call.call_id),
        ]

    def _end_tool(self, event: ToolEnded) -> None:
        asked = [line for line in self._told.lines if line.turn_id == event.turn_id and line.calls]
        if not asked:
            return
        reply = asked[-1]
        call_id = line_call_id(event.turn_id, reply.place, event.call_id)
        line = Line(result_line_id(call_id), event.turn_id, reply.place, "tool", event.content, answers=call_id)
        if call_id not in [call.call_id for call in reply.calls] or self._told.get(line.line_id) is not None:
            return
        self._told.put_result(line)
        self._events.append(
            ToolCallResultEvent(message_id=line.line_id, tool_call_id=call_id, content=event.content, role="tool")
        )


def _held_line(message_id: str, content: str) -> Line:
    return Line(message_id, NO_TURN, UNPLACED, "user", content)


def _is_of_earlier_attempt(line: Line, text_id: TextId) -> bool:
    return line.turn_id == text_id.turn_id and text_id.index <= line.place < UNPLACED


def _line_id(text_id: TextId) -> str:
    return text_line_id(text_id.turn_id, text_id.index)


def _reply(text_id: TextId) -> Line:
    return Line(_line_id(text_id), text_id.turn_id, text_id.index, "assistant", "")


def _bounded(record: dict[int, list[Line]]) -> dict[int, list[Line]]:
    """Return the last of these turns, as many as fit into one event; the newest in any case."""
    kept: dict[int, list[Line]] = {}
    chars = 0
    for turn_id in sorted(record, reverse=True):
        chars += sum(
            len(line.content) + sum(len(call.arguments) for call in line.calls) + 200 for line in record[turn_id]
        )
        if kept and chars > SNAPSHOT_CHARS:
            break
        kept[turn_id] = record[turn_id]
    return kept

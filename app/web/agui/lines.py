"""The lines of a chat as AG-UI messages: which id each one has, and which belong to which turn.

Pure: no I/O. An id is the same however a client came to have the message: from a snapshot or piece by piece.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ag_ui.core import AssistantMessage, FunctionCall, Message, SystemMessage, ToolCall, ToolMessage, UserMessage

from app.turns.reading.protocol import HistoryEntry
from app.turns.transcript import TurnStatus

UNPLACED = 1_000_000  # behind everything that is in the transcript of a turn


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of an assistant's line. `call_id` is ours: those of an LLM may come again in a later turn."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Line:
    """One message of a chat. `place` is that in the turn's transcript; of a tool's result, that of the reply.

    What waits, and why a turn failed, is in no transcript: UNPLACED. `by` names the background agent that says it.
    """

    line_id: str
    turn_id: int
    place: int
    role: str
    content: str
    calls: tuple[Call, ...] = ()
    answers: str | None = None
    by: str | None = None

    def to_message(self) -> Message:
        """Return the line as a message of AG-UI."""
        match self.role:
            case "user":
                return UserMessage(id=self.line_id, content=self.content, name=self.by)
            case "tool":
                return ToolMessage(id=self.line_id, content=self.content, tool_call_id=self.answers or "")
            case "system":
                return SystemMessage(id=self.line_id, content=self.content)
        calls = [
            ToolCall(id=call.call_id, type="function", function=FunctionCall(name=call.name, arguments=call.arguments))
            for call in self.calls
        ]
        return AssistantMessage(id=self.line_id, content=self.content, tool_calls=calls or None)


def text_line_id(turn_id: int, place: int) -> str:
    """Return the id of the assistant's message at this place of a turn."""
    return f"{turn_id}-{place}"


def line_call_id(turn_id: int, place: int, call_id: str) -> str:
    """Return our id of a tool call that the reply at this place asked for."""
    return f"{turn_id}-{place}-{call_id}"


def result_line_id(call_id: str) -> str:
    """Return the id of the message with the result of a call; `call_id` is ours."""
    return f"{call_id}-result"


def lines_of(turn_id: int, entries: Sequence[HistoryEntry]) -> list[Line]:
    """Return the lines of one turn, of which `entries` are all."""
    return list(_lines(turn_id, entries))


def lines_by_turn(entries: Iterable[HistoryEntry]) -> dict[int, list[Line]]:
    """Return the lines of each turn of a history."""
    turns = groupby(entries, lambda entry: entry.turn_id)
    return {turn_id: lines_of(turn_id, list(of_turn)) for turn_id, of_turn in turns}


def _lines(turn_id: int, entries: Sequence[HistoryEntry]) -> Iterator[Line]:
    reply = 0  # the place of the reply that asked for the calls whose results follow
    for place, entry in enumerate(entries):
        match entry.role:
            case "user":
                at = UNPLACED if entry.status is TurnStatus.QUEUED else place
                line_id = entry.message_id or text_line_id(turn_id, place)
                yield Line(line_id, turn_id, at, "user", entry.content, by=entry.source)
            case "assistant":
                reply = place
                yield _assistant_line(turn_id, place, entry)
            case "tool":
                call_id = line_call_id(turn_id, reply, entry.tool_call_id or "")
                yield Line(result_line_id(call_id), turn_id, reply, "tool", entry.content, answers=call_id)
            case "system":
                yield Line(f"{turn_id}-system", turn_id, UNPLACED, "system", entry.content)


def _assistant_line(turn_id: int, place: int, entry: HistoryEntry) -> Line:
    calls = tuple(
        Call(line_call_id(turn_id, place, call["call_id"]), call["name"], call["arguments"])
        for call in entry.tool_calls or ()
    )
    return Line(text_line_id(turn_id, place), turn_id, place, "assistant", entry.content, calls)

"""What happens in a chat, as lines for a terminal: each text once, however often it is told.

Pure: no I/O. All that others wrote comes out without control characters: a terminal obeys those.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from app.terminal.approvals import asked_lines
from app.text import printable, shorten

Json = dict[str, Any]
Kind = Literal["user", "answer", "thought", "tool", "note", "ask", "error"]
Place = tuple[int, int]  # turn, and place in its transcript

_SHOWN_CHARS = 200  # of arguments and results
_OPEN = ("queued", "running")
_ENDINGS = {
    "interrupted": "Interrupted.",
    "rolled_back": "Rolled back: the agent does not see this turn any more.",
    "withdrawn": "Withdrawn: the agent never got this.",
}


@dataclass(frozen=True)
class Line:
    """One line to show; the text of others in it is safe for a terminal."""

    kind: Kind
    text: str


@dataclass
class Running:
    """A text that is being written. `line` is the last line of it, which is not shown yet."""

    place: Place
    message_id: str
    text: list[str] = field(default_factory=list)
    line: str = ""


class ChatFeed:
    """The lines of one chat, event by event. `status` is the chat's, None before the first event."""

    def __init__(self) -> None:
        self.status: Json | None = None
        self._running: Running | None = None
        self._texts: dict[Place, str] = {}  # what was shown of texts that are not in the record
        self._thoughts: dict[str, list[str]] = {}  # what runs, by message id
        self._thought: set[Place] = set()
        self._shown: set[Place] = set()
        self._calls: set[tuple[Place, str]] = set()
        self._results: set[tuple[Place, str]] = set()
        self._asked: dict[str, tuple[Place, str]] = {}  # running tool calls: where they were asked for, their name
        self._closed: set[int] = set()
        self._coming: dict[str, str] = {}  # messages that are not shown yet: own ones, and those that wait
        self._said: set[str] = set()  # ids of those that were shown before the record had them
        self._asked_of: set[str] = set()  # ids of the approvals that were shown
        self._last_turn = 0

    @property
    def partial(self) -> str:
        """The line that is being written."""
        return printable(self._running.line, keep="\t") if self._running else ""

    @property
    def busy(self) -> bool:
        return bool(self.status and self.status["busy"])

    @property
    def waiting(self) -> list[Json]:
        """The messages that wait behind open turns."""
        return [message for turn in (self.status or {}).get("open_turns", ()) for message in turn["waiting"]]

    @property
    def held(self) -> list[Json]:
        held: list[Json] = (self.status or {}).get("held", [])
        return held

    @property
    def approvals(self) -> list[Json]:
        """The tool calls that wait for a person."""
        return [each for turn in (self.status or {}).get("open_turns", ()) for each in turn.get("approvals") or ()]

    def sending(self, message_id: str, content: str) -> None:
        """Know an own message: the model may have read it, and answer, before the record tells of it."""
        self._coming[message_id] = printable(content, keep="\n\t")

    def take(self, event: Json) -> list[Line]:
        """Return the lines that an AG-UI event brings. What is not known is left alone."""
        match event:
            case {"type": "STATE_SNAPSHOT", "snapshot": status}:
                return list(self._on_status(status))
            case {"type": "CUSTOM", "name": "turn", "value": turn}:
                return list(self._on_turn(turn))
            case {"type": "CUSTOM", "name": "read", "value": {"message_ids": message_ids}}:
                return list(self._on_read(message_ids))
            case {"type": "CUSTOM", "name": "progress", "value": {"text": text}}:
                return [Line("tool", f"    {_short(text)}")]
            case {"type": "CUSTOM", "name": "unavailable", "value": {"message": message}}:
                return [Line("error", printable(message))]
            case {"type": "TEXT_MESSAGE_START", "messageId": message_id}:
                return list(self._on_start(message_id, place_of(message_id)))
            case {"type": "TEXT_MESSAGE_CONTENT", "messageId": message_id, "delta": delta}:
                return list(self._on_text(message_id, delta))
            case {"type": "TEXT_MESSAGE_END", "messageId": message_id}:
                ours = self._running is not None and self._running.message_id == message_id
                return list(self._end_text()) if ours else []
            case {"type": "REASONING_MESSAGE_CONTENT", "messageId": message_id, "delta": delta}:
                self._thoughts.setdefault(message_id, []).append(delta)
            case {"type": "REASONING_MESSAGE_END", "messageId": message_id}:
                return list(self._end_thought(message_id))
            case {"type": "TOOL_CALL_START", "toolCallId": call_id, "toolCallName": name}:
                place = place_of(str(event.get("parentMessageId")))
                if place is not None and place not in self._shown:
                    self._asked[call_id] = (place, name)
            case {"type": "TOOL_CALL_ARGS", "toolCallId": call_id, "delta": arguments} if call_id in self._asked:
                place, name = self._asked[call_id]
                return list(self._call(place, call_id, name, arguments))
            case {"type": "TOOL_CALL_RESULT", "toolCallId": call_id, "content": content} if call_id in self._asked:
                place, _ = self._asked.pop(call_id)
                return list(self._result(place, call_id, (event.get("rawEvent") or {}).get("outcome"), content))
        return []

    def _on_status(self, status: Json) -> Iterator[Line]:
        before, self.status = self.status, status
        up_to = _summed_up(status)
        if before is not None and up_to > _summed_up(before):
            yield Line("note", f"(summed up to turn {up_to}; /history shows what the agent sees of it)")
        self._coming |= {each["message_id"]: _said(each) for each in (*self.waiting, *self.held)}
        for number, approval in enumerate(self.approvals, 1):
            if approval["approval_id"] not in self._asked_of:
                self._asked_of.add(approval["approval_id"])
                yield from (*self._end_text(), *(Line("ask", line) for line in asked_lines(number, approval)))
        if status["last_turn_id"] == 0 and self._last_turn:
            self._running, self._last_turn = None, 0
            self._texts.clear()
            self._asked.clear()
            self._thoughts.clear()
            for seen in (self._thought, self._shown, self._calls, self._results, self._closed):
                seen.clear()
            yield Line("note", "This chat was forgotten.")

    def _on_read(self, message_ids: list[str]) -> Iterator[Line]:
        for message_id in message_ids:
            if message_id in self._coming:
                yield from self._end_text()
                self._said.add(message_id)
                yield Line("user", self._coming.pop(message_id))

    def _on_start(self, message_id: str, place: Place | None) -> Iterator[Line]:
        yield from self._end_text()
        if place is None or place in self._shown:
            return
        if self._texts.pop(place, ""):
            yield Line("note", "(the answer begins anew)")
        self._running = Running(place, message_id)

    def _on_text(self, message_id: str, delta: str) -> Iterator[Line]:
        running = self._running
        if running is None or running.message_id != message_id:
            return
        running.text.append(delta)
        *lines, running.line = (running.line + delta).split("\n")
        yield from (_answer(line) for line in lines)

    def _end_text(self) -> Iterator[Line]:
        running, self._running = self._running, None
        if running is None:
            return
        self._texts[running.place] = "".join(running.text)
        if running.line:
            yield _answer(running.line)

    def _end_thought(self, message_id: str) -> Iterator[Line]:
        """Show the beginning of what the model thought; the record and the page have all of it."""
        place, thought = place_of(message_id), "".join(self._thoughts.pop(message_id, ()))
        if place is not None and place not in self._shown and thought.strip():
            self._thought.add(place)
            yield _thought(thought)

    def _on_turn(self, turn: Json) -> Iterator[Line]:
        turn_id, closed = turn["turn_id"], turn["status"] not in _OPEN
        if self._last_turn and turn_id > self._last_turn + 1:
            yield Line("note", f"({turn_id - self._last_turn - 1} turns have passed meanwhile: /history shows them)")
        self._last_turn = max(self._last_turn, turn_id)
        asked_at = (turn_id, -1)
        for entry in turn["entries"]:
            if entry.get("index") is None:
                continue  # it waits, or says why the turn failed
            place = (turn_id, entry["index"])
            asked_at = place if entry["role"] == "assistant" else asked_at
            yield from self._on_entry(place, asked_at, entry)
        if closed and turn_id not in self._closed:
            self._closed.add(turn_id)
            if self._running is not None and self._running.place[0] == turn_id:
                yield from self._end_text()
            yield from _ending(turn)

    def _on_entry(self, place: Place, asked_at: Place, entry: Json) -> Iterator[Line]:
        if entry["role"] == "tool":
            yield from self._result(asked_at, entry["tool_call_id"], entry.get("outcome"), entry["content"])
        if place in self._shown:
            return
        if entry["role"] == "user":
            self._shown.add(place)
            self._coming.pop(str(entry.get("message_id")), None)
            if entry.get("message_id") not in self._said:
                yield Line("user", _said(entry))
        elif entry["role"] == "assistant":
            if self._running is not None and self._running.place == place:
                yield from self._end_text()
            self._shown.add(place)
            if (thought := entry.get("reasoning")) and place not in self._thought:
                yield _thought(thought)
            yield from self._answer(self._texts.pop(place, ""), entry["content"])
            if entry["partial"]:
                yield Line("note", "(cut off here)")
            for call in entry.get("tool_calls") or ():
                yield from self._call(place, call["call_id"], call["name"], call["arguments"])

    def _answer(self, shown: str, content: str) -> Iterator[Line]:
        if shown and not content.startswith(shown):
            yield Line("note", "(the answer begins anew)")
            shown = ""
        if rest := content[len(shown) :]:
            yield from (_answer(line) for line in rest.removeprefix("\n").split("\n"))

    def _call(self, place: Place, call_id: str, name: str, arguments: str) -> Iterator[Line]:
        if (place, call_id) not in self._calls:
            self._calls.add((place, call_id))
            yield Line("tool", f"  · {_short(name)} {_short(arguments)}")

    def _result(self, place: Place, call_id: str, outcome: str | None, content: str) -> Iterator[Line]:
        if (place, call_id) not in self._results:
            self._results.add((place, call_id))
            said = "" if outcome in (None, "ok") else f"{_short(outcome)}: "
            yield Line("tool", f"    → {said}{_short(content)}")


def place_of(message_id: str) -> Place | None:
    """Return where the text of a message id will stand: "3-1" or "3-1-<attempt>"."""
    parts = message_id.split("-", 2)
    return (int(parts[0]), int(parts[1])) if len(parts) > 1 and all(map(str.isdecimal, parts[:2])) else None


def lines_of(entries: list[Json]) -> list[Line]:
    """Return lines of the history, as `get_chat_history` has them."""
    lines = []
    for entry in entries:
        waits = " (waits)" if entry.get("held") or entry["status"] == "queued" else ""
        match entry["role"]:
            case "user":
                lines.append(Line("user", _said(entry) + waits))
            case "assistant":
                lines += [_thought(entry["reasoning"])] if entry.get("reasoning") else []
                lines += [_answer(line) for line in entry["content"].split("\n") if entry["content"]]
                calls = entry.get("tool_calls") or ()
                lines += [Line("tool", f"  · {_short(call['name'])} {_short(call['arguments'])}") for call in calls]
            case "tool":
                lines.append(Line("tool", f"    → {_short(entry['content'])}"))
            case "summary":
                lines.append(Line("note", "(Summed up to here. The agent sees of what is above:)"))
                lines += [Line("note", printable(line, keep="\t")) for line in entry["content"].splitlines()]
            case _:
                lines.append(Line("error", printable(entry["content"])))
    return lines


def _said(message: Json) -> str:
    """Return what somebody has said, with the name of the background agent if it was one, and its files."""
    by = f"[{_short(message['source'])}] " if message.get("source") else ""
    files = "".join(f" [{_short(file['name'])}]" for file in message.get("attachments") or ())
    return (by + printable(message["content"], keep="\n\t") + files).lstrip()


def _summed_up(status: Json) -> int:
    """Return the turn up to which the agent sees a summary, 0 without one."""
    up_to: int = (status.get("summary") or {}).get("up_to_turn", 0)
    return up_to


def _ending(turn: Json) -> Iterator[Line]:
    # A turn whose messages have moved on shows nothing, so its end is nobody's business.
    if turn["status"] in _ENDINGS and any(entry.get("index") is not None for entry in turn["entries"]):
        yield Line("note", _ENDINGS[turn["status"]])
    if turn.get("error"):
        yield Line("error", printable(turn["error"]))


def _answer(line: str) -> Line:
    return Line("answer", printable(line.removesuffix("\r"), keep="\t"))


def _thought(text: str) -> Line:
    return Line("thought", f"  ~ {_short(text)}")


def _short(text: str) -> str:
    return printable(shorten(" ".join(text.split()), _SHOWN_CHARS))

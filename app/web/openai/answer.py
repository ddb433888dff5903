"""The answer to one message as one text that only grows, as Chat Completions wants it.

Pure: no I/O. That protocol cannot take back what was sent. A text that is written anew is held back for as long as it
repeats what was sent; where it differs, it is sent whole, behind a line.
"""

from collections.abc import Iterable, Sequence

from app.live.events import CallStarted, TextAdded, ThoughtAdded
from app.turns.reading.protocol import HistoryEntry
from app.web.agui.running import RunningText
from app.web.watch.events import TurnSeen, ViewEvent

BETWEEN = "\n\n"  # two texts of the agent
ANEW = "\n\n---\n\n"  # between what was sent and the same text, written anew and otherwise


class Reasoning(str):
    """A piece of what the LLM thinks, among those of what it says."""

    __slots__ = ()


class AnswerText:
    """What the agent says after the message `message_id`, in the turn that takes it."""

    def __init__(self, message_id: str) -> None:
        self._message_id = message_id
        self._turn_id: int | None = None
        self._after = 0  # the place of the message in the turn
        self._sent: dict[int, str] = {}  # by place in the turn, its newest version
        self._text: RunningText | None = None
        self._thought: RunningText | None = None
        self._thought_at: set[int] = set()  # of which places the thoughts were sent
        self._written = ""  # by the running call so far
        self._begun = False

    def start(self, history: Iterable[HistoryEntry]) -> list[str]:
        """Return what has been said so far."""
        return self.catch_up(history)

    def take(self, event: ViewEvent) -> list[str]:
        """Return what an event of the view adds."""
        match event:
            case CallStarted(text_id, read):
                if self._text is None or self._text.text_id != text_id:
                    self._text, self._written = RunningText(text_id), ""
                    self._thought = RunningText(text_id)
                if self._message_id in read:
                    self._turn_id, self._after = text_id.turn_id, text_id.index - 1
            case TextAdded(text_id) if self._text is not None:
                self._written += self._text.new_part(event)
                if text_id.turn_id == self._turn_id and text_id.index > self._after:
                    return self._say(text_id.index, self._written, whole=False)
            case ThoughtAdded(text_id) if self._thought is not None:
                part = self._thought.new_part(event)
                if part and text_id.turn_id == self._turn_id and text_id.index > self._after:
                    self._thought_at.add(text_id.index)
                    return [Reasoning(part)]
            case TurnSeen(turn):
                return self._see(turn.turn_id, turn.entries)
        return []

    def catch_up(self, history: Iterable[HistoryEntry]) -> list[str]:
        """Return what the history has and was not sent yet."""
        entries = list(history)
        turn_id = _turn_of(entries, self._message_id)
        return [] if turn_id is None else self._see(turn_id, [each for each in entries if each.turn_id == turn_id])

    def _see(self, turn_id: int, entries: Sequence[HistoryEntry]) -> list[str]:
        place = place_of(entries, self._message_id)
        if place is None:
            return []
        self._turn_id, self._after = turn_id, place
        said: list[str] = []
        for at, entry in enumerate(entries):
            if at <= place or entry.role != "assistant":
                continue
            if entry.reasoning and at not in self._thought_at and at not in self._sent:
                self._thought_at.add(at)
                said.append(Reasoning(entry.reasoning))
            if entry.content:
                said += self._say(at, entry.content, whole=True)
        return said

    def _say(self, at: int, text: str, *, whole: bool) -> list[str]:
        """Return what is to be sent so that the client has `text`, of which more may come unless it is `whole`."""
        sent = self._sent.get(at, "")
        if text.startswith(sent):
            new = text[len(sent) :]
            if new and not sent and self._begun:
                new = BETWEEN + new
        elif sent.startswith(text) and not whole:
            return []
        else:
            new = ANEW + text
        self._sent[at] = text
        self._begun = self._begun or bool(new)
        return [new] if new else []


def answer_in(entries: Sequence[HistoryEntry], message_id: str) -> tuple[str, str]:
    """Return what a turn has said after a message, as one text, and what it has thought, as another."""
    turn_id = _turn_of(entries, message_id)
    turn = [entry for entry in entries if entry.turn_id == turn_id]
    place = place_of(turn, message_id)
    said = [] if place is None else [entry for entry in turn[place + 1 :] if entry.role == "assistant"]
    answer = BETWEEN.join(entry.content for entry in said if entry.content)
    return answer, BETWEEN.join(entry.reasoning for entry in said if entry.reasoning)


def place_of(entries: Sequence[HistoryEntry], message_id: str) -> int | None:
    """Return where a message stands in the transcript of a turn, None while it waits."""
    places = [
        at
        for at, entry in enumerate(entries)
        if entry.role == "user" and entry.message_id == message_id and entry.status != "queued"
    ]
    return places[0] if places else None


def _turn_of(entries: Sequence[HistoryEntry], message_id: str) -> int | None:
    return next((entry.turn_id for entry in entries if entry.message_id == message_id), None)

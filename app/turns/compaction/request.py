"""What the LLM gets to sum up: turns of a chat as lines of JSON, as many as fit one request.

Pure: no I/O, no Restate.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from app.turns.compaction.fitting import cut_text
from app.turns.compaction.summary import line_of
from app.turns.transcript import AssistantItem, Item, ToolItem, Turn

LONGEST_TEXTS = (4000, 1000, 250)  # of one item; the shorter ones for a turn that is too long by itself


def transcript_of(turns: Iterable[Turn], room: int) -> tuple[str, int]:
    """Return the lines of the first of these turns that fit `room` characters, and the id of the last; 0 without any.

    The first turn is always among them, shortened if need be.
    """
    lines: list[str] = []
    covers = 0
    for turn in turns:
        longest, *shorter = LONGEST_TEXTS
        more = _lines(turn, longest)
        for limit in shorter if not lines else ():
            more = more if _size(more) <= room else _lines(turn, limit)
        if _size(more) > room:
            if lines:
                break
            more = _first(more, room)
        lines += more
        room -= _size(more)
        covers = turn.turn_id
    return "\n".join(lines), covers


def _lines(turn: Turn, limit: int) -> list[str]:
    return [line_of({"turn": turn.turn_id, **_entry(cut_text(item, limit), limit)}) for item in turn.items]


def _entry(item: Item, limit: int) -> dict[str, Any]:
    match item:
        case AssistantItem(tool_calls=calls) if calls:
            shown = [{"name": call.name, "arguments": call.arguments[:limit]} for call in calls]
            return {"role": "agent", "text": item.content, "calls": shown}
        case AssistantItem():
            return {"role": "agent", "text": item.content, **({"broken_off": True} if item.finish.partial else {})}
        case ToolItem():
            return {"role": "tool", "name": item.name, "outcome": item.outcome, "text": item.content}
    files = [file.name for file in item.attachments]
    return {"role": "user", "text": item.content, **({"files": files} if files else {})}


def _size(lines: Sequence[str]) -> int:
    return sum(len(line) + 1 for line in lines)


def _first(lines: Sequence[str], room: int) -> list[str]:
    """Return the first of these lines that fit."""
    kept: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return kept

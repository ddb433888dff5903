"""The events of a stream as one line of JSON, for other processes.

Pure: no I/O. What another version has sent and this one does not know is left out.
"""

import json
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from app.live.events import (
    CallEnded,
    CallStarted,
    ChatChanged,
    LiveEvent,
    TextAdded,
    TextId,
    ThoughtAdded,
    ToolEnded,
    ToolProgress,
    ToolStarted,
)
from app.live.texts import joined

_KINDS = {
    kind.__name__: kind
    for kind in (ChatChanged, CallStarted, TextAdded, ThoughtAdded, CallEnded, ToolStarted, ToolProgress, ToolEnded)
}
_OF_A_TEXT = (CallStarted, TextAdded, ThoughtAdded, CallEnded, ToolStarted)


def written(events: Sequence[LiveEvent]) -> str:
    """Return events as JSON, pieces of a text that follow one another as one."""
    return json.dumps([[type(event).__name__, *astuple(event)] for event in joined(events)], separators=(",", ":"))


def read(line: str | bytes) -> list[LiveEvent]:
    """Return the events in a line that `written` made."""
    try:
        found = json.loads(line)
        return [event for name, *fields in found if (event := _event(name, fields)) is not None]
    except (ValueError, TypeError):
        return []


def _event(name: str, fields: list[Any]) -> LiveEvent | None:
    kind = _KINDS.get(name)
    if kind is None:
        return None
    if kind in _OF_A_TEXT:
        fields[0] = TextId(*fields[0])
    if kind is CallStarted:
        fields[1] = tuple(fields[1])
    return kind(*fields)

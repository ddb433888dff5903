"""Pieces of text that follow one another, as one.

Pure: no I/O.
"""

from collections.abc import Iterable
from typing import TypeVar

from app.live.events import TextAdded

E = TypeVar("E")


def joined(events: Iterable[E]) -> list[E | TextAdded]:
    """Return events, with pieces of a text that follow one another as one."""
    told: list[E | TextAdded] = []
    pieces: list[TextAdded] = []
    for event in events:
        if pieces and not (isinstance(event, TextAdded) and event.text_id == pieces[0].text_id):
            told.append(_one(pieces))
            pieces = []
        if isinstance(event, TextAdded):
            pieces.append(event)
        else:
            told.append(event)
    return [*told, _one(pieces)] if pieces else told


def _one(pieces: list[TextAdded]) -> TextAdded:
    first = pieces[0]
    return first if len(pieces) == 1 else TextAdded(first.text_id, first.offset, "".join(p.text for p in pieces))

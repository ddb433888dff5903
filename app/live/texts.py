"""Pieces of text that follow one another, as one.

Pure: no I/O.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from app.live.events import TextAdded, ThoughtAdded

E = TypeVar("E")
Piece = TextAdded | ThoughtAdded


def joined(events: Iterable[E]) -> list[E | Piece]:
    """Return events, with pieces of a text or of a thought that follow one another as one."""
    told: list[E | Piece] = []
    pieces: list[Piece] = []
    for event in events:
        piece = event if isinstance(event, TextAdded | ThoughtAdded) else None
        if pieces and not (piece is not None and _same_text(pieces[0], piece)):
            told.append(_one(pieces))
            pieces = []
        if piece is not None:
            pieces.append(piece)
        else:
            told.append(event)
    return [*told, _one(pieces)] if pieces else told


def _same_text(one: Piece, other: Piece) -> bool:
    return type(one) is type(other) and one.text_id == other.text_id


def _one(pieces: list[Piece]) -> Piece:
    first = pieces[0]
    return first if len(pieces) == 1 else replace(first, text="".join(piece.text for piece in pieces))

"""What somebody who watches a chat sees, in the order in which it is to be shown.

Values only.
"""

from dataclasses import dataclass

from app.live.events import (
    CallEnded,
    CallStarted,
    Resync,
    TextAdded,
    ThoughtAdded,
    ToolEnded,
    ToolProgress,
    ToolStarted,
)
from app.turns.reading.history import TurnView
from app.turns.reading.protocol import ChatStatus

__all__ = [
    "CallEnded",
    "CallStarted",
    "Resync",
    "StatusSeen",
    "TextAdded",
    "ThoughtAdded",
    "ToolEnded",
    "ToolProgress",
    "ToolStarted",
    "TurnSeen",
    "Unavailable",
    "ViewEvent",
]


@dataclass(frozen=True, slots=True)
class StatusSeen:
    """The state of the chat, at the beginning and whenever it has changed. With `last_turn_id` 0 there is nothing."""

    status: ChatStatus


@dataclass(frozen=True, slots=True)
class TurnSeen:
    """A turn that has changed, whole. Its text replaces what was shown of it."""

    turn: TurnView


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The record cannot be read now. A StatusSeen follows when it can."""

    message: str


ViewEvent = (
    StatusSeen
    | TurnSeen
    | CallStarted
    | TextAdded
    | ThoughtAdded
    | CallEnded
    | ToolStarted
    | ToolProgress
    | ToolEnded
    | Resync
    | Unavailable
)

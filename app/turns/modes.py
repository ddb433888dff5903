"""What a message does to a chat: the modes and their decision table.

Pure: no I/O, no Restate. What a decision does to the turns is in `conversation.py`.
"""

from enum import StrEnum


class Mode(StrEnum):
    """What a message does when a turn is open; on an idle chat every mode starts a turn."""

    INTERRUPT = "INTERRUPT"  # end the turn, keep its work, answer in a new one
    ROLLBACK = "ROLLBACK"  # as INTERRUPT, and undo what has a compensation; the LLM forgets the turn
    INCORPORATE = "INCORPORATE"  # hand it to the turn at its next iteration
    STEER = "STEER"  # hand it to the turn now: the LLM call in flight is aborted, the turn goes on
    QUEUE = "QUEUE"  # a turn of its own, after the open ones
    REJECT = "REJECT"  # refuse it while a turn is open


class Decision(StrEnum):
    """What became of a message; part of its receipt."""

    STARTED = "started"
    QUEUED = "queued"
    INTERRUPTED = "interrupted"
    ROLLED_BACK = "rolled_back"
    INCORPORATED = "incorporated"
    STEERED = "steered"
    REJECTED = "rejected"


# What the log says of a message to a busy chat.
ANNOUNCEMENTS = {
    Decision.INTERRUPTED: "Interrupting ongoing agent run for %s (turn %d)",
    Decision.ROLLED_BACK: "Rolling back ongoing agent run for %s (turn %d)",
    Decision.INCORPORATED: "Incorporating new input into ongoing agent run for %s (turn %d)",
    Decision.STEERED: "Steering ongoing agent run for %s (turn %d)",
    Decision.QUEUED: "Queueing behind ongoing agent run for %s (turn %d)",
}

_TURN_OPEN = {
    Mode.INTERRUPT: Decision.INTERRUPTED,
    Mode.ROLLBACK: Decision.ROLLED_BACK,
    Mode.INCORPORATE: Decision.INCORPORATED,
    Mode.STEER: Decision.STEERED,
    Mode.QUEUE: Decision.QUEUED,
    Mode.REJECT: Decision.REJECTED,
}


def decide(mode: Mode, *, turn_open: bool) -> Decision:
    """Return what a message of `mode` does to a chat with or without an open turn."""
    return _TURN_OPEN[mode] if turn_open else Decision.STARTED

"""What a message may be, and how many may wait: beyond that it is refused, and nothing is stored.

Pure: no I/O, no Restate.
"""

from app.errors import TooLarge, TooManyPending
from app.settings import Settings


def require_not_too_long(content: str, settings: Settings) -> None:
    """Raise TooLarge for a text that is longer than a message may be."""
    if len(content) > settings.max_message_chars:
        raise TooLarge(
            f"The message has {len(content)} characters, the limit is {settings.max_message_chars}: "
            "send it in parts, or raise MAX_MESSAGE_CHARS"
        )


def too_many_pending(waiting: int, settings: Settings) -> TooManyPending | None:
    """Return what is said if one more message may not wait, else None."""
    if waiting < settings.max_pending:
        return None
    return TooManyPending(
        f"{waiting} messages of this chat wait for the agent, the limit is {settings.max_pending}: "
        "send more when it has read them, or raise MAX_PENDING"
    )

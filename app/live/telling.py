"""Tells those who watch a chat what one of its turns does.

Nothing here waits, raises, or is stored: a turn is the same whether anybody watches or not.
"""

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.durable import replaying
from app.live import get_hub
from app.live.events import (
    CallEnded,
    CallStarted,
    LiveEvent,
    TextAdded,
    TextId,
    ThoughtAdded,
    ToolEnded,
    ToolProgress,
    ToolStarted,
)
from app.turns.transcript import ToolCall, ToolItem

logger = logging.getLogger("live")


class Teller:
    """Tells of turn `turn_id` of the chat `key`."""

    def __init__(self, key: str, turn_id: int) -> None:
        self._key = key
        self._turn_id = turn_id
        self._publish = get_hub().publish

    @contextmanager
    def call(self, index: int, read: tuple[str, ...]) -> Iterator["TextTeller"]:
        """Tell of an LLM call, for as long as it runs, and of all that what is yielded is given.

        `index` is where the reply will stand in the transcript, `read` what the LLM sees for the first time. For the
        action of a step: one that runs again is another attempt.
        """
        text_id = TextId(self._turn_id, index, secrets.token_hex(4))
        self._tell(CallStarted(text_id, read))
        try:
            yield TextTeller(self._tell, text_id)
        finally:
            self._tell(CallEnded(text_id))

    def tool(self, index: int, step: ToolCall | ToolItem) -> None:
        """Tell that a tool call begins, or what it gave. `index` is the place of the reply that asked for it.

        Durable: told once, not in a replay.
        """
        if replaying():
            return
        if isinstance(step, ToolCall):
            text_id = TextId(self._turn_id, index, "")
            self._tell(ToolStarted(text_id, step.call_id, step.name, step.arguments))
        else:
            self._tell(ToolEnded(self._turn_id, step.call_id, step.content, step.outcome))

    def progress(self, call_id: str, text: str) -> None:
        """Tell how far a tool call is; from the action of a step."""
        self._tell(ToolProgress(self._turn_id, call_id, text))

    def _tell(self, event: LiveEvent) -> None:
        try:
            self._publish(self._key, event)
        except Exception:  # whatever is wrong with watching, the turn goes on
            logger.exception("Bug in the stream of a chat")


class TextTeller:
    """Tells of each piece of text that it is called with, and of each piece of `thought`."""

    def __init__(self, tell: Callable[[LiveEvent], None], text_id: TextId) -> None:
        self._tell = tell
        self._text_id = text_id
        self._chars = self._thought_chars = 0

    def __call__(self, text: str) -> None:
        self._tell(TextAdded(self._text_id, self._chars, text))
        self._chars += len(text)

    def thought(self, text: str) -> None:
        """Tell what the LLM thinks."""
        self._tell(ThoughtAdded(self._text_id, self._thought_chars, text))
        self._thought_chars += len(text)

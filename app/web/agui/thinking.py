"""What the LLM thinks while it runs, as AG-UI events: a message of role `reasoning`, beside the text it leads to.

Pure: no I/O. It is in no snapshot: the official clients keep the ones that they have seen, and the record has them all.
"""

from ag_ui.core import (
    BaseEvent,
    ReasoningEndEvent,
    ReasoningMessageContentEvent,
    ReasoningMessageEndEvent,
    ReasoningMessageStartEvent,
    ReasoningStartEvent,
)

from app.live.events import ThoughtAdded
from app.web.agui.running import RunningText


class Thinking:
    """The thoughts of one running call, of which `passed_on` is how far a watcher has them.

    `message_id` names them. Thoughts that go on behind a text are another message, named by where they begin.
    """

    def __init__(self, message_id: str, passed_on: RunningText, *, is_open: bool = False) -> None:
        self._message_id = self._id = message_id
        self.passed_on = passed_on
        self.is_open = is_open

    def begin(self, event: ThoughtAdded) -> list[BaseEvent]:
        """Return what comes before a piece of thought: `add` returns the piece."""
        if self.is_open or not self.passed_on.has_news(event):
            return []
        self.is_open = True
        begin = self.passed_on.length
        self._id = f"{self._message_id}-{begin}" if begin else self._message_id
        return [ReasoningStartEvent(message_id=self._id), ReasoningMessageStartEvent(message_id=self._id)]

    def add(self, event: ThoughtAdded) -> list[BaseEvent]:
        """Return what a piece of thought tells the watcher; its beginning must have been sent."""
        part = self.passed_on.new_part(event)
        return [ReasoningMessageContentEvent(message_id=self._id, delta=part)] if part else []

    def end(self) -> list[BaseEvent]:
        """Return what ends them, for now."""
        if not self.is_open:
            return []
        self.is_open = False
        return [ReasoningMessageEndEvent(message_id=self._id), ReasoningEndEvent(message_id=self._id)]

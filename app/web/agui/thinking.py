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

    `message_id` names them. Thoughts that go on behind a text are another message.
    """

    def __init__(self, message_id: str, passed_on: RunningText, *, is_open: bool = False) -> None:
        self._message_id = message_id
        self._messages = 1 if is_open else 0
        self.passed_on = passed_on
        self.is_open = is_open

    def add(self, event: ThoughtAdded) -> list[BaseEvent]:
        """Return what a piece of thought tells the watcher."""
        part = self.passed_on.new_part(event)
        if not part:
            return []
        events: list[BaseEvent] = []
        if not self.is_open:
            self.is_open = True
            self._messages += 1
            events = [ReasoningStartEvent(message_id=self._id), ReasoningMessageStartEvent(message_id=self._id)]
        return [*events, ReasoningMessageContentEvent(message_id=self._id, delta=part)]

    def end(self) -> list[BaseEvent]:
        """Return what ends them, for now."""
        if not self.is_open:
            return []
        self.is_open = False
        return [ReasoningMessageEndEvent(message_id=self._id), ReasoningEndEvent(message_id=self._id)]

    @property
    def _id(self) -> str:
        return self._message_id if self._messages < 2 else f"{self._message_id}-{self._messages}"

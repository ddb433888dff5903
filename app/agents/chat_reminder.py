"""ChatReminder: waits for its time, which may be months away, then says its text in the chat that has started it.

It can be snoozed meanwhile.
"""

from pydantic import BaseModel, Field

from app.background import agent, condition
from app.chat_agents import chat


class Reminding(BaseModel):
    """What to remind of, and in how many seconds."""

    text: str = Field(min_length=1)
    in_seconds: float = Field(ge=0)


@agent.defn()
class ChatReminder:
    """Says one text at its time, in the chat that has started it."""

    def __init__(self) -> None:
        self.wait_s: float | None = None

    @agent.event
    async def snooze(self, seconds: float) -> None:
        """Wait so many seconds from now on."""
        self.wait_s = seconds

    @agent.run
    async def run(self, reminding: Reminding) -> str:
        self.wait_s = reminding.in_seconds
        while self.wait_s is not None:
            wait_s, self.wait_s = self.wait_s, None
            try:
                await condition(lambda: self.wait_s is not None, timeout=wait_s)
            except TimeoutError:
                break
        # A reminder is no reason to break off what the user has asked for: it waits for its turn.
        await chat().send(f"Reminder: {reminding.text}", mode="QUEUE")
        return reminding.text

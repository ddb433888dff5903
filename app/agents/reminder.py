"""Reminder: waits for its time, which may be months away, then delivers its text.

It can be snoozed meanwhile.
"""

from pydantic import BaseModel, Field

from app.background import agent, condition, function, log


class Reminding(BaseModel):
    """What to remind of, and in how many seconds."""

    text: str
    in_seconds: float = Field(ge=0)


@function.defn()
async def deliver_reminder(text: str) -> str:
    """Deliver a reminder. Put your mail or your chat here."""
    log.info("Reminder:", text)
    return text


@agent.defn()
class Reminder:
    """Delivers one text at its time."""

    def __init__(self) -> None:
        self.snoozed: float | None = None

    @agent.event
    async def snooze(self, seconds: float) -> None:
        """Wait so many seconds from now on, instead of what was asked for before."""
        self.snoozed = seconds

    @agent.run
    async def run(self, reminding: Reminding) -> str:
        wait_s: float | None = reminding.in_seconds
        while wait_s is not None:
            try:
                await condition(lambda: self.snoozed is not None, timeout=wait_s)
            except TimeoutError:
                wait_s = None
            else:
                wait_s, self.snoozed = self.snoozed, None
        text: str = await agent.step(deliver_reminder, reminding.text)
        return text

"""The tool `remind`: a background agent waits for the time, and says it in the chat then."""

from typing import Annotated

from pydantic import Field

from app.tools.context import ToolContext
from app.tools.registry import tool

AGENT = "ChatReminder"  # app/agents/chat_reminder.py


@tool
async def remind(
    text: Annotated[str, Field(description="What to remind of", min_length=1, max_length=2000)],
    in_seconds: Annotated[float, Field(ge=0, le=31_536_000)],
    call: ToolContext,
) -> str:
    """Remind the user later, in this chat. The reminder can be moved by the event `snooze`, with the seconds."""
    agent_id = await call.agents.start(call.call_id, AGENT, {"text": text, "in_seconds": in_seconds})
    return f"The reminder is set; its agent_id is {agent_id}"

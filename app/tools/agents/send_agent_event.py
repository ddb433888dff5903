"""The tool `send_agent_event`: the LLM sends an event to a background agent of its chat."""

from typing import Annotated

from pydantic import Field, JsonValue

from app.tools.context import ToolContext
from app.tools.registry import tool


@tool
async def send_agent_event(
    agent_id: str,
    event: Annotated[str, Field(description="The name of the event")],
    call: ToolContext,
    input: Annotated[JsonValue, Field(description="What the event brings")] = None,  # noqa: A002 - the LLM's word
) -> str:
    """Send an event to a background agent that this chat has started. It is handled later, after those before it."""
    number = await call.agents.send(agent_id, event, input)
    return f"Event {event!r} was accepted as number {number}"

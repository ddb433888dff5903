"""The tool `start_agent`: the LLM starts a background agent, one of those that CHAT_AGENTS names."""

from typing import Annotated

from pydantic import Field, JsonValue

from app.tools.context import ToolContext
from app.tools.registry import tool


@tool
async def start_agent(
    agent: Annotated[str, Field(description="The name of the agent")],
    call: ToolContext,
    input: Annotated[JsonValue, Field(description="What it begins with, as it says below")] = None,  # noqa: A002
) -> str:
    """Start a background agent. It goes on when this turn has ended, and may send messages into this chat later."""
    agent_id = await call.agents.start(call.call_id, agent, input, chosen=True)
    return f"The agent has started. Its agent_id is {agent_id}"

"""The tool `ask_agent`: the LLM asks how a background agent of its chat is, or which ones there are."""

from typing import Annotated, Any

from pydantic import Field

from app.tools.context import ToolContext
from app.tools.registry import tool


@tool
async def ask_agent(
    call: ToolContext,
    agent_id: Annotated[str | None, Field(description="The agent; without it, all of this chat are listed")] = None,
    state: Annotated[str | None, Field(description="Which of its states; without it, whether it runs")] = None,
) -> Any:
    """Ask for the state of a background agent that this chat has started, or list those that have not ended."""
    if agent_id is None:
        return await call.agents.running()
    if state is None:
        return await call.agents.describe(agent_id)
    return await call.agents.state(agent_id, state)

"""The tool `stop_agent`: the LLM asks a background agent of its chat to end."""

from app.tools.context import ToolContext
from app.tools.registry import tool


@tool
async def stop_agent(agent_id: str, call: ToolContext) -> str:
    """Ask a background agent that this chat has started to end."""
    await call.agents.stop(agent_id)
    return f"The agent {agent_id} was asked to end"

"""Tools by which the LLM has background agents: offered where CHAT_AGENTS names some."""

from app.tools.agents.ask_agent import ask_agent
from app.tools.agents.send_agent_event import send_agent_event
from app.tools.agents.start_agent import start_agent
from app.tools.agents.stop_agent import stop_agent

AGENT_TOOLS = (start_agent, send_agent_event, ask_agent, stop_agent)

__all__ = ["AGENT_TOOLS", "ask_agent", "send_agent_event", "start_agent", "stop_agent"]

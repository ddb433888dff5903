"""Background agents of a chat: its LLM starts them, and they send messages into it.

An agent imports `chat` from here. The rest is for the house.
"""

from app.chat_agents.chat import ChatOfAgent, chat

__all__ = ["ChatOfAgent", "chat"]

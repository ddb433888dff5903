"""What runs and background agents say to the chat about its agents, and what it answers.

Shapes only. Names of fields are stored in journals: they change only with a migration note.
"""

from typing import Any

from app.turns.modes import Mode
from app.turns.protocol import MessageId, Text, TurnRef
from app.turns.transcript import ChatAgent
from app.values import Stored


class StartAgent(TurnRef):
    """Start a background agent. `reply` is the awakeable of the run that waits for the answer.

    `chosen`: the LLM has chosen the class, not the code of a tool, so it must be one of CHAT_AGENTS.
    """

    agent_id: str
    agent_name: str
    input: Any = None
    reply: str
    chosen: bool = False


class AgentRef(Stored):
    """Names an agent of the chat."""

    agent_id: str


class UseAgent(AgentRef):
    """Asks whether the chat has this agent. `input` is what it is going to be sent."""

    input: Any = None


class ChatAgents(Stored):
    """The agents of a chat, in the order in which they were started."""

    agents: tuple[ChatAgent, ...] = ()


class AgentMessage(AgentRef):
    """A message of a background agent to the chat that has started it. Without a `mode` that of the chat counts."""

    message_id: MessageId
    content: Text
    mode: Mode | None = None

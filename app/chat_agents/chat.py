"""The chat that has started an agent, for the code of the agent: it sends messages there.

Knows the address of the chat only. Whether the message is taken is decided there.
"""

from pydantic import ValidationError

from app.background import agent_info, uuid
from app.chat_agents.asking import asked
from app.errors import NotFound, UsageError
from app.text import clean
from app.turns.addresses import HEAR_AGENT
from app.turns.agents.protocol import AgentMessage
from app.turns.modes import Mode
from app.turns.protocol import Receipt
from app.values import problems_of


def chat() -> "ChatOfAgent":
    """Return the chat that has started this agent.

    Errors: NotFound if none did, DeterminismError outside of an agent.
    """
    info = agent_info()
    if info.chat_key is None:
        raise NotFound(f"No chat has started agent {info.agent_id!r}: it can send no messages into one")
    return ChatOfAgent(info.chat_key, info.agent_id)


class ChatOfAgent:
    """The chat `key`, as its agent sees it."""

    def __init__(self, key: str, agent_id: str) -> None:
        self.key = key
        self._agent_id = agent_id

    async def send(self, text: str, *, mode: Mode | str | None = None) -> Receipt:
        """Send a message, and return what became of it. Without a `mode` that of the chat counts.

        Durable: four journal entries. The message is sent once, however often this is replayed.
        Errors: NotFound if the chat was forgotten meanwhile, Conflict if it is busy and the mode is REJECT, UsageError
        for a text that is empty or too long, and beyond the limits of the chat.
        """
        try:
            message = AgentMessage(
                agent_id=self._agent_id,
                message_id=f"{self._agent_id[:80]}-{uuid()}",
                content=clean(text),
                mode=None if mode is None else Mode(mode),
            )
        except ValidationError as exc:
            raise UsageError(f"Bad message. {problems_of(exc)}") from exc
        except ValueError as exc:  # no mode
            raise UsageError(f"Bad message. {exc}; use one of {', '.join(Mode)}") from exc
        return Receipt.model_validate_json(await asked(HEAR_AGENT, message, self.key))

"""Events as code writes them.

Values only. The client sends them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.background.declare.names import OperationName
from app.background.published.positional import Positional

__all__ = ["AgentEvent", "SendAgentEvent"]


class AgentEvent(Positional):
    """An event for an agent."""

    name: OperationName
    input: Any = None

    if TYPE_CHECKING:

        def __init__(self, name: str, input: Any = None) -> None: ...  # noqa: A002 - the published name


@dataclass
class SendAgentEvent:
    """An event and the agent that it is for. The published library has it, and no call of it takes it."""

    event: AgentEvent
    workflow: str | None = None

"""What a tool may do with background agents: those that its chat has started, and no others.

Only the shape. What does it is given to the tool by the turn that calls it, in its ToolContext.
"""

from typing import Any, Protocol


class AgentsOfChat(Protocol):
    """The agents of a chat."""

    async def start(self, call_id: str, name: str, given: object = None, *, chosen: bool = False) -> str:
        """Start an agent of the class `name` with the input `given`, and return its id.

        `chosen`: the LLM has chosen the class.
        Durable: the same call of a tool starts one agent, however often it runs.
        Errors: NotFound for what nobody serves, Conflict, UsageError for input that does not fit or beyond a limit.
        """
        ...

    async def send(self, agent_id: str, event: str, given: object = None) -> int:
        """Send an event, and return its number: events are handled in their order. Durable: sent once.

        Errors: NotFound for another chat's agent, Conflict for one that has ended, UsageError.
        """
        ...

    async def state(self, agent_id: str, name: str, given: object = None) -> Any:
        """Return one of the states that an agent shows. Errors: as `send`."""
        ...

    async def describe(self, agent_id: str) -> dict[str, Any]:
        """Return what is known of an agent. Errors: as `send`."""
        ...

    async def running(self) -> list[dict[str, Any]]:
        """Return the agents that have not ended, in the order in which they were started."""
        ...

    async def stop(self, agent_id: str) -> None:
        """Ask an agent to end: its `finally` blocks run. Errors: as `send`."""
        ...

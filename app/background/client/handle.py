"""Handles of agents, and of events that were sent to them, for clients.

Every request is made by the client.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Protocol

from app.background.protocol import AgentDescription
from app.background.published.arguments import name_of, only_input
from app.background.published.workflow_words import WorkflowWords


class UpdateStage(Enum):
    """How far an event must have come before `start_update` returns. An event is sent and accepted in one."""

    ADMITTED = 1
    ACCEPTED = 2
    COMPLETED = 3


class _Client(Protocol):
    """What handles need of `Restack`."""

    async def get_agent_result(self, agent_id: str, run_id: str | None = None) -> Any: ...
    async def cancel_agent(self, agent_id: str, run_id: str | None = None) -> None: ...
    async def terminate_agent(self, agent_id: str, run_id: str | None = None) -> None: ...
    async def describe_agent(self, agent_id: str) -> AgentDescription: ...
    async def get_agent_state(
        self, agent_id: str, state_name: str, run_id: str | None = None, state_input: Any = None
    ) -> Any: ...
    async def send_agent_event(
        self,
        event_name: str,
        agent_id: str,
        run_id: str | None = None,
        event_input: Any = None,
        *,
        wait_for_completion: bool = False,
    ) -> Any: ...
    async def start_agent_event(
        self, event_name: str, agent_id: str, run_id: str | None = None, event_input: Any = None
    ) -> str: ...
    async def event_answer(self, event_id: str) -> Any: ...


class AgentHandle:
    """An agent or workflow, seen by a client. An event's input is `arg`, or the only one of `args`.

    Errors of all methods: as those of `Restack`.
    """

    id: str
    run_id: str | None

    def __init__(self, client: _Client, id: str, run_id: str | None = None) -> None:  # noqa: A002 - the published name
        self._client = client
        self.id = id
        self.run_id = run_id

    @property
    def result_run_id(self) -> str | None:
        """The run that `result` waits for."""
        return self.run_id

    @property
    def first_execution_run_id(self) -> str | None:
        """The run that the handle was made for."""
        return self.run_id

    async def result(self) -> Any:
        """Wait for the end and return the result."""
        return await self._client.get_agent_result(self.id, self.run_id)

    async def cancel(self) -> None:
        """Ask it to end. Its `finally` blocks run and may take steps."""
        await self._client.cancel_agent(self.id, self.run_id)

    async def terminate(self, *, reason: str | None = None) -> None:
        """End it at once. None of its code runs any more. The reason is not kept."""
        del reason
        await self._client.terminate_agent(self.id, self.run_id)

    async def describe(self) -> "DescribedAgent":
        """Return status, run, parent, children and the reason of a failure."""
        return DescribedAgent.model_validate((await self._client.describe_agent(self.id)).model_dump())

    async def query(self, query: str | Callable[..., Any], arg: Any = None, *, args: Sequence[Any] = ()) -> Any:
        """Return what an `@agent.state` method says."""
        return await self._client.get_agent_state(self.id, name_of(query), self.run_id, only_input(arg, args))

    async def signal(self, signal: str | Callable[..., Any], arg: Any = None, *, args: Sequence[Any] = ()) -> None:
        """Send an event. Return when it is accepted."""
        await self._client.send_agent_event(name_of(signal), self.id, self.run_id, only_input(arg, args))

    async def execute_update(
        self, update: str | Callable[..., Any], arg: Any = None, *, args: Sequence[Any] = ()
    ) -> Any:
        """Send an event and return what its handler returns."""
        return await self._client.send_agent_event(
            name_of(update), self.id, self.run_id, only_input(arg, args), wait_for_completion=True
        )

    async def start_update(
        self,
        update: str | Callable[..., Any],
        arg: Any = None,
        *,
        args: Sequence[Any] = (),
        wait_for_stage: UpdateStage = UpdateStage.ACCEPTED,
    ) -> "EventHandle":
        """Send an event and return a handle of its answer at once, or with COMPLETED when there is an answer.

        The event is stored then. If the agent refuses it, `result` raises that.
        """
        sent = await self._client.start_agent_event(name_of(update), self.id, self.run_id, only_input(arg, args))
        handle = self.get_update_handle(sent)
        if wait_for_stage is UpdateStage.COMPLETED:
            await handle.result()
        return handle

    def get_update_handle(self, id: str, *, workflow_run_id: str | None = None) -> "EventHandle":  # noqa: A002
        """Return the handle of an event that was sent, by the handle's id. It is known for a day after handling."""
        return EventHandle(self._client, id, self.id, workflow_run_id or self.run_id)


class DescribedAgent(WorkflowWords, AgentDescription):
    """What is known of an agent, also under the published library's names."""

    @property
    def id(self) -> str:
        """The same as `agent_id`."""
        return self.agent_id


class EventHandle:
    """An event that was sent, and its answer. `id` finds it again from any process."""

    id: str
    workflow_id: str
    workflow_run_id: str | None

    def __init__(self, client: _Client, id: str, agent_id: str, run_id: str | None) -> None:  # noqa: A002
        self._client = client
        self.id = id
        self.workflow_id = agent_id
        self.workflow_run_id = run_id

    async def result(self) -> Any:
        """Wait for what the handler returns. Errors: as those of `Restack.send_agent_event`."""
        return await self._client.event_answer(self.id)

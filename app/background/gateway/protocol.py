"""What clients say to BackgroundAgents, and the list that it answers.

Shapes only. Clients know them: they change only with a migration note.
"""

from typing import Any

from pydantic import ConfigDict, Field

from app.background.declare.names import AgentId, AgentName, OperationName, QueueName, RunId
from app.background.event import AgentEvent
from app.background.protocol import DEFAULT_QUEUE, AgentDescription, Status
from app.background.schedules.spec import ScheduleSpec
from app.values import Input, Stored


class ScheduleAgent(Input):
    """Start an agent. With `event`, start it unless it runs, and send the event, in one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"agent_name": "TaskProcessor", "agent_id": "a1"}]})

    agent_name: AgentName
    agent_id: AgentId
    agent_input: Any = None
    task_queue: QueueName = DEFAULT_QUEUE
    event: AgentEvent | None = None
    schedule: ScheduleSpec | None = Field(None, description="Start it again and again; agent_id names the schedule")


class SendAgentEvent(Input):
    """Send an event. With `wait_for_completion` the answer is what its handler returns."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"agent_id": "a1", "event_name": "shutdown"}]})

    agent_id: AgentId
    event_name: OperationName
    event_input: Any = None
    run_id: RunId | None = Field(None, description="Only if this run is the current one")
    wait_for_completion: bool = False


class GetAgentState(Input):
    """Ask an agent for one of its `@agent.state` values."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"agent_id": "a1", "state_name": "progress"}]})

    agent_id: AgentId
    state_name: OperationName
    state_input: Any = None
    run_id: RunId | None = None


class AgentRequest(Input):
    """Names an agent."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"agent_id": "a1"}]})

    agent_id: AgentId
    run_id: RunId | None = None


class ScheduleRequest(Input):
    """Names a schedule."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"schedule_id": "s1"}]})

    schedule_id: AgentId


class ListAgents(Input):
    """Which agents to list, all if nothing is said."""

    agent_name: AgentName | None = None
    status: Status | None = None
    limit: int = Field(100, gt=0, le=10_000)


class AgentList(Stored):
    """Agents, by id."""

    agents: tuple[AgentDescription, ...]

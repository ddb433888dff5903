"""A service as code for the published library writes it, with its imports renamed; served with `python -m … PORT`.

Its agents are ours; how they are spelt is what is tested.
"""

# Fields have the names of handlers, as in the published examples; the types of the class cannot say that both work.
# mypy: disable-error-code="method-assign, assignment, attr-defined, arg-type, return-value, comparison-overlap"

import asyncio
import os
import sys
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from app.background import Restack
from app.background.agent import (
    NonRetryableError,
    RetryPolicy,
    agent,
    agent_info,
    get_external_agent_handle,
    import_functions,
    log,
    uuid,
)
from app.background.function import FunctionFailure, FunctionInfo, RetryableError, function, function_info, heartbeat
from app.background.function import log as function_log
from app.background.restack import CloudConnectionOptions, ServiceOptions
from app.background.workflow import NonRetryableError as WorkflowError
from app.background.workflow import workflow, workflow_info

with import_functions():
    import json

connection_options = CloudConnectionOptions(
    engine_id=os.environ.get("ENGINE_ID"), api_key=None, address=None, api_address=None
)
client = Restack(connection_options)


class Message(BaseModel):
    role: str
    content: str


class ReplyInput(BaseModel):
    messages: list[Message]


class MessagesEvent(BaseModel):
    messages: list[Message]


class EndEvent(BaseModel):
    end: bool


@function.defn()
async def reply(given: ReplyInput) -> Message:
    function_log.info("reply started", count=len(given.messages))
    if given.messages[-1].content == "boom":
        raise FunctionFailure("the model is away", non_retryable=True)
    return Message(role="assistant", content=given.messages[-1].content.upper())


@function.defn(name="who")
async def who_calls() -> dict[str, Any]:
    info: FunctionInfo = function_info()
    if info.attempt == 1:
        heartbeat("first")
        raise RetryableError(message="not yet")
    names = ("workflow_id", "workflow_run_id", "workflow_type", "activity_type", "attempt", "task_queue")
    seen = {name: getattr(info, name) for name in names}
    assert info.started_time >= info.scheduled_time
    assert info.retry_policy is not None
    return {**seen, "timeout_s": info.start_to_close_timeout and info.start_to_close_timeout.total_seconds()}


class TellInput(BaseModel):
    agent_id: str
    event_name: str
    event_input: dict[str, Any] | None = None


@function.defn()
async def tell(function_input: TellInput) -> None:
    """A function that uses a client, as functions in the published examples do."""
    await client.send_agent_event(
        event_name=function_input.event_name,
        agent_id=function_input.agent_id,
        event_input=function_input.event_input,
    )


@agent.defn()
class AgentChat:
    def __init__(self) -> None:
        self.end = False
        self.messages: list[Message] = []

    @agent.event
    async def messages(self, messages_event: MessagesEvent) -> list[Message]:
        log.info(f"Received message: {messages_event.messages}")
        self.messages.extend(messages_event.messages)
        try:
            answer = await agent.step(
                function=reply,
                function_input=ReplyInput(messages=self.messages),
                start_to_close_timeout=timedelta(seconds=120),
                retry_policy=RetryPolicy(timedelta(milliseconds=10), maximum_attempts=2),
            )
        except Exception as e:
            error_message = f"Error during reply: {e}"
            raise NonRetryableError(error_message) from e
        else:
            self.messages.append(answer)
            return self.messages

    @agent.event
    async def end(self, end: EndEvent) -> EndEvent:
        self.end = True
        return end

    @agent.state
    def count(self) -> int:
        return len(self.messages)

    @agent.run
    async def run(self, function_input: dict[str, Any]) -> Any:
        log.info("AgentChat function_input", function_input=function_input)
        await agent.condition(lambda: self.end is True)
        return function_input


class ChildInput(BaseModel):
    name: str = "nobody"


@workflow.defn()
class ChildWorkflow:
    @workflow.run
    async def run(self, given: ChildInput) -> dict[str, Any]:
        info = workflow_info()
        parent = info.parent
        seen = await workflow.step(
            function=who_calls,
            start_to_close_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
        )
        return {
            "name": given.name,
            "id": info.workflow_id,
            "type": info.workflow_type,
            "parent": (parent.workflow_id, parent.run_id) if parent else None,
            "run_id": info.run_id,
            "age_s": (info.workflow_start_time - info.start_time).total_seconds(),
            "seen": seen,
        }


@workflow.defn(description="Starts a child and waits for it.")
class ParentWorkflow:
    @workflow.run
    async def run(self) -> dict[str, Any]:
        parent_id = workflow_info().workflow_id
        try:
            result = await workflow.child_execute(
                workflow=ChildWorkflow,
                workflow_id=f"{parent_id}-child-execute",
                workflow_input=ChildInput(name="world"),
            )
            await workflow.sleep(0)
        except Exception as e:
            raise WorkflowError(message=f"parent failed: {e}") from e
        else:
            return {"child": result, "run_id": workflow_info().run_id, "key": json.dumps(str(uuid()))}


@workflow.defn()
class Sleeper:
    @workflow.run
    async def run(self, seconds: float) -> None:
        await workflow.sleep(seconds)


@workflow.defn()
class Impatient:
    @workflow.run
    async def run(self, how: str) -> str:
        options: Any = {
            "workflow": Sleeper,
            "workflow_id": f"{workflow_info().workflow_id}-sleeper",
            "workflow_input": 600,
            "execution_timeout": timedelta(milliseconds=300),
        }
        if how == "start":
            return (await workflow.child_start(**options)).id
        try:
            await workflow.child_execute(**options)
        except Exception as e:  # noqa: BLE001 - as published code does
            return str(e)
        return "it slept"


@agent.defn()
class Caller:
    """Sends events to another agent: by its handle, and by a function that has a client."""

    @agent.run
    async def run(self, other_id: str) -> list[str]:
        said = []
        other = get_external_agent_handle(other_id)
        await other.signal("messages", MessagesEvent(messages=[Message(role="user", content="from a handle")]))
        end = TellInput(agent_id=other.id, event_name="end", event_input={"end": True})
        await agent.step(function=tell, function_input=end)
        for event, target in (("dance", other), ("end", get_external_agent_handle(f"{agent_info().workflow_id}-no"))):
            try:
                await target.signal(event)
            except Exception as e:  # noqa: BLE001 - as published code does
                said.append(str(e))
        return said


async def main(port: str) -> None:
    os.environ["PORT"] = port
    await client.start_service(
        agents=[AgentChat, Caller],
        workflows=[ChildWorkflow, ParentWorkflow, Sleeper, Impatient],
        functions=[reply, who_calls, tell],
        options=ServiceOptions(max_concurrent_function_runs=50, endpoint_group="published"),
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

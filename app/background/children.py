"""Children: agents and workflows that an agent starts. Each has a mailbox of its own, where the start is decided.

Knows how to start and to wait; what becomes of a child when its parent ends is decided by the parent's mailbox.
"""

import asyncio
from contextlib import suppress
from typing import Any

from restate import TerminalError

from app.background.definition import AgentDefinition, definition_of
from app.background.mail import tell_agent
from app.background.operation import to_json
from app.background.protocol import (
    DEFAULT_QUEUE,
    Outcome,
    ParentClosePolicy,
    Started,
    StartRequest,
    Status,
    StopRequest,
    Stored,
)
from app.background.runtime import current_run, uuid
from app.durable import current_loop, wait_for
from app.errors import AgentFailed, Conflict, NotFound, UsageError


class ChildStart(Stored):
    """A child that was started."""

    id: str
    run_id: str


async def child_start(
    *,
    agent: type | None = None,
    workflow: type | None = None,
    agent_id: str | None = None,
    workflow_id: str | None = None,
    agent_input: Any = None,
    workflow_input: Any = None,
    task_queue: str = DEFAULT_QUEUE,
    parent_close_policy: ParentClosePolicy = ParentClosePolicy.TERMINATE,
) -> ChildStart:
    """Start a child and go on; without an id it gets a unique one.

    Durable: three journal entries; the child is started once.
    Errors: ValueError unless exactly one of `agent` and `workflow` is given; Conflict if the id is running;
    UsageError if the input does not fit.
    """
    child = _Child(_one_of(agent, workflow), agent_id or workflow_id)
    return await child.start(_either(agent_input, workflow_input), task_queue, parent_close_policy)


async def child_execute(
    *,
    agent: type | None = None,
    workflow: type | None = None,
    agent_id: str | None = None,
    workflow_id: str | None = None,
    agent_input: Any = None,
    workflow_input: Any = None,
    task_queue: str = DEFAULT_QUEUE,
    parent_close_policy: ParentClosePolicy = ParentClosePolicy.TERMINATE,
) -> Any:
    """Start a child and return its result.

    Durable: four journal entries.
    Cancelling the awaiting task cancels the child, and waits for its end.
    Errors: as child_start; AgentFailed with the child's text if it fails, is cancelled or terminated.
    """
    child = _Child(_one_of(agent, workflow), agent_id or workflow_id)
    waiter, ended = current_loop().ctx.awakeable(type_hint=Outcome)
    outcome = wait_for(ended)
    await child.start(_either(agent_input, workflow_input), task_queue, parent_close_policy, waiter=waiter)
    return await child.result(outcome)


class _Child:
    """One child, seen from its parent's run."""

    def __init__(self, definition: AgentDefinition, child_id: str | None) -> None:
        self._definition = definition
        self._id = child_id or f"{definition.name}-{uuid()}"
        self._ctx = current_loop().ctx

    async def start(
        self, child_input: Any, task_queue: str, policy: ParentClosePolicy, *, waiter: str | None = None
    ) -> ChildStart:
        definition = self._definition
        # Not a call: a cancellation would reach it, and nobody would know whether the child has started.
        reply, answer = self._ctx.awakeable(type_hint=Started)
        request = StartRequest(
            agent_name=definition.name,
            kind=definition.kind,
            input=to_json(child_input, f"The input of {definition.name}"),
            task_queue=task_queue,
            parent_id=current_run().info.agent_id,
            parent_close_policy=policy,
            reply=reply,
            waiter=waiter,
        )
        tell_agent(self._ctx, self._id, "start_child", request)
        try:
            started = await wait_for(answer)
        except TerminalError as exc:
            raise _refusal(exc) from exc
        return ChildStart(id=self._id, run_id=started.run_id)

    async def result(self, outcome: asyncio.Future[Outcome]) -> Any:
        try:
            await asyncio.wait((outcome,))  # unlike a plain await it leaves the outcome alone when cancelled
        except asyncio.CancelledError:
            tell_agent(self._ctx, self._id, "cancel", StopRequest(parent_id=current_run().info.agent_id))
            while not outcome.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait((outcome,))
            raise
        ended = outcome.result()
        if ended.status is not Status.COMPLETED:
            raise AgentFailed(f"{self._definition.name} {self._id!r}: {ended.failure}", ended=ended.status)
        return self._definition.run.result(ended.result)


def _one_of(agent: type | None, workflow: type | None) -> AgentDefinition:
    if (agent is None) == (workflow is None):
        given = "both" if agent is not None else "neither"
        raise ValueError(f"A child needs exactly one of agent= and workflow=, got {given}")
    return definition_of(agent or workflow)


def _either(agent_input: Any, workflow_input: Any) -> Any:
    return workflow_input if agent_input is None else agent_input


def _refusal(exc: TerminalError) -> Exception:
    """Return the error of a child that could not be started."""
    kinds: dict[int, type[UsageError]] = {NotFound.status: NotFound, Conflict.status: Conflict}
    return kinds.get(exc.status_code, UsageError)(exc.message)

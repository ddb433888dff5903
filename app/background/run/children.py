"""Children: agents and workflows that an agent starts. Each has a mailbox of its own, where the start is decided.

Starts, waits and asks to end. What becomes of a child when its parent ends is decided by the parent's mailbox.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from enum import Enum
from typing import Any

from pydantic import TypeAdapter, ValidationError
from restate import TerminalError

from app.background.declare.definition import AgentDefinition, definition_of
from app.background.declare.names import AgentId
from app.background.declare.operation import to_json
from app.background.failure import refusal_of
from app.background.mailbox import addresses as mailbox
from app.background.protocol import (
    DEFAULT_QUEUE,
    Outcome,
    ParentClosePolicy,
    Started,
    StartRequest,
    Status,
    StopRequest,
)
from app.background.run.current import current_run, uuid
from app.durable import current_loop, wait_for
from app.errors import AgentFailed, UsageError
from app.values import Stored, problems_of

_AGENT_ID: TypeAdapter[str] = TypeAdapter(AgentId)


class ChildStart(Stored):
    """A child that was started."""

    id: str
    run_id: str


class ChildCancellation(Enum):
    """What a cancellation of the code that waits for a child does to the child."""

    ABANDON = 0  # nothing
    TRY_CANCEL = 1  # it is asked to end, and not waited for
    WAIT_CANCELLATION_COMPLETED = 2
    WAIT_CANCELLATION_REQUESTED = 3  # the same as TRY_CANCEL: a request that was sent arrives


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
    cancellation_type: ChildCancellation = ChildCancellation.WAIT_CANCELLATION_COMPLETED,
    execution_timeout: timedelta | None = None,
) -> ChildStart:
    """Start a child and go on. Without an id it gets a unique one.

    Units: `execution_timeout` is a timedelta, None waits for ever. The child is terminated then, also if its parent has
    ended. `cancellation_type` has no meaning here, where nobody waits for the child.
    Durable: three journal entries. The child is started once.
    Errors: ValueError unless exactly one of `agent` and `workflow` is given; Conflict if the id is running;
    UsageError if the input does not fit.
    """
    del cancellation_type
    child = _Child(_one_of(agent, workflow), agent_id or workflow_id)
    started = await child.start(_either(agent_input, workflow_input), task_queue, parent_close_policy)
    if execution_timeout is not None:
        child.terminate(run_id=started.run_id, after=execution_timeout)
    return started


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
    cancellation_type: ChildCancellation = ChildCancellation.WAIT_CANCELLATION_COMPLETED,
    execution_timeout: timedelta | None = None,
) -> Any:
    """Start a child and return its result.

    Units: `execution_timeout` is a timedelta, None waits for ever. The child is terminated then.
    Durable: four journal entries, and a timer with a timeout.
    Cancelling the awaiting task cancels the child and waits for its end, unless `cancellation_type` says otherwise.
    Errors: as child_start; AgentFailed with the child's text if it fails, is cancelled or terminated.
    """
    child = _Child(_one_of(agent, workflow), agent_id or workflow_id)
    waiter, ended = current_loop().ctx.awakeable(type_hint=Outcome)
    outcome = wait_for(ended)
    await child.start(_either(agent_input, workflow_input), task_queue, parent_close_policy, waiter=waiter)
    return await child.result(outcome, cancellation_type, execution_timeout)


class _Child:
    """One child, seen from its parent's run."""

    def __init__(self, definition: AgentDefinition, child_id: str | None) -> None:
        self._definition = definition
        self._id = _checked(child_id) if child_id else f"{definition.name}-{uuid()}"
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
            parent_run_id=_own_run_id(),
        )
        mailbox.START_CHILD.send(self._ctx, self._id, request)
        try:
            started = await wait_for(answer)
        except TerminalError as exc:
            raise refusal_of(exc) from exc
        return ChildStart(id=self._id, run_id=started.run_id)

    async def result(
        self, outcome: asyncio.Future[Outcome], cancellation: ChildCancellation, timeout: timedelta | None
    ) -> Any:
        timeout_s = None if timeout is None else timeout.total_seconds()
        try:
            # Unlike a plain await it leaves the outcome alone when cancelled.
            await asyncio.wait((outcome,), timeout=timeout_s)
        except asyncio.CancelledError:
            if cancellation is not ChildCancellation.ABANDON:
                mailbox.CANCEL.send(self._ctx, self._id, StopRequest(parent_id=current_run().info.agent_id))
            while cancellation is ChildCancellation.WAIT_CANCELLATION_COMPLETED and not outcome.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait((outcome,))
            raise
        if not outcome.done():
            self.terminate()
            text = f"{self._definition.name} {self._id!r}: no result within its execution_timeout of {timeout_s:g} s"
            raise AgentFailed(text, ended=Status.TERMINATED)
        ended = outcome.result()
        if ended.status is not Status.COMPLETED:
            raise AgentFailed(f"{self._definition.name} {self._id!r}: {ended.failure}", ended=ended.status)
        return self._definition.run.result(ended.result)

    def terminate(self, *, run_id: str | None = None, after: timedelta | None = None) -> None:
        """End the child at once, or after some time if that run is still its current one."""
        request = StopRequest(parent_id=current_run().info.agent_id, run_id=run_id)
        mailbox.TERMINATE.send(self._ctx, self._id, request, delay=after)


def _own_run_id() -> str | None:
    """Return the id of this run, None for one of a version that did not send it: it must send the same again."""
    info = current_run().info
    return None if info.started_at is None else info.run_id


def _one_of(agent: type | None, workflow: type | None) -> AgentDefinition:
    if (agent is None) == (workflow is None):
        given = "both" if agent is not None else "neither"
        raise ValueError(f"A child needs exactly one of agent= and workflow=, got {given}")
    return definition_of(agent or workflow)


def _checked(child_id: str) -> str:
    """Return the id if it is one. Errors: UsageError."""
    try:
        return _AGENT_ID.validate_python(child_id)
    except ValidationError as exc:
        raise UsageError(f"Bad id of a child. {problems_of(exc)}") from exc


def _either(agent_input: Any, workflow_input: Any) -> Any:
    return workflow_input if agent_input is None else agent_input

"""One run of one agent: a Restate service named after the class, whose handler `run` executes it on the durable loop.

Owns how a run begins and ends; what an agent may call in between is in `runtime.py`, `stepping.py` and `children.py`.
"""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import restate
from restate import TerminalError
from restate.exceptions import RetryableError

from app.background.definition import AgentDefinition
from app.background.events import Events
from app.background.mail import tell_agent
from app.background.operation import to_json
from app.background.protocol import RUN, Close, End, NextRun, Outcome, RunStart, Status
from app.background.runtime import AgentInfo, ContinueAsNew, Run, enter
from app.boundary import PATIENT_RETRIES
from app.durable import get_logger, run_durably, wait_for
from app.errors import AgentError

T = TypeVar("T")

IDLE = timedelta(seconds=2)  # silence after which a run is suspended: long enough for a burst of events
CHANGED_CLASS_RETRY = timedelta(seconds=5)
logger = get_logger("background")


def run_service(definition: AgentDefinition, *, idle: timedelta | None = IDLE) -> restate.Service:
    """Return the service of a class of agents. `idle` None leaves it to the server when a run is suspended."""
    service = restate.Service(
        definition.name,
        description=definition.description,
        metadata={"kind": definition.kind, "fingerprint": definition.fingerprint},
        ingress_private=True,
        inactivity_timeout=idle,
        invocation_retry_policy=PATIENT_RETRIES,
    )

    async def run(ctx: restate.Context, start: RunStart) -> Any:
        """One run of the agent, from its start or the last continue-as-new to the next or the end."""
        await _require_same_class(ctx, definition, start)
        return await run_durably(ctx, _AgentRun(ctx, definition, start).main())

    service.handler(name=RUN)(run)
    return service


async def _require_same_class(ctx: restate.Context, definition: AgentDefinition, start: RunStart) -> None:
    """Errors: RetryableError if the run was begun by other code, which a replay would follow wrongly."""
    begun_with = await ctx.run_typed("class", lambda: definition.fingerprint, restate.RunOptions(type_hint=str))
    if begun_with != definition.fingerprint:
        text = (
            f"Agent {start.agent_id!r} (run {ctx.request().id}) was begun by another version of class "
            f"{definition.name} ({begun_with}, this is {definition.fingerprint}) and is not replayed with this one. "
            "Deploy the old code again so that it can end or continue as new, or terminate_agent and schedule it again."
        )
        logger.error(text)
        raise RetryableError(text, retry_after=CHANGED_CLASS_RETRY)


class _AgentRun:
    """The course of one run; lives on the durable loop."""

    def __init__(self, ctx: restate.Context, definition: AgentDefinition, start: RunStart) -> None:
        self._ctx = ctx
        self._definition = definition
        self._start = start
        self._run_id = ctx.request().id

    async def main(self) -> Any:
        run = Run(AgentInfo(run_id=self._run_id, **self._start.model_dump(exclude={"after_seq"})))
        enter(run)
        try:
            instance = self._definition.cls()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the agent has failed
            outcome = self._failed(exc)
            self._report_end(outcome)
        else:
            run.events = events = Events(self._definition, instance, self._start, self._run_id)
            try:
                outcome = await self._outcome(instance)
            except ContinueAsNew as request:
                return await _to_the_end(self._continue(events, request))
            if outcome.status is Status.CANCELLED:
                events.cancel_handlers()
            await _to_the_end(self._close(events, outcome))
        if outcome.failure is not None:
            raise TerminalError(outcome.failure, 409 if outcome.status is Status.CANCELLED else 500)
        return outcome.result

    async def _outcome(self, instance: Any) -> Outcome:
        operation = self._definition.run
        try:
            # The mailbox has checked the input; that of a continue-as-new may be for agent_info() only.
            arguments = operation.arguments(self._start.input) if operation.parameter else ()
            value = await operation.function(instance, *arguments)
            return Outcome(status=Status.COMPLETED, result=to_json(value, f"What {operation.title} returns"))
        except asyncio.CancelledError:
            logger.info("Agent %s was cancelled", self._start.agent_id)
            return Outcome(status=Status.CANCELLED, failure="The agent was cancelled.")
        except Exception as exc:  # noqa: BLE001 - whatever it is, the agent has failed
            return self._failed(exc)

    def _failed(self, exc: Exception) -> Outcome:
        logger.error("Agent %s failed", self._start.agent_id, exc_info=exc)
        text = exc.message if isinstance(exc, AgentError) else f"{type(exc).__name__}: {exc}"
        return Outcome(status=Status.FAILED, failure=text)

    async def _continue(self, events: Events, request: ContinueAsNew) -> dict[str, Any]:
        """Hand over to the next run, once the handlers that are busy have finished."""
        events.stop()
        await events.finish()
        next_input = self._start.input if request.keeps_input else request.input
        message = NextRun(run_id=self._run_id, taken=events.taken, input=next_input)
        tell_agent(self._ctx, self._start.agent_id, "next_run", message)
        return {"continued_as": self._start.run_number + 1}

    async def _close(self, events: Events, outcome: Outcome) -> None:
        """Report the end, after the last event that the mailbox has accepted."""
        agent_id, run_id = self._start.agent_id, self._run_id
        await events.settle()
        reply, last = self._ctx.awakeable(type_hint=int)
        tell_agent(self._ctx, agent_id, "close", Close(run_id=run_id, taken=events.taken, outcome=outcome, reply=reply))
        pending = await wait_for(last)
        if pending is not None:
            await events.drain(pending)
            self._report_end(outcome)

    def _report_end(self, outcome: Outcome) -> None:
        tell_agent(self._ctx, self._start.agent_id, "end", End(run_id=self._run_id, outcome=outcome))


async def _to_the_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` to its end: what is done is reported, also if the agent is cancelled while it reports."""
    task = asyncio.create_task(coroutine)
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            logger.debug("A cancellation came after the end")
    return task.result()

"""One run of one agent: a Restate service named after the class, whose handler `run` executes it on the durable loop.

Owns how a run begins and ends. What an agent may call in between is in `current.py`, `step.py` and `children.py`.
"""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import restate
from restate import TerminalError
from restate.exceptions import RetryableError

from app.background.declare.definition import AgentDefinition
from app.background.declare.fingerprint import is_of
from app.background.declare.operation import to_json
from app.background.engine import admin
from app.background.engine.standstill import CHANGED_CLASS, WAYS_OUT_OF_CHANGE
from app.background.failure import MAX_TEXT, ends_attempt, status_of, text_of
from app.background.mailbox import addresses as mailbox
from app.background.protocol import (
    FINGERPRINT_KEY,
    KIND_KEY,
    RUN,
    Close,
    End,
    NextRun,
    Outcome,
    RunOfAgent,
    RunStart,
    Status,
)
from app.background.query import QUERY, Query, QueryAnswer
from app.background.run.addresses import KILL
from app.background.run.current import ContinueAsNew, Run, enter
from app.background.run.events import Events
from app.background.run.info import AgentInfo
from app.background.run.live import Attempt, live_runs
from app.boundary import PATIENT_RETRIES, PUBLIC_RETRIES
from app.durable import get_logger, run_durably, wait_for
from app.durable.rest import watch_rest
from app.text import clean, shorten

T = TypeVar("T")

IDLE = timedelta(seconds=2)  # silence after which a run is suspended: long enough for a burst of events
CHANGED_CLASS_RETRY = timedelta(seconds=5)
AFTER_THE_REPORT = timedelta(seconds=5)  # a killed run must not be noticed before what it has said last
logger = get_logger("background")


def run_service(definition: AgentDefinition, *, idle: timedelta | None = IDLE) -> restate.Service:
    """Return the service of a class of agents. `idle` None leaves it to the server when a run is suspended."""
    service = restate.Service(
        definition.name,
        description=definition.description,
        metadata={KIND_KEY: definition.kind, FINGERPRINT_KEY: definition.fingerprint},
        ingress_private=True,
        inactivity_timeout=idle,
        invocation_retry_policy=PATIENT_RETRIES,
    )

    async def run(ctx: restate.Context, start: RunStart) -> Any:
        """Run the agent, from its start or the last continue-as-new to the next or the end."""
        with live_runs.attempt(ctx.request().id) as attempt:
            started_at = await _require_same_class(ctx, definition, start, attempt)
            watch_rest(ctx, attempt.at_rest)
            agent_run = _AgentRun(ctx, definition, start, started_at, attempt)
            try:
                return await run_durably(ctx, agent_run.main())
            except TerminalError as exc:
                agent_run.stopped(exc)
                raise

    async def query(_ctx: restate.Context, request: Query) -> QueryAnswer:
        """Answer from the memory of a run, if it is live in this process or can be woken in it."""
        try:
            return await live_runs.ask(request, admin.wake)
        except Exception as exc:
            raise TerminalError(text_of(exc), status_of(exc)) from exc

    service.handler(name=RUN)(run)
    service.handler(name=QUERY, journal_retention=timedelta(0), invocation_retry_policy=PUBLIC_RETRIES)(query)
    return service


async def _require_same_class(
    ctx: restate.Context, definition: AgentDefinition, start: RunStart, attempt: Attempt
) -> datetime | None:
    """Return when the run began, None for one of a version that did not record it.

    Errors: RetryableError if the run was begun by other code, which a replay would follow wrongly.
    """
    begun = f"{definition.fingerprint} {datetime.now(UTC).isoformat()}"
    recorded = await ctx.run_typed("class", lambda: begun, restate.RunOptions(type_hint=str))
    begun_with, _, started_at = recorded.partition(" ")
    if not is_of(definition.cls, begun_with):
        text = (
            f"Agent {start.agent_id!r} (run {ctx.request().id}) {CHANGED_CLASS} {definition.name} ({begun_with}, this "
            f"is {definition.fingerprint}) and is not replayed with this one. {WAYS_OUT_OF_CHANGE}"
        )
        logger.error(text)
        attempt.end(QueryAnswer(where="blocked", text=text))
        raise RetryableError(text, retry_after=CHANGED_CLASS_RETRY)
    return datetime.fromisoformat(started_at) if started_at else None


class _AgentRun:
    """The course of one run. It lives on the durable loop."""

    def __init__(
        self,
        ctx: restate.Context,
        definition: AgentDefinition,
        start: RunStart,
        started_at: datetime | None,
        attempt: Attempt,
    ) -> None:
        self._ctx = ctx
        self._attempt = attempt
        self._definition = definition
        self._start = start
        self._run_id = ctx.request().id
        self._started_at = started_at
        self._has_ended = False

    def stopped(self, exc: TerminalError) -> None:
        """Report the failure of a run that could not do it itself, because its durable loop could not go on."""
        if not self._has_ended:
            logger.error("Agent %s failed: %s", self._start.agent_id, exc.message)
            self._report_end(Outcome(status=Status.FAILED, failure=shorten(clean(exc.message), MAX_TEXT)))

    async def main(self) -> Any:
        start = self._start.model_dump(exclude={"after_seq"})
        run = Run(AgentInfo(run_id=self._run_id, started_at=self._started_at, **start))
        enter(run)
        try:
            instance = self._definition.cls()
        except BaseException as exc:  # noqa: BLE001 - whatever it is, the agent has failed
            outcome = self._failed(exc)
            self._report_end(outcome)
        else:
            run.events = events = Events(self._definition, instance, self._start, self._run_id)
            self._attempt.events = events
            try:
                outcome = await self._outcome(instance)
            except ContinueAsNew as request:
                return await _to_the_end(self._continue(events, request))
            if outcome.status is Status.CANCELLED:
                events.cancel_handlers()
            await _to_the_end(self._close(events, outcome))
        self._has_ended = True
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
        except ContinueAsNew:
            raise
        except BaseException as exc:  # noqa: BLE001 - whatever it is, the agent has failed
            return self._failed(exc)

    def _failed(self, exc: BaseException) -> Outcome:
        """Return the failure that an exception of the agent is. Errors: the exception if it ends the attempt."""
        if ends_attempt(exc):
            raise exc
        logger.error("Agent %s failed", self._start.agent_id, exc_info=exc)
        return Outcome(status=Status.FAILED, failure=text_of(exc))

    async def _continue(self, events: Events, request: ContinueAsNew) -> dict[str, Any]:
        """Hand over to the next run, once the handlers that are busy have finished or were cancelled."""
        finished = await events.finish()
        next_input = self._start.input if request.keeps_input else request.input
        message = NextRun(run_id=self._run_id, taken=events.taken, input=next_input)
        mailbox.NEXT_RUN.send(self._ctx, self._start.agent_id, message)
        if not finished:
            self._have_itself_killed()
        return {"continued_as": self._start.run_number + 1}

    async def _close(self, events: Events, outcome: Outcome) -> None:
        """Report the end, after the last event that the mailbox has accepted."""
        agent_id, run_id = self._start.agent_id, self._run_id
        finished = await events.settle()
        reply, last = self._ctx.awakeable(type_hint=int)
        close = Close(run_id=run_id, taken=events.taken, outcome=outcome, reply=reply)
        mailbox.CLOSE.send(self._ctx, agent_id, close)
        pending = await wait_for(last)
        if pending is not None:
            finished = await events.drain(pending)
            self._report_end(outcome)
        if not finished:
            self._have_itself_killed()

    def _have_itself_killed(self) -> None:
        """Have this run killed: handlers that cannot be cancelled would keep it for ever.

        Its agent has ended or has the next run.
        """
        run = RunOfAgent(agent_id=self._start.agent_id, run_id=self._run_id)
        KILL.send(self._ctx, run, delay=AFTER_THE_REPORT)

    def _report_end(self, outcome: Outcome) -> None:
        mailbox.END.send(self._ctx, self._start.agent_id, End(run_id=self._run_id, outcome=outcome))


async def _to_the_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` to its end: what is done is reported, also if the agent is cancelled while it reports."""
    task = asyncio.create_task(coroutine)
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            logger.debug("A cancellation came after the end")
    return task.result()

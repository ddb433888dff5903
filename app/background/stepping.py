"""`agent.step`: the caller's side of a function. The function runs in an invocation of its own.

So the agent is suspended meanwhile, and still hears events, timers and cancellations. Knows limits, not functions.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from restate import TerminalError

from app.background.admin import is_served
from app.background.function import definition_of_function
from app.background.operation import to_json
from app.background.protocol import CALL, DEFAULT_QUEUE, FunctionCall
from app.background.retry import DEFAULT_RETRY, RetryPolicy
from app.background.runtime import current_run
from app.durable import Call, current_loop, to_step_failed, wait_for
from app.durable import step as durable_step
from app.errors import StepFailed

DEFAULT_START_TO_CLOSE = timedelta(minutes=5)  # of the published library


async def step(
    function: Callable[..., Any],
    function_input: Any = None,
    *,
    task_queue: str = DEFAULT_QUEUE,
    start_to_close_timeout: timedelta | None = DEFAULT_START_TO_CLOSE,
    schedule_to_close_timeout: timedelta | None = None,
    schedule_to_start_timeout: timedelta | None = None,
    heartbeat_timeout: timedelta | None = None,
    retry_policy: RetryPolicy | None = None,
) -> Any:
    """Run `function` outside of the agent and journal its result; a replay returns the journaled value.

    Shapes: function(input) -> JSON value or what its return annotation says; plain functions run in a thread.
    Units: timeouts are timedeltas; start_to_close is for each attempt, schedule_to_close for all, schedule_to_start
    until the first begins, heartbeat between two `function.heartbeat()`. None waits for ever.
    Durable: three journal entries, one more for the first step of a run; at least once: an attempt runs again if its
    process dies.
    Cancelling the awaiting task aborts the function and waits for its end.
    Errors: StepFailed with the text and the type of what was raised; UsageError if the input does not fit.
    """
    definition = definition_of_function(function)
    value = to_json(function_input, f"The input of {definition.title}")
    definition.arguments(value)
    await _require_served(task_queue)
    started = _Started(schedule_to_start_timeout)
    policy = retry_policy or DEFAULT_RETRY
    request = FunctionCall(
        input=value,
        agent_id=current_run().info.agent_id,
        started=started.awakeable_id,
        start_to_close_s=_seconds(start_to_close_timeout),
        heartbeat_s=_seconds(heartbeat_timeout),
        max_attempts=policy.max_attempts,
        initial_interval_s=policy.initial_interval.total_seconds(),
        backoff_coefficient=policy.backoff_coefficient,
        max_interval_s=_seconds(policy.max_interval),
        non_retryable_error_types=policy.non_retryable_error_types,
    )
    call = Call(functions_service(task_queue), CALL, request.model_dump_json().encode(), key=definition.name)
    await started.wait(call, task_queue)
    answer = await _answer(call, schedule_to_close_timeout)
    return definition.result(answer)


def functions_service(task_queue: str) -> str:
    """Return the name of the virtual object that serves the functions of a task queue, keyed by their names."""
    return f"{task_queue}.functions"


async def _require_served(task_queue: str) -> None:
    """Errors: StepFailed for a task queue that nobody serves; Restate would let the whole agent wait for it."""
    service, served = functions_service(task_queue), current_run().served
    if service not in served:
        if not await durable_step(f"is {service} served?", lambda: is_served(service), result_type=bool):
            raise StepFailed(
                f"Task queue {task_queue!r} is not served: start_service(functions=[…], task_queue={task_queue!r})",
                error_type="NotFound",
            )
        served.add(service)


class _Started:
    """The wait for the first attempt to begin, if somebody wants to limit that."""

    def __init__(self, timeout: timedelta | None) -> None:
        self._timeout = timeout
        self.awakeable_id: str | None = None
        if timeout is not None:
            self.awakeable_id, begun = current_loop().ctx.awakeable(type_hint=object)
            self._begun = wait_for(begun)

    async def wait(self, call: Call, task_queue: str) -> None:
        if self._timeout is None:
            return
        timeout_s = self._timeout.total_seconds()
        try:
            await asyncio.wait((self._begun, call.answer), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            call.cancel()
            raise
        if not self._begun.done() and not call.answer.done():
            call.cancel()
            raise StepFailed(
                f"not started within {timeout_s:g} s: does the service of task queue {task_queue!r} run?",
                error_type="TimeoutError",
            )


async def _answer(call: Call, timeout: timedelta | None) -> Any:
    if not await call.wait(timeout_s=_seconds(timeout)):
        call.cancel()  # its end is not waited for: it may be in a deployment that is down
        raise StepFailed(f"no result within {_seconds(timeout):g} s of all attempts", error_type="TimeoutError")
    try:
        body = call.answer.result()
    except TerminalError as exc:
        raise to_step_failed(exc) from exc
    return json.loads(body) if body else None


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()

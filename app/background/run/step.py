"""`agent.step`: the caller's side of a function. The function runs in an invocation of its own.

So the agent is suspended meanwhile, and still hears events, timers and cancellations. Runs no function itself.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, TypedDict, TypeVar, Unpack, overload

from pydantic import BaseModel
from restate import TerminalError

from app.background.declare.definition import definition_of_function
from app.background.declare.operation import to_json
from app.background.declare.retry import DEFAULT_RETRY, RetryPolicy
from app.background.functions.addresses import called_at, function_service, functions_service
from app.background.functions.served import why_not_served
from app.background.protocol import DEFAULT_QUEUE, FunctionCall
from app.background.run.current import current_run
from app.durable import Call, current_loop, to_step_failed, wait_for
from app.durable import step as durable_step
from app.errors import StepFailed

DEFAULT_START_TO_CLOSE = timedelta(minutes=5)  # of the published library

I = TypeVar("I")  # noqa: E741 - what goes in
R = TypeVar("R")
M = TypeVar("M", bound=BaseModel)


class StepOptions(TypedDict, total=False):
    """The options of a step, by name."""

    task_queue: str
    start_to_close_timeout: timedelta | None
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    heartbeat_timeout: timedelta | None
    retry_policy: RetryPolicy | None


# Coroutine functions come first: a plain one returns anything, a coroutine too. A model may be given as a dict.
@overload
async def step(function: Callable[[], Awaitable[R]], **options: Unpack[StepOptions]) -> R: ...
@overload
async def step(function: Callable[[I], Awaitable[R]], function_input: I, **options: Unpack[StepOptions]) -> R: ...
@overload
async def step(
    function: Callable[[M], Awaitable[R]], function_input: Mapping[str, Any], **options: Unpack[StepOptions]
) -> R: ...
@overload
async def step(function: Callable[[], R], **options: Unpack[StepOptions]) -> R: ...
@overload
async def step(function: Callable[[I], R], function_input: I, **options: Unpack[StepOptions]) -> R: ...
@overload
async def step(function: Callable[[M], R], function_input: Mapping[str, Any], **options: Unpack[StepOptions]) -> R: ...
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
    """Run `function` outside of the agent and journal its result. A replay returns the journaled value.

    Shapes: function(input) -> JSON value or what its return annotation says. Plain functions run in a thread.
    Units: timeouts are timedeltas: start_to_close is for each attempt, schedule_to_close for all, schedule_to_start
    until the first begins, heartbeat between two `function.heartbeat()`. None waits for ever.
    Durable: three journal entries, one more for the first step of a run. At least once: an attempt runs again if its
    process dies.
    Cancelling the awaiting task aborts the function and waits for its end.
    Errors: StepFailed with the text and the type of what was raised; UsageError if the input does not fit.
    """
    definition = definition_of_function(function)
    value = to_json(function_input, f"The input of {definition.title}")
    definition.arguments(value)  # refused here without a call; the process of the function makes its own of the JSON
    service, key = await _route(task_queue, definition.name)
    started = _Started(schedule_to_start_timeout)
    policy = retry_policy or DEFAULT_RETRY
    request = FunctionCall(
        input=value,
        agent_id=current_run().info.agent_id,
        **_caller(schedule_to_close_timeout),
        started=started.awakeable_id,
        start_to_close_s=_seconds(start_to_close_timeout),
        heartbeat_s=_seconds(heartbeat_timeout),
        max_attempts=policy.max_attempts,
        initial_interval_s=policy.initial_interval.total_seconds(),
        backoff_coefficient=policy.backoff_coefficient,
        max_interval_s=_seconds(policy.max_interval),
        non_retryable_error_types=policy.non_retryable_error_types,
    )
    call = Call(called_at(service), request, key=key)
    await started.wait(call, definition.name, task_queue)
    answer = await _answer(call, definition.name, schedule_to_close_timeout)
    return definition.result(answer)


def _caller(schedule_to_close: timedelta | None) -> dict[str, Any]:
    """Return what a function may know of its caller.

    A run that began before that was sent must send the same as then: nothing.
    """
    info = current_run().info
    if info.started_at is None:
        return {}
    names = {"run_id": info.run_id, "agent_name": info.agent_name}
    return {**names, "schedule_to_close_s": _seconds(schedule_to_close)}


async def _route(task_queue: str, name: str) -> tuple[str, str | None]:
    """Return the service, and the key in it, that runs a function for this run.

    A journal of the version before says True here, once for a queue: all its calls went to one object of the queue, and
    in that run they go on to.
    Errors: StepFailed for a function that nobody serves; Restate would let the whole agent wait for it.
    """
    by_queue, by_name = functions_service(task_queue), function_service(task_queue, name)
    run = current_run()
    if by_queue not in run.served and by_name not in run.served:
        refusal: str | bool = await durable_step(
            f"is {by_queue} served?",
            lambda: why_not_served(task_queue, name, run.info.agent_id),
            result_type=str | bool,
        )
        if refusal is False:
            refusal = (
                f"Task queue {task_queue!r} is not served: start_service(functions=[…], task_queue={task_queue!r})"
            )
        if isinstance(refusal, str) and refusal:
            raise StepFailed(refusal, error_type="NotFound")
        run.served.add(by_queue if refusal is True else by_name)
    return (by_queue, name) if by_queue in run.served else (by_name, None)


class _Started:
    """The wait for the first attempt to begin, if somebody wants to limit that."""

    def __init__(self, timeout: timedelta | None) -> None:
        self._timeout = timeout
        self.awakeable_id: str | None = None
        if timeout is not None:
            self.awakeable_id, begun = current_loop().ctx.awakeable(type_hint=object)
            self._begun = wait_for(begun)

    async def wait(self, call: Call, function: str, task_queue: str) -> None:
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
                f"Function {function!r} was not started within {timeout_s:g} s: "
                f"does the service of task queue {task_queue!r} run?",
                error_type="TimeoutError",
            )


async def _answer(call: Call, function: str, timeout: timedelta | None) -> Any:
    if not await call.wait(timeout_s=_seconds(timeout)):
        call.cancel()  # its end is not waited for: it may be in a deployment that is down
        raise StepFailed(
            f"Function {function!r} failed: no result within {_seconds(timeout):g} s of all attempts",
            error_type="TimeoutError",
        )
    try:
        body = call.answer.result()
    except TerminalError as exc:
        raise to_step_failed(exc) from exc
    return json.loads(body) if body else None


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()

"""The functions of a task queue: a virtual object keyed by the function's name, so that Restate's UI shows it.

Owns attempts, timeouts and heartbeats of a function; knows nothing of the agent but its id. Its one handler is shared,
so calls of one function run side by side.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from restate import ObjectSharedContext, VirtualObject

from app.background import registry
from app.background.function import FunctionInfo, enter
from app.background.operation import Operation, to_json
from app.background.protocol import FunctionCall
from app.background.stepping import functions_service
from app.boundary import PATIENT_RETRIES, handler
from app.durable import RetryPolicy, run_durably, step, to_terminal_error
from app.errors import NonRetryableError, StepFailed, UsageError


def functions_object(task_queue: str, *, inactivity_timeout: timedelta | None) -> VirtualObject:
    """Return the virtual object of a task queue. `inactivity_timeout` is how long a function may be silent."""
    functions = VirtualObject(
        functions_service(task_queue),
        description=f"Functions of task queue {task_queue}, by name; agents call them in steps.",
        ingress_private=True,
        enable_lazy_state=True,
        inactivity_timeout=inactivity_timeout,
        abort_timeout=inactivity_timeout,
    )

    @handler(functions, private=True, kind="shared", retries=PATIENT_RETRIES)
    async def call(ctx: ObjectSharedContext, request: FunctionCall) -> Any:
        """Run a function with the timeouts and the retries of its step."""
        function = registry.require_function(task_queue, ctx.key())
        arguments = function.arguments(request.input)
        if request.started is not None:
            ctx.resolve_awakeable(request.started, None)
        info = FunctionInfo(name=function.name, task_queue=task_queue, agent_id=request.agent_id)
        execution = _Execution(function, arguments, request, info)
        try:
            return await run_durably(ctx, execution.run())
        except StepFailed as exc:
            raise to_terminal_error(exc, exc.message) from exc

    return functions


class _Execution:
    """All attempts of one call of one function."""

    def __init__(
        self, function: Operation, arguments: tuple[Any, ...], request: FunctionCall, info: FunctionInfo
    ) -> None:
        self._function = function
        self._arguments = arguments
        self._request = request
        self._info = info

    async def run(self) -> Any:
        """Run on the durable loop: each attempt is a step of its own."""
        request = self._request
        max_interval = None if request.max_interval_s is None else timedelta(seconds=request.max_interval_s)
        policy = RetryPolicy(
            request.max_attempts,
            timedelta(seconds=request.initial_interval_s),
            request.backoff_coefficient,
            max_interval,
        )
        return await step(self._function.name, self._attempt, timeout_s=request.start_to_close_s, retry=policy)

    async def _attempt(self) -> Any:
        """Run on the real loop."""
        enter(self._info)
        self._info.heard_at = time.monotonic()
        try:
            value = await _watched(self._call, self._info, self._request.heartbeat_s)
        except Exception as exc:
            if type(exc).__name__ in self._request.non_retryable_error_types:
                exc.retryable = False  # type: ignore[attr-defined]  # what durable steps ask of an exception
            raise
        try:
            return to_json(value, f"What {self._function.title} returns")
        except UsageError as exc:
            raise NonRetryableError(exc.message) from exc

    async def _call(self) -> Any:
        if asyncio.iscoroutinefunction(self._function.function):
            return await self._function.function(*self._arguments)
        return await asyncio.to_thread(self._function.function, *self._arguments)


async def _watched(action: Callable[[], Awaitable[Any]], info: FunctionInfo, heartbeat_s: float | None) -> Any:
    """Run `action`; abort it when its last heartbeat is too long ago. Errors: TimeoutError."""
    if heartbeat_s is None:
        return await action()
    task = asyncio.ensure_future(action())
    try:
        while not task.done():
            left = info.heard_at + heartbeat_s - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no heartbeat for {heartbeat_s:g} s")
            await asyncio.wait((task,), timeout=left)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
    return task.result()

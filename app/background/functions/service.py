"""The functions of a task queue: a service for each, so that every function is found in the process that serves it.

Owns the retries of a call. An attempt is in `attempt.py`. Knows of the agent only what its step has sent.
"""

import asyncio
import itertools
from datetime import timedelta
from functools import cache
from typing import Any

from restate import Context, ObjectSharedContext, RunOptions, Service, VirtualObject

from app.background.declare import registry
from app.background.declare.operation import Operation
from app.background.engine.admin import is_served
from app.background.functions.addresses import called_at, function_service, functions_service
from app.background.functions.attempt import Attempt
from app.background.functions.info import FunctionInfo, retry_policy_of
from app.background.functions.limits import Gate, Limits
from app.background.functions.workers import Workers
from app.background.protocol import FunctionCall
from app.boundary import PATIENT_RETRIES, private_handler
from app.durable import run_durably, step, to_terminal_error
from app.errors import StepFailed, UsageError
from app.settings import get_settings

_gates: dict[str, Gate] = {}


def limit(task_queue: str, limits: Limits) -> None:
    """Set the limits of a task queue in this process, in place of those set before."""
    _gates[task_queue] = Gate(limits)


def service_of_function(task_queue: str, name: str, *, inactivity_timeout: timedelta | None) -> Service:
    """Return the service of one function. `inactivity_timeout` is how long it may be silent."""
    service = Service(
        function_service(task_queue, name),
        description=f"Function {name} of task queue {task_queue}. Agents call it in steps.",
        ingress_private=True,
        inactivity_timeout=inactivity_timeout,
        abort_timeout=inactivity_timeout,
    )

    @private_handler(service, called_at(service.name), retries=PATIENT_RETRIES)
    async def call(ctx: Context, request: FunctionCall) -> object:
        """Run the function with the timeouts and the retries of its step."""
        return await _execute(ctx, task_queue, name, request)

    return service


def functions_object(task_queue: str, *, inactivity_timeout: timedelta | None) -> VirtualObject:
    """Return the virtual object that served all functions of a task queue: runs begun by that version call it."""
    functions = VirtualObject(
        functions_service(task_queue),
        description=f"Functions of task queue {task_queue}, by name. Older runs of agents call them here.",
        ingress_private=True,
        enable_lazy_state=True,
        inactivity_timeout=inactivity_timeout,
        abort_timeout=inactivity_timeout,
    )

    @private_handler(functions, called_at(functions.name), kind="shared", retries=PATIENT_RETRIES)
    async def call(ctx: ObjectSharedContext, request: FunctionCall) -> object:
        """Run a function here, or where it is served."""
        name = ctx.key()
        service = function_service(task_queue, name)
        if name not in registry.functions_of(task_queue) and await ctx.run_typed(
            f"is {service} served?", is_served, RunOptions(max_attempts=3), service=service
        ):
            return await called_at(service).call(ctx, request)
        return await _execute(ctx, task_queue, name, request)

    return functions


async def _execute(ctx: Context | ObjectSharedContext, task_queue: str, name: str, request: FunctionCall) -> Any:
    """Return what the function returns. Errors: TerminalError with the type and the text of what failed."""
    try:
        function = registry.require_function(task_queue, name)
        arguments = function.arguments(request.input)
    except UsageError as exc:
        raise to_terminal_error(exc, exc.message) from exc
    if request.started is not None:
        await _gate(task_queue).free()
        ctx.resolve_awakeable(request.started, None)
    info = FunctionInfo.of(request, name=function.name, task_queue=task_queue, invocation_id=ctx.request().id)
    execution = _Execution(function, arguments, request, info)
    try:
        return await run_durably(ctx, execution.run())
    except StepFailed as exc:
        raise to_terminal_error(exc, exc.message) from exc


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
        """Run on the durable loop: each attempt is a step of its own, with a timer between two."""
        policy = retry_policy_of(self._request)
        for number in itertools.count(1):
            try:
                return await step(self._function.name, self._attempt(number))
            except StepFailed as failure:
                delay_s = policy.delay_s(number, failure)
                if delay_s is None:
                    raise
            await asyncio.sleep(delay_s)
        raise AssertionError("unreachable")

    def _attempt(self, number: int) -> Any:
        self._info.attempt = number
        attempt = Attempt(
            operation=self._function,
            arguments=self._arguments,
            info=self._info,
            number=number,
            start_to_close_s=self._request.start_to_close_s,
            heartbeat_s=self._request.heartbeat_s,
            non_retryable=self._request.non_retryable_error_types,
        )
        return lambda: attempt.run(_gate(self._info.task_queue), _workers(asyncio.get_running_loop()))


def _gate(task_queue: str) -> Gate:
    return _gates.setdefault(task_queue, Gate(Limits.of(None, None)))


@cache
def _workers(_loop: asyncio.AbstractEventLoop) -> Workers:
    """Return the workers of a process. Each loop has its own, because what they wait for is bound to it."""
    return Workers(get_settings().function_threads)

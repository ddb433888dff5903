"""Durable steps: an action that runs on the real event loop and whose outcome is journaled.

Owns attempts, retries and aborts; it does not know what the actions do.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar, cast

from pydantic import TypeAdapter
from restate import RunOptions, TerminalError
from restate.serde import BytesSerde

from app.durable.waits import current_loop
from app.errors import StepFailed

T = TypeVar("T")

ABORTED = 499  # status of an attempt that ended because its step was cancelled; nginx's "client closed request"


@dataclass(frozen=True)
class RetryPolicy:
    """When a failed step is tried again.

    Units: intervals are timedeltas; `max_attempts` counts the first attempt, None means for ever.
    """

    max_attempts: int | None = None
    initial_interval: timedelta = timedelta(seconds=1)
    backoff_coefficient: float = 2.0
    max_interval: timedelta | None = timedelta(seconds=60)

    def delay_s(self, attempt: int, failure: StepFailed) -> float | None:
        """Return the seconds to wait after failed attempt number `attempt` (1, 2, …), or None to give up."""
        if not failure.retryable or (self.max_attempts is not None and attempt >= self.max_attempts):
            return None
        delay = self.initial_interval.total_seconds() * self.backoff_coefficient ** min(attempt - 1, 64)
        if self.max_interval is not None:
            delay = min(delay, self.max_interval.total_seconds())
        return max(delay, failure.retry_after_s or 0.0)


ONCE = RetryPolicy(max_attempts=1)


async def step(
    name: str,
    action: Callable[[], Awaitable[T]],
    *,
    result_type: Any = object,
    timeout_s: float | None = None,
    retry: RetryPolicy = ONCE,
    salvage: bool = False,
) -> T:
    """Run `action` on the real event loop and journal its result; a replay returns the journaled value.

    Shapes: action() -> awaitable JSON value or pydantic model of `result_type`; returns that value.
    Units: timeout_s seconds for each attempt, None waits for ever.
    Durable: one journal entry `name` for each attempt, a timer between two; at least once: an attempt runs again if
    the process dies before its result is recorded.
    Cancelling the awaiting task cancels the action at once and waits for its end. With `salvage` the step then returns
    what the action returned in spite of the cancellation; otherwise, and if it returned nothing, CancelledError.
    Errors: StepFailed after the last attempt; asyncio.CancelledError.
    """
    adapter: TypeAdapter[T] = TypeAdapter(result_type)
    for attempt in itertools.count(1):
        try:
            return await _Attempt(name, action, adapter, timeout_s).outcome(salvage=salvage)
        except StepFailed as failure:
            delay_s = retry.delay_s(attempt, failure)
            if delay_s is None:
                raise
        await asyncio.sleep(delay_s)
    raise AssertionError("unreachable")


class _Attempt(Generic[T]):
    """One attempt of a step: one `ctx.run` whose closure can be aborted from durable code."""

    def __init__(
        self, name: str, action: Callable[[], Awaitable[T]], adapter: TypeAdapter[T], timeout_s: float | None
    ) -> None:
        self._action = action
        self._adapter = adapter
        self._timeout_s = timeout_s
        self._abort_requested = False
        self._running: asyncio.Task[Any] | None = None  # on the real loop, only in the process that runs the action
        loop = current_loop()
        self._recorded = loop.wait_for(loop.ctx.run_typed(name, self._run, RunOptions(serde=BytesSerde())))

    async def outcome(self, *, salvage: bool) -> T:
        """Return the recorded result. If cancelled meanwhile: abort, and wait for the record all the same."""
        cancelled: asyncio.CancelledError | None = None
        while not self._recorded.done():
            try:
                await asyncio.wait((self._recorded,))  # unlike a plain await it leaves the record alone when cancelled
            except asyncio.CancelledError as exc:
                cancelled = exc
                self._abort()
        if cancelled is not None and not salvage:
            self._recorded.exception()  # looked at, so that asyncio does not report it as missed
            raise cancelled
        try:
            return self._adapter.validate_json(self._recorded.result())
        except TerminalError as exc:
            if exc.status_code == ABORTED:
                raise cancelled or asyncio.CancelledError from exc
            raise to_step_failed(exc) from exc

    def _abort(self) -> None:
        self._abort_requested = True
        if self._running is not None:
            self._running.cancel()

    async def _run(self) -> bytes:
        """The closure of `ctx.run`: run the action, turn every end but the death of the process into a record."""
        if self._abort_requested:
            raise TerminalError("aborted before it started", ABORTED)
        self._running = running = cast("asyncio.Task[Any]", asyncio.current_task())
        try:
            async with asyncio.timeout(self._timeout_s) as timeout:
                value = await self._action()
            if timeout.expired():  # the action salvaged something, but nobody asked for a part of it
                raise TimeoutError
            if running.cancelling() and not self._abort_requested:  # the same, while the attempt was ending
                raise asyncio.CancelledError
            return self._adapter.dump_json(value)
        except asyncio.CancelledError:
            if not self._abort_requested:
                raise  # the attempt of the invocation has ended; the engine runs the action again
            raise TerminalError("aborted", ABORTED) from None
        except TimeoutError as exc:
            text = f"no result after {self._timeout_s} s" if timeout.expired() else str(exc) or "timed out"
            raise to_terminal_error(exc, text) from exc
        except Exception as exc:
            raise to_terminal_error(exc, str(exc) or repr(exc)) from exc
        finally:
            self._running = None


def to_terminal_error(exc: Exception, text: str) -> TerminalError:
    """Record what was raised. An exception may say `retryable = False` and `retry_after_s = …` of itself."""
    retryable = getattr(exc, "retryable", not isinstance(exc, TerminalError))
    retry_after_s = getattr(exc, "retry_after_s", None)
    return TerminalError(
        text,
        500,
        {
            "error_type": exc.error_type if isinstance(exc, StepFailed) else type(exc).__name__,
            "retryable": "yes" if retryable else "no",
            "retry_after_s": "" if retry_after_s is None else str(retry_after_s),
        },
    )


def to_step_failed(exc: TerminalError) -> StepFailed:
    """Return what `to_terminal_error` recorded."""
    metadata = exc.metadata or {}
    return StepFailed(
        exc.message,
        error_type=metadata.get("error_type", "TerminalError"),
        retryable=metadata.get("retryable") == "yes",
        retry_after_s=float(metadata.get("retry_after_s") or 0) or None,
    )

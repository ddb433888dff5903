"""Durable steps: an action that runs on the real event loop and whose outcome is journaled.

Owns attempts, retries and aborts. Does not know what the actions do.
"""

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from restate import RunOptions, TerminalError
from restate.serde import BytesSerde

from app.durable.ahead import ResultsAhead
from app.durable.waits import current_loop
from app.errors import AgentError, StepFailed
from app.text import clean, shorten, words_of
from app.values import to_json

T = TypeVar("T")

MAX_ERROR_CHARS = 10_000  # of the text of an error that is recorded
MAX_WAIT_S = 30 * 24 * 3600.0  # between two attempts, whatever an exception asks for

# What an attempt enters before its action runs, for the steps of this task and of those that it makes: a limit on how
# many work at the same time. The wait for it is no part of the attempt's time.
entrance: ContextVar[Callable[[], AbstractAsyncContextManager[object]]] = ContextVar("entrance", default=nullcontext)

ABORTED = 499  # status of an attempt that ended because its step was cancelled; nginx's "client closed request"


@dataclass(frozen=True)
class RetryPolicy:
    """When a failed step is tried again.

    Units: intervals are timedeltas. `max_attempts` counts the first attempt. None means for ever.
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
        return min(max(delay, failure.retry_after_s or 0.0), MAX_WAIT_S)


ONCE = RetryPolicy(max_attempts=1)


async def step(
    name: str,
    action: Callable[[], Awaitable[T]],
    *,
    result_type: Any = object,
    timeout_s: float | None = None,
    retry: RetryPolicy = ONCE,
    salvage: bool = False,
    ahead: Callable[[T], bool] | None = None,
) -> T:
    """Run `action` on the real event loop and journal its result. A replay returns the journaled value.

    Shapes: action() -> awaitable JSON value or pydantic model of `result_type`. The step returns that value. Lone
    surrogates in it become U+FFFD.
    Units: timeout_s seconds for each attempt, None waits for ever.
    Durable: one journal entry `name` for each attempt, and a timer between two. At least once: an attempt runs again
    if the process dies before its result is recorded.
    Cancelling the awaiting task cancels the action at once and waits for its end. With `salvage` the step then returns
    what the action returned in spite of the cancellation. Otherwise, and if it returned nothing, it raises
    CancelledError. If `ahead(result)`, the step returns ahead of its record, which asks much of the code: see ahead.py.
    Errors: StepFailed after the last attempt, asyncio.CancelledError.
    """
    adapter: TypeAdapter[T] = TypeAdapter(result_type)
    for attempt in itertools.count(1):
        try:
            return await _Attempt(name, action, adapter, timeout_s, ahead).outcome(salvage=salvage)
        except StepFailed as failure:
            delay_s = retry.delay_s(attempt, failure)
            if delay_s is None:
                raise
        await asyncio.sleep(delay_s)
    raise AssertionError("unreachable")


class _Attempt(Generic[T]):
    """One attempt of a step: one `ctx.run` whose closure can be aborted from durable code."""

    def __init__(
        self,
        name: str,
        action: Callable[[], Awaitable[T]],
        adapter: TypeAdapter[T],
        timeout_s: float | None,
        ahead: Callable[[T], bool] | None,
    ) -> None:
        self._action = action
        self._adapter = adapter
        self._timeout_s = timeout_s
        self._abort_requested = False
        self._running: asyncio.Task[Any] | None = None  # on the real loop, only in the process that runs the action
        loop = current_loop()
        self._entrance = entrance.get()
        self._is_ahead = ahead
        self._results_ahead = ResultsAhead.of(loop.ctx) if ahead is not None else None
        self._durable = loop.ctx.run_typed(name, self._run, RunOptions(serde=BytesSerde()))
        self._recorded = loop.wait_for(self._durable)

    async def outcome(self, *, salvage: bool) -> T:
        """Return the recorded result. If cancelled meanwhile, abort the action and wait for the record all the same."""
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
        except ValidationError as exc:
            raise StepFailed(
                f"the recorded result does not fit: {words_of(exc)}", error_type="ValidationError"
            ) from exc

    def _abort(self) -> None:
        self._abort_requested = True
        if self._running is not None:
            self._running.cancel()

    async def _run(self) -> bytes:
        """Run the action, as the closure of `ctx.run`. Every end but the death of the process becomes a record."""
        if self._abort_requested:
            raise TerminalError("aborted before it started", ABORTED)
        self._running = running = cast("asyncio.Task[Any]", asyncio.current_task())
        try:
            async with self._entrance(), asyncio.timeout(self._timeout_s) as timeout:
                value = await self._action()
            if timeout.expired():  # the action salvaged something, but nobody asked for a part of it
                raise TimeoutError
            if running.cancelling() and not self._abort_requested:  # the same, while the attempt was ending
                raise asyncio.CancelledError
            result = to_json(self._adapter, value)
            if self._results_ahead is not None and self._is_ahead is not None and self._is_ahead(value):
                self._results_ahead.tell(self._durable, result)
            return result
        except asyncio.CancelledError:
            if not self._abort_requested:
                raise  # the attempt of the invocation has ended; the engine runs the action again
            raise TerminalError("aborted", ABORTED) from None
        except TimeoutError as exc:
            text = (
                f"no result after {self._timeout_s} s"
                if timeout.expired()
                else words_of(exc)
                if exc.args
                else "timed out"
            )
            raise to_terminal_error(exc, text) from exc
        except Exception as exc:
            raise to_terminal_error(exc, words_of(exc)) from exc
        finally:
            self._running = None


def to_terminal_error(exc: Exception, text: str) -> TerminalError:
    """Return what is recorded of an exception: its `text`, its class, and whether and when to try again.

    An error of ours may say `retryable = False` and `retry_after_s = …` of itself. The text is cleaned, since the
    engine never hears of an error that UTF-8 cannot encode, and the invocation hangs.
    """
    ours = exc if isinstance(exc, AgentError) else None  # on others these names may mean anything
    retryable = getattr(ours, "retryable", not isinstance(exc, TerminalError))
    error_type = exc.error_type if isinstance(exc, StepFailed) else type(exc).__name__
    return TerminalError(
        shorten(clean(text), MAX_ERROR_CHARS),
        500,
        {
            "error_type": re.sub(r"[^ -~]", "?", str(error_type))[:100],  # it may become a header
            "retryable": "yes" if retryable else "no",
            "retry_after_s": _seconds(getattr(ours, "retry_after_s", None)),
        },
    )


def to_step_failed(exc: TerminalError) -> StepFailed:
    """Return the failure that `to_terminal_error` recorded."""
    metadata = exc.metadata or {}
    return StepFailed(
        exc.message,
        error_type=metadata.get("error_type", "TerminalError"),
        retryable=metadata.get("retryable") == "yes",
        retry_after_s=float(metadata.get("retry_after_s") or 0) or None,
    )


def _seconds(value: object) -> str:
    """Return a wait as it is recorded, nothing for what is no number of seconds."""
    is_wait = isinstance(value, int | float) and 0 <= value < 1e300  # neither NaN nor infinite, and a float
    return str(value) if is_wait else ""

"""One attempt of one function: its place, its timeouts and heartbeats, and what its failure is called.

Runs on the loop that serves Restate, the function itself elsewhere. Tries nothing again.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

from restate import TerminalError
from restate.server_context import restate_context_is_replaying

from app.background.declare.operation import Operation, to_json
from app.background.functions.current import enter
from app.background.functions.info import FunctionInfo
from app.background.functions.limits import Gate
from app.background.functions.workers import Running, Workers
from app.errors import AgentError, StepFailed, UsageError
from app.text import clean, shorten

MAX_CAUSE_CHARS = 4000
_CLEANUP_S = 30  # what a coroutine may take for its `finally` blocks before it is given up
_GLANCE_S = 0.1
_MAX_CAUSES = 3

logger = logging.getLogger("functions")


@dataclass(frozen=True)
class Attempt:
    """What one attempt needs. Units: seconds, None waits for ever. `number` counts from 1."""

    operation: Operation
    arguments: tuple[Any, ...]
    info: FunctionInfo
    number: int
    start_to_close_s: float | None
    heartbeat_s: float | None
    non_retryable: tuple[str, ...] = ()

    async def run(self, gate: Gate, workers: Workers) -> Any:
        """Return what the function returns, as JSON data. The wait for a place counts for no timeout.

        Errors: StepFailed names the function, and the type and text of what it raised; CancelledError once it has
        ended, or cannot be ended.
        """
        async with gate.place():
            self.info.attempt = self.number
            enter(self.info)
            restate_context_is_replaying.set(False)  # a function runs, whatever was replayed before: its log is written
            running = await workers.start(self.operation.function, self.arguments, self.operation.name)
            self.info.heard_at = time.monotonic()
            try:
                await self._watch(running)
                ended = running.ended.result()
                if ended.error is None:
                    return to_json(ended.value, f"What {self.operation.title} returns")
                raise ended.error
            except asyncio.CancelledError:
                if not running.ended.done() or _is_cancelled():
                    await self._end(running, "was aborted")
                    raise
                raise self._failed(RuntimeError("it was cancelled from inside")) from None
            except TimeoutError as exc:
                ours = not running.ended.done()
                await self._end(running, "has timed out")
                raise self._failed(exc, traceback=not ours) from exc
            except UsageError as exc:  # the result: another attempt would return the same
                raise StepFailed(exc.message, error_type="UsageError") from exc
            except Exception as exc:
                raise self._failed(exc) from exc

    async def _watch(self, running: Running) -> None:
        """Wait for the end. Errors: TimeoutError when it takes too long, or its last heartbeat is too long ago."""
        never = float("inf")
        close_at = never if self.start_to_close_s is None else time.monotonic() + self.start_to_close_s
        while not running.ended.done():
            beat_at = never if self.heartbeat_s is None else self.info.heard_at + self.heartbeat_s
            left = min(close_at, beat_at) - time.monotonic()
            if left <= 0 and close_at <= beat_at:
                raise TimeoutError(f"no result after {self.start_to_close_s:g} s")
            if left <= 0:
                raise TimeoutError(f"no heartbeat for {self.heartbeat_s:g} s")
            await asyncio.wait((running.ended,), timeout=None if left == never else left)

    async def _end(self, running: Running, what: str) -> None:
        """Cancel the function and wait for its end, unless nothing can end it."""
        running.cancel()
        give_up_at = time.monotonic() + _CLEANUP_S
        while not running.ended.done() and not running.stuck and time.monotonic() < give_up_at:
            await asyncio.wait((running.ended,), timeout=_GLANCE_S)
        if not running.ended.done():
            logger.warning(
                "Function %r for agent %s %s, but cannot be stopped: its thread goes on until it returns, "
                "and nobody hears of its result",
                running.name,
                self.info.agent_id,
                what,
            )

    def _failed(self, exc: Exception, *, traceback: bool = True) -> StepFailed:
        """Return the failure and log it. Only our own errors are asked whether another attempt may help."""
        cause = cause_of(exc)
        logger.warning(
            "Attempt %d of function %r for agent %s failed: %s",
            self.number,
            self.operation.name,
            self.info.agent_id,
            cause,
            exc_info=exc if traceback else None,
        )
        retryable = not isinstance(exc, TerminalError)
        retry_after_s = None
        if isinstance(exc, AgentError):
            retryable = getattr(exc, "retryable", True)
            retry_after_s = getattr(exc, "retry_after_s", None)
        error_type = type(exc).__name__
        return StepFailed(
            f"Function {self.operation.name!r} failed: {cause}",
            error_type=error_type,
            retryable=retryable and error_type not in self.non_retryable,
            retry_after_s=retry_after_s,
        )


def cause_of(exc: BaseException) -> str:
    """Return type and text of an error, of the errors in a group, and of those that it says it comes from."""
    return shorten(clean(_cause_of(exc, _MAX_CAUSES)), MAX_CAUSE_CHARS)


def _cause_of(exc: BaseException, depth: int) -> str:
    text = f"{type(exc).__name__}: {_text_of(exc)}".removesuffix(": ")
    if depth and isinstance(exc, BaseExceptionGroup):
        text += f" [{'; '.join(_cause_of(part, depth - 1) for part in exc.exceptions[:_MAX_CAUSES])}]"
    if depth and exc.__cause__ is not None:
        text += f" (caused by {_cause_of(exc.__cause__, depth - 1)})"
    return text


def _text_of(exc: BaseException) -> str:
    try:
        return str(exc)
    except BaseException as broken:  # noqa: BLE001 - an error that cannot be told must not hide that there is one
        return f"its text cannot be had, {type(broken).__name__}"


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

"""How a tool is called: attempts, the time it has, and its result as text for the LLM.

Knows nothing of arguments and chats.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter

from app.durable import RetryPolicy, to_step_failed, to_terminal_error
from app.errors import AgentError, StepFailed, ToolTimedOut, UsageError
from app.text import words_of
from app.values import to_json


async def attempted(run: Callable[[], Awaitable[Any]], *, timeout: timedelta | None, retry: RetryPolicy | None) -> Any:
    """Return what `run` returns; when it fails, `retry` says whether and when it runs again.

    Units: `timeout` is for all attempts together and the waits between, None for ever.
    Durable: a timer for the timeout, one between two attempts; none without them.
    Errors: ToolTimedOut, and what the last attempt raised.
    """
    if timeout is None:
        return await _tried(run, retry)
    try:
        async with asyncio.timeout(timeout.total_seconds()) as limit:
            return await _tried(run, retry)
    except TimeoutError as exc:
        if not limit.expired():  # the tool's own
            raise
        raise ToolTimedOut(
            f"The tool gave no result within {timeout.total_seconds():g} s and was ended: "
            "it may have run, in part or in full."
        ) from exc


async def _tried(run: Callable[[], Awaitable[Any]], retry: RetryPolicy | None) -> Any:
    if retry is None:
        return await run()
    for attempt in itertools.count(1):
        try:
            return await run()
        except Exception as exc:
            delay_s = _delay_s(retry, attempt, exc)
            if delay_s is None:
                raise
        await asyncio.sleep(delay_s)
    raise AssertionError("unreachable")


def _delay_s(retry: RetryPolicy, attempt: int, exc: Exception) -> float | None:
    """Return the seconds to wait before the next attempt, None for no other."""
    if isinstance(exc, UsageError):  # the model must say it otherwise
        return None
    failure = exc if isinstance(exc, StepFailed) else to_step_failed(to_terminal_error(exc, words_of(exc)))
    return retry.delay_s(attempt, failure)


def text_of(adapter: TypeAdapter[Any], value: object) -> str:
    """Return the result of a tool as the LLM sees it: text as it is, anything else as JSON.

    Errors: AgentError for a value that does not fit what the tool declares, or that JSON cannot carry.
    """
    if isinstance(value, str):
        return value
    try:
        return to_json(adapter, value, strict=True).decode()
    except (ValueError, RecursionError) as exc:  # pydantic's serialization errors are ValueErrors
        raise AgentError(
            f"The tool has run, but what it returned ({type(value).__name__}) does not fit its declaration, "
            "or JSON cannot carry it."
        ) from exc

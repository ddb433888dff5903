"""Waiting for something to become true, in place of sleeping and hoping."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(check: Callable[[], Awaitable[T]], *, timeout_s: float = 10, every_s: float = 0.02) -> T: ...
@overload
async def eventually(check: Callable[[], T], *, timeout_s: float = 10, every_s: float = 0.02) -> T: ...
async def eventually(check: Callable[[], Any], *, timeout_s: float = 10, every_s: float = 0.02) -> Any:
    """Return the first true value of `check()`, which may be a coroutine function and may assert.

    Errors: AssertionError after `timeout_s` with what the last check returned or said.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            outcome = check()
            value = await outcome if inspect.isawaitable(outcome) else outcome
            if value:
                return value
            last: object = f"the last check returned {value!r}"
            cause: AssertionError | None = None
        except AssertionError as error:
            last, cause = f"the last check said: {error}", error
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {timeout_s} s; {last}") from cause
        await asyncio.sleep(every_s)

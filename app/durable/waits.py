"""What durable code waits with, beside asyncio: futures of the engine, and conditions.

They use the durable loop that runs, and refuse outside of durable code. They run no actions.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from restate import RestateDurableFuture

from app.durable.loop.event_loop import DurableLoop
from app.errors import DeterminismError

T = TypeVar("T")


def current_loop() -> DurableLoop:
    """Return the running durable loop.

    Errors: DeterminismError outside of durable code.
    """
    loop = asyncio._get_running_loop()
    if not isinstance(loop, DurableLoop):
        raise DeterminismError("No durable loop runs here; this works only in what run_durably() was given")
    return loop


def wait_for(durable: RestateDurableFuture[T]) -> asyncio.Future[T]:
    """Return an asyncio future for a durable future of the engine (a call, an awakeable, a signal).

    Durable: its result is in the journal. Cancelling it stops the wait, not what is waited for.
    Errors: restate.TerminalError as the engine reports it.
    """
    return current_loop().wait_for(durable)


async def condition(predicate: Callable[[], object], *, timeout_s: float | None = None) -> None:
    """Wait until `predicate()` is true. It is asked again after every callback of the loop.

    Durable: no journal entry of its own, one timer with a timeout.  Units: timeout_s seconds, None waits for ever.
    Errors: TimeoutError, what the predicate raises.
    """
    async with asyncio.timeout(timeout_s):
        await current_loop().wait_until(predicate)

"""The driver of the durable loop: runs one coroutine to its end inside a Restate handler.

Waits on the real loop for durable futures and hands their outcomes to the durable loop. Schedules no callbacks itself.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import restate
from restate import Context, TerminalError
from restate.exceptions import SdkInternalBaseException

from app.durable.ahead import ResultAhead
from app.durable.here import attempt_here
from app.durable.loop.event_loop import DurableLoop
from app.durable.loop.futures import AttemptOver
from app.durable.places import forget_place, furthest_place, note_place
from app.text import words_of

T = TypeVar("T")


async def run_durably(ctx: Context, main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on a durable loop and return its result.

    As with `asyncio.run`, tasks that it leaves behind are cancelled and async generators closed.

    Durable: a replay takes the same path, because the journal is the only source of order. A Restate cancellation
    arrives as asyncio.CancelledError in `main`, once. Its `finally` blocks can still take durable steps.
    Errors: what `main` raises. TerminalError 409 if `main` let the cancellation through. TerminalError 500 if it waits
    for what can never happen, or raises what would end the process, such as SystemExit or KeyboardInterrupt.
    """
    with attempt_here(ctx.request().id):
        return await _run_attempt(ctx, main)


async def _run_attempt(ctx: Context, main: Coroutine[Any, Any, T]) -> T:
    invocation_id = ctx.request().id
    seen = furthest_place(invocation_id)
    loop = DurableLoop(ctx, seen=seen)  # type: ignore[abstract]  # the rest of asyncio's loop refuses, see loop/event_loop.py
    try:
        task = loop.create_task(main)
        await _run_until(loop, task, task)
        for leftover in loop.unfinished_tasks:
            leftover.cancel()
        for leftover in loop.unfinished_tasks:
            await _run_until(loop, leftover, None)
        await _run_until(loop, loop.create_task(loop.shutdown_asyncgens()), None)
    finally:
        note_place(invocation_id, loop.place)
        loop.close_abandoned()
    forget_place(invocation_id)
    if task.cancelled():
        raise TerminalError("cancelled", 409)
    result: T = _result(task)
    return result


def _result(task: asyncio.Task[T]) -> T:
    """Return what a task has ended with.

    Errors: what it raised, or TerminalError for what is no Exception.
    """
    try:
        result: T = task.result()
    except (Exception, AttemptOver, SdkInternalBaseException):
        raise
    except BaseException as exc:
        name = getattr(task.get_coro(), "__qualname__", "The code")
        what = f"{name} raised {type(exc).__name__} ({words_of(exc)})"
        raise TerminalError(f"{what}; raise an error of your own instead") from exc
    return result


async def _run_until(loop: DurableLoop, awaited: asyncio.Task[Any], main: asyncio.Task[Any] | None) -> None:
    """Drive the loop until `awaited` is done. A cancellation of the invocation reaches `main`."""
    loop.drain()
    while not awaited.done():
        if not loop.pending:
            waiting = getattr(awaited.get_coro(), "__qualname__", awaited)
            raise TerminalError(f"{waiting} waits for something that no durable future can complete")
        try:
            completed, _ = await restate.wait_completed(*loop.pending)
        except ResultAhead as known:
            loop.complete(known.durable, known.result, None)
            completed = []
        except TerminalError:  # waiting takes no values, so this can only be the cancellation
            if main is not None:
                main.cancel()
            completed = []
        for durable in completed:
            try:
                value = await durable
            except TerminalError as exc:
                loop.complete(durable, None, exc)
            else:
                loop.complete(durable, value, None)
        loop.drain()

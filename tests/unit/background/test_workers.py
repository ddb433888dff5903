"""Where functions run: threads and loops beside the one that serves, found out when they are blocked."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from app.background.failure import Interrupted
from app.background.functions.workers import Ended, Workers

where: ContextVar[str] = ContextVar("where", default="nowhere")


async def ended(workers: Workers, function: Callable[..., Any], *arguments: Any) -> Ended:
    running = await workers.start(function, arguments, function.__name__)
    return await asyncio.wait_for(running.ended, 20)


async def this_loop() -> int:
    await asyncio.sleep(0)
    return id(asyncio.get_running_loop())


async def test_coroutine_functions_share_a_loop_that_is_not_the_callers() -> None:
    """Clients that are bound to a loop can be shared by functions; the caller's loop is left alone."""
    workers = Workers(4)
    first, second = (await ended(workers, this_loop)).value, (await ended(workers, this_loop)).value
    assert first == second != id(asyncio.get_running_loop())


async def test_context_follows() -> None:
    """A function sees the context variables of its caller, on a loop and in a thread."""

    async def on_a_loop() -> str:
        return where.get()

    def in_a_thread() -> str:
        return where.get()

    where.set("here")
    workers = Workers(4)
    assert (await ended(workers, on_a_loop)).value == "here"
    assert (await ended(workers, in_a_thread)).value == "here"


async def test_blocking_function_blocks_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    """While a coroutine function blocks its loop, others begin on another; it is named, with the line that blocks."""
    release = threading.Event()

    async def blocks() -> None:
        release.wait(20)

    workers = Workers(4)
    blocking = await workers.start(blocks, (), "blocks")
    other = await asyncio.wait_for(ended(workers, this_loop), 10)
    assert other.error is None
    assert not blocking.ended.done()
    assert blocking.stuck
    release.set()
    await blocking.ended
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "Function 'blocks' is `async def` and blocks its event loop at" in line
    assert "test_workers.py:" in line


async def test_known_blocker_gets_a_thread_for_each_call() -> None:
    """Calls of a function that has blocked run side by side from then on; the shared loop is the old one again."""
    barrier = threading.Barrier(3, timeout=20)
    release = threading.Event()

    async def blocks() -> None:
        if not release.is_set():
            release.wait(20)
        else:
            barrier.wait()

    workers = Workers(4)
    shared = (await ended(workers, this_loop)).value
    first = await workers.start(blocks, (), "blocks")
    await ended(workers, this_loop)  # on another loop, now that the shared one is seen to be blocked
    release.set()
    await first.ended
    both = [await workers.start(blocks, (), "blocks") for _ in range(2)]
    await asyncio.to_thread(barrier.wait)
    for running in both:
        assert (await running.ended).error is None
    assert (await ended(workers, this_loop)).value == shared


async def test_coroutine_is_cancelled() -> None:
    """A coroutine function that is cancelled hears it, also before its first step."""
    workers = Workers(4)
    heard: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    running = await workers.start(waits, (), "waits")
    await asyncio.wait_for(ended(workers, this_loop), 10)  # the loop has begun it by now
    running.cancel()
    assert isinstance((await running.ended).error, asyncio.CancelledError)
    assert heard == ["cancelled"]

    early = await workers.start(waits, (), "waits")
    early.cancel()
    assert isinstance((await asyncio.wait_for(early.ended, 10)).error, asyncio.CancelledError)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(1)])
async def test_what_would_end_a_thread_is_an_error(error: BaseException) -> None:
    """SystemExit, Ctrl-C and StopIteration of a function end that call, not the loop of the others."""

    def plain() -> None:
        raise error

    async def coroutine() -> None:
        raise error

    workers = Workers(4)
    shared = (await ended(workers, this_loop)).value
    assert isinstance((await ended(workers, plain)).error, Interrupted)
    assert isinstance((await ended(workers, coroutine)).error, (Interrupted, RuntimeError))
    assert (await ended(workers, this_loop)).value == shared


async def test_threads_are_bounded() -> None:
    """A plain function waits while all threads are busy."""
    release = threading.Event()
    workers = Workers(1)
    busy = await workers.start(release.wait, (20,), "wait")
    waiting: asyncio.Task[Ended] = asyncio.create_task(ended(workers, threading.get_ident))
    await ended(workers, this_loop)
    assert not waiting.done()
    release.set()
    assert (await busy.ended).value is True
    assert (await waiting).error is None


async def test_hidden_coroutine_function() -> None:
    """A plain function that returns a coroutine, as a decorator makes them, is awaited on the shared loop."""

    def decorated() -> Coroutine[Any, Any, int]:
        return this_loop()

    workers = Workers(4)
    assert (await ended(workers, decorated)).value == (await ended(workers, this_loop)).value

"""The deterministic event loop at its ends: errors that nobody awaits, abandoned attempts, async generators."""

import asyncio
import gc
import inspect
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest

from app.durable import wait_for
from app.durable.futures import AttemptOver
from app.errors import DeterminismError
from tests.support.fake_engine import Engine, FakeDurable


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine whose attempt is ended with the test, as `run_durably` does; the garbage must go without a word."""
    engine = Engine()
    yield engine
    engine.loop.close_abandoned()
    gc.collect()


async def wait(durable: FakeDurable) -> object:
    return await wait_for(durable.as_durable)


# Errors that nobody awaits


def test_unawaited_exception_is_reported(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """The exception of a task that nobody awaits is logged, as asyncio does; in a replay it was logged before."""

    async def fails() -> None:
        raise ValueError("nobody awaits this")

    async def main() -> None:
        task = asyncio.create_task(fails())
        del task
        await asyncio.sleep(1)

    engine.run(main())
    gc.collect()
    assert "Task exception was never retrieved in durable code" in caplog.text
    assert "nobody awaits this" in caplog.text

    caplog.clear()
    engine.ctx.replaying = True
    engine.run(main())
    gc.collect()
    assert caplog.text == ""


def test_exception_handler_is_called(engine: Engine) -> None:
    """An exception in a callback goes to the loop's exception handler."""
    seen: list[object] = []
    engine.loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
    engine.loop.call_soon(lambda: 1 / 0)
    engine.loop.drain()

    assert isinstance(seen[0], ZeroDivisionError)
    assert engine.loop.get_exception_handler() is not None


# The end of an attempt


def test_close_runs_finally_blocks_without_the_engine(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """The end of an attempt runs `finally` blocks, newest task first; what they start does not reach the engine."""
    seen: list[str] = []

    async def holds(name: str) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            seen.append(name)
            await wait(FakeDurable("from a finally block"))
            seen.append("never")

    async def main() -> None:
        await asyncio.gather(holds("a"), holds("b"))

    with caplog.at_level(logging.WARNING):
        engine.start(main())
        timers = len(engine.ctx.timers)
        engine.loop.close_abandoned()
        gc.collect()

    assert seen == ["b", "a"]
    assert len(engine.ctx.timers) == timers
    assert (engine.pending, engine.loop.unfinished_tasks, caplog.text) == ([], [], "")


def test_end_of_an_attempt_is_no_cancellation(engine: Engine) -> None:
    """A coroutine that is closed sees GeneratorExit: `except CancelledError` and `except Exception` do not."""
    seen: list[str] = []

    async def main() -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            seen.append("cancelled")
        except Exception:  # noqa: BLE001 - that it is not caught here is the fact
            seen.append("exception")
        except BaseException as exc:
            seen.append(type(exc).__name__)
            raise

    engine.start(main())
    engine.loop.close_abandoned()

    assert seen == ["GeneratorExit"]


def test_dead_loop_refuses_everything(engine: Engine) -> None:
    """After the end of the attempt nothing starts: the engine is out of reach, callbacks are dropped."""
    engine.loop.close_abandoned()
    coro = asyncio.sleep(0)

    with pytest.raises(AttemptOver):
        _ = engine.loop.ctx
    with pytest.raises(AttemptOver):
        engine.loop.create_task(coro)
    with pytest.raises(AttemptOver):
        engine.loop.wait_for(FakeDurable("a").as_durable)
    engine.loop.call_later(1, print)
    engine.loop.call_soon(print, "never")
    engine.loop.drain()
    assert engine.ctx.timers == []
    assert engine.loop.is_closed()


def test_finally_block_that_gives_way_is_unwound(engine: Engine) -> None:
    """A `finally` block that awaits something at the end of an attempt is unwound as well, and all around it."""
    seen: list[str] = []

    async def main() -> None:
        try:
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(0)
        finally:
            seen.append("outer")

    coro = main()
    engine.start(coro)
    engine.loop.close_abandoned()

    left = inspect.getcoroutinestate(coro)
    coro.close()
    assert (left, seen) == (inspect.CORO_CLOSED, ["outer"])


def test_task_group_ends_with_the_attempt(engine: Engine) -> None:
    """A TaskGroup whose body waits when the attempt ends is unwound there, and not later by the garbage collector,
    where its `finally` blocks would run outside of this loop, or inside that of another invocation."""
    seen: list[str] = []

    async def holds() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            seen.append("child")

    async def main() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(holds())
                await asyncio.sleep(50)
        finally:
            seen.append("main")
            await wait(FakeDurable("from a finally block"))

    coro = main()
    engine.start(coro)
    engine.loop.close_abandoned()

    left = inspect.getcoroutinestate(coro)
    with suppress(DeterminismError):
        coro.close()  # so that a coroutine that was left does not disturb other tests
    assert left == inspect.CORO_CLOSED
    assert seen == ["child", "main"]


# Async generators


def test_abandoned_generator_is_finalised_here(engine: Engine) -> None:
    """An async generator that is dropped in the middle runs its `finally` block on the durable loop."""
    seen: list[object] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for n in range(10):
                yield n
        finally:
            await asyncio.sleep(0)
            seen.append(asyncio.get_running_loop())

    async def main() -> None:
        async for _ in numbers():
            break
        gc.collect()
        await asyncio.sleep(1)

    engine.run(main())
    assert seen == [engine.loop]


def test_generator_of_an_ended_attempt_is_dropped(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """An async generator that waits when the attempt ends is closed without noise."""

    async def numbers() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(100)
        yield 2

    async def main() -> None:
        async for _ in numbers():
            pass

    with caplog.at_level(logging.WARNING):
        engine.start(main())
        engine.loop.close_abandoned()
        gc.collect()

    assert caplog.text == ""

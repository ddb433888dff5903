"""The deterministic event loop at its ends: errors that nobody awaits, abandoned attempts, async generators."""

import asyncio
import gc
import inspect
import logging
import warnings
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import ContextVar
from datetime import timedelta

import pytest

from app.durable import current_loop, wait_for
from app.durable.loop import unwinding
from app.durable.loop.futures import AttemptOver
from app.errors import DeterminismError
from tests.support.fake_engine import Engine, FakeDurable

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
            await FakeDurable("from a finally block").wait()
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
    """A coroutine that is closed sees AttemptOver: `except CancelledError` and `except Exception` do not."""
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

    assert seen == ["AttemptOver"]


def test_dead_loop_refuses_everything(engine: Engine) -> None:
    """After the end of the attempt nothing starts: the engine is out of reach, callbacks and tasks are dropped."""
    engine.loop.close_abandoned()
    coro = asyncio.sleep(0)

    assert not engine.loop.create_task(coro).done()
    assert inspect.getcoroutinestate(coro) == inspect.CORO_CLOSED
    with pytest.raises(AttemptOver):
        _ = engine.loop.ctx
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
            await FakeDurable("from a finally block").wait()

    coro = main()
    engine.start(coro)
    engine.loop.close_abandoned()

    left = inspect.getcoroutinestate(coro)
    with suppress(DeterminismError):
        coro.close()  # so that a coroutine that was left does not disturb other tests
    assert left == inspect.CORO_CLOSED
    assert seen == ["child", "main"]


@pytest.mark.parametrize(
    "name",
    ["cancels", "exits", "interrupts", "group", "other_group", "awaits_cancelled", "fails_twice", "attempt_over"],
)
def test_nothing_escapes_from_the_end(engine: Engine, name: str) -> None:
    """Whatever a coroutine raises while it is closed stays there, and all that is around it is unwound."""
    seen: list[str] = []

    async def raises(error: BaseException) -> None:
        try:
            await asyncio.sleep(100)
        except BaseException:  # noqa: BLE001 - what user code does
            raise error  # noqa: B904 - the same

    async def group() -> None:
        async with asyncio.TaskGroup():
            await asyncio.sleep(100)

    async def other_group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(raises(ValueError("in a child")))
            tasks.create_task(raises(asyncio.CancelledError()))
            await raises(KeyError("in the body"))

    async def awaits_cancelled() -> None:
        child = asyncio.create_task(asyncio.sleep(100))
        try:
            await asyncio.sleep(100)
        finally:
            child.cancel()
            await asyncio.gather(child, return_exceptions=True)
            await child

    async def fails_twice() -> None:
        try:
            await raises(ValueError("once"))
        finally:
            try:
                await asyncio.sleep(1)
            finally:
                raise asyncio.CancelledError

    async def main() -> None:
        done = asyncio.create_task(asyncio.sleep(100))
        done.cancel()
        await asyncio.sleep(0)
        try:
            match name:
                case "cancels":
                    await raises(asyncio.CancelledError())
                case "exits":
                    await raises(SystemExit(3))
                case "interrupts":
                    await raises(KeyboardInterrupt())
                case "attempt_over":
                    await raises(AttemptOver())
                case "group":
                    await group()
                case "other_group":
                    await other_group()
                case "awaits_cancelled":
                    await awaits_cancelled()
                case _:
                    await fails_twice()
        finally:
            seen.append("main")
            await done

    coro = main()
    engine.start(coro)
    engine.loop.close_abandoned()

    assert inspect.getcoroutinestate(coro) == inspect.CORO_CLOSED
    assert seen == ["main"]


def test_coroutine_that_never_ends_is_kept(
    engine: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coroutine that waits again whatever it is told is named in the log, and kept from the garbage collector, which
    would resume it in the middle of another invocation."""
    kept: list[object] = []
    monkeypatch.setattr(unwinding, "_endless", kept)
    resumed: list[str] = []
    stop: list[bool] = []

    async def main() -> None:
        while not stop:
            try:
                await asyncio.sleep(1)
            except BaseException as exc:  # noqa: BLE001 - what it does wrong
                resumed.append(type(exc).__name__)

    coro = main()
    engine.start(coro)
    engine.loop.close_abandoned()
    count = len(resumed)
    gc.collect()

    assert kept == [coro]
    assert len(resumed) == count <= 100
    assert "Task-1 does not end: it catches every BaseException" in caplog.text
    stop.append(True)
    coro.close()


def test_steps_in_a_loop_that_catches_everything_do_not_hang(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop of steps that catches all that is raised does not block the process at the end of an attempt."""
    monkeypatch.setattr(unwinding, "_endless", [])
    caught: list[str] = []
    stop: list[bool] = []

    async def main() -> None:
        while not stop:
            try:
                await asyncio.sleep(1) if not caught else await wait_for(current_loop().ctx.sleep(timedelta(1)))
            except BaseException as exc:  # noqa: BLE001 - what it does wrong
                caught.append(type(exc).__name__)

    coro = main()
    engine.start(coro)
    engine.loop.close_abandoned()

    assert set(caught) == {"AttemptOver"}
    assert "does not end" in caplog.text
    assert len(engine.ctx.timers) == 1
    stop.append(True)
    coro.close()


def test_gather_in_a_finally_block_makes_no_noise(engine: Engine) -> None:
    """A `finally` block that starts many coroutines when the attempt is over leaves none behind unawaited."""
    seen: list[str] = []

    async def undo() -> None:
        seen.append("undone")

    async def main() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            try:
                await asyncio.gather(*[undo() for _ in range(5)])
            finally:
                async with asyncio.TaskGroup() as group:
                    for _ in range(5):
                        group.create_task(undo())
            seen.append("never")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine.start(main())
        engine.loop.close_abandoned()
        gc.collect()
    assert seen == []


def test_unwinding_has_the_context_of_the_task(engine: Engine) -> None:
    """A `finally` block at the end of an attempt sees the context variables of its task, and changes those only."""
    name: ContextVar[str] = ContextVar("name", default="nobody")
    seen: list[str] = []

    async def main() -> None:
        name.set("main")
        try:
            await asyncio.sleep(100)
        finally:
            seen.append(name.get())
            name.set("changed")

    engine.start(main())
    engine.loop.close_abandoned()
    assert seen == ["main"]
    assert name.get() == "nobody"


def test_timer_of_a_dead_loop_can_be_cancelled(engine: Engine) -> None:
    """A timer that is made when the attempt is over can be cancelled, so that no `except Exception` runs for it."""
    seen: list[str] = []

    async def main() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            try:
                asyncio.get_running_loop().call_later(1, print).cancel()
                async with asyncio.timeout(5):
                    await asyncio.sleep(1)
            except Exception as exc:  # noqa: BLE001 - that it does not run is the fact
                seen.append(repr(exc))

    engine.start(main())
    engine.loop.close_abandoned()
    assert seen == []


def test_refusals_of_a_dead_loop_are_no_exceptions(engine: Engine) -> None:
    """What the loop refuses raises AttemptOver when the attempt is over, which `except Exception` does not see."""
    engine.loop.close_abandoned()
    with pytest.raises(AttemptOver):
        engine.loop.run_in_executor(None, print)


# Async generators


def test_generator_between_two_values_ends_with_the_attempt(engine: Engine) -> None:
    """An async generator that is open when the attempt ends runs its `finally` block then, and not later."""
    seen: list[str] = []

    async def numbers(name: str) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            try:
                await asyncio.sleep(1)
            finally:
                seen.append(name)
                raise asyncio.CancelledError

    async def main() -> None:
        kept = [numbers("a"), numbers("b")]
        for each in kept:
            await anext(each)
        await asyncio.sleep(100)

    engine.start(main())
    engine.loop.close_abandoned()
    assert seen == ["b", "a"]


def test_abandoned_generators_are_closed_here(engine: Engine) -> None:
    """Async generators that are dropped in the middle run their `finally` blocks on the durable loop, when main has
    ended, oldest first; also one that begins only then."""
    seen: list[object] = []

    async def numbers(name: str) -> AsyncIterator[int]:
        try:
            for n in range(10):
                yield n
        finally:
            seen.append(name)
            await asyncio.sleep(1)
            if name == "a":
                await anext(numbers("late"))
            seen.append(asyncio.get_running_loop())

    async def main() -> None:
        for name in ("a", "b"):
            async for _ in numbers(name):
                break
        gc.collect()
        await asyncio.sleep(1)
        seen.append("main ends")

    engine.run(main())
    engine.run(engine.loop.shutdown_asyncgens())
    assert seen == ["main ends", "a", "b", engine.loop, engine.loop, "late", engine.loop]


def test_generator_that_fails_at_its_end_is_reported(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """What an async generator raises while it is closed is logged, and the others are closed."""
    seen: list[str] = []

    async def numbers(*, fails: bool) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            seen.append("closed")
            if fails:
                raise ValueError("at the end")

    async def main() -> None:
        await anext(numbers(fails=True))
        await anext(numbers(fails=False))

    engine.run(main())
    engine.run(engine.loop.shutdown_asyncgens())
    assert seen == ["closed", "closed"]
    assert "failed while it was closed in durable code" in caplog.text
    assert "ValueError: at the end" in caplog.text


def test_ended_generators_are_not_kept(engine: Engine) -> None:
    """An attempt that runs through a thousand async generators holds on to few of them."""

    async def numbers() -> AsyncIterator[int]:
        yield 1

    async def main() -> int:
        kept = [weakref.ref(each) for each in [await used() for _ in range(1000)]]
        return sum(each() is not None for each in kept)

    async def used() -> AsyncIterator[int]:
        generator = numbers()
        async for _ in generator:
            pass
        return generator

    assert engine.run(main()) < 200


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

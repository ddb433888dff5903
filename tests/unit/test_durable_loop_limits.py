"""Waits without end, busy waits, timers of one instant, and what libraries ask of a loop."""

import asyncio
import math
import sys
import threading
from types import SimpleNamespace
from typing import cast

import pytest
from restate import Context, TerminalError

from app.durable import condition, current_loop, run_durably
from app.errors import DeterminismError
from tests.support.fake_engine import Engine, FakeContext, FakeDurable

CENTURY_S = 100 * 365.25 * 24 * 3600


# Timers of one instant


def test_timers_of_one_instant_fire_together(engine: Engine) -> None:
    """Timers that were made for the same time between two completions fire as one, in the order of their making; the
    engine's other sleeps are waited for no more."""
    seen: list[str] = []

    async def one(name: str) -> None:
        await asyncio.sleep(1)
        seen.append(name)
        await asyncio.sleep(1)
        seen.append(name.upper())

    async def main() -> None:
        await asyncio.gather(one("a"), one("b"), one("c"), asyncio.sleep(1.5))

    engine.start(main())
    engine.complete(engine.ctx.timers[1])

    assert seen == ["a", "b", "c"]
    assert [timer.delay_s for timer in engine.ctx.timers] == [1, 1, 1, 1.5, 1, 1, 1]
    assert engine.pending == ["timer 3", "timer 4", "timer 5", "timer 6"]
    engine.complete(engine.ctx.timers[0])
    assert engine.loop.time() == 1
    assert seen == ["a", "b", "c"]


def test_timers_of_two_places_fire_one_by_one(engine: Engine) -> None:
    """A timer never fires early: one that was made after a completion, for what the loop's clock takes for the same
    time, waits for its own sleep."""
    seen: list[str] = []

    async def one(name: str) -> None:
        await asyncio.sleep(1)
        seen.append(name)

    async def later(durable: FakeDurable) -> None:
        await current_loop().wait_for(durable.as_durable)
        await one("b")

    async def main() -> None:
        await asyncio.gather(one("a"), later(durable))

    durable = FakeDurable("step")
    engine.start(main())
    engine.complete(durable)
    engine.complete(engine.ctx.timers[0])

    assert seen == ["a"]
    assert engine.pending == ["timer 1"]


def test_cancelled_timer_of_an_instant_does_not_fire(engine: Engine) -> None:
    """Of timers of one instant, one that was cancelled before, or by the first of them, does not run."""
    seen: list[str] = []
    loop = engine.loop
    timers: list[asyncio.TimerHandle] = []

    def first() -> None:
        seen.append("first")
        timers[1].cancel()

    loop.call_later(1, first)
    timers += [loop.call_later(1, seen.append, name) for name in ("second", "third", "fourth")]
    timers[0].cancel()
    engine.fire_next()

    assert seen == ["first", "fourth"]
    assert engine.pending == []
    assert engine.loop._timers._instants == {}


# Long waits


@pytest.mark.parametrize("delay_s", [math.inf, 1e300, 1e12])
def test_wait_longer_than_any_sleep(engine: Engine, delay_s: float) -> None:
    """A wait that no sleep of the engine can be as long as, or that never ends, is one sleep after another."""
    task = engine.start(asyncio.sleep(delay_s))
    for n in range(3):
        assert engine.pending == [f"timer {n}"]
        assert engine.ctx.timers[n].delay_s == pytest.approx(CENTURY_S)
        engine.fire_next()

    assert not task.done()
    task.cancel()
    engine.loop.drain()
    assert engine.pending == []


def test_wait_in_parts_ends(engine: Engine) -> None:
    """A wait in parts ends when all of them have."""
    assert engine.run(asyncio.sleep(2.5 * CENTURY_S, "done")) == "done"
    assert [timer.delay_s for timer in engine.ctx.timers] == [CENTURY_S, CENTURY_S, CENTURY_S / 2]
    assert engine.loop.time() == 2.5 * CENTURY_S


def test_infinite_timeouts(engine: Engine) -> None:
    """`wait_for`, `timeout`, `wait` and `condition` take infinity."""

    async def main() -> str:
        async with asyncio.timeout(math.inf):
            await asyncio.wait([asyncio.create_task(asyncio.sleep(1))], timeout=math.inf)
            await condition(lambda: True, timeout_s=math.inf)
            return await asyncio.wait_for(asyncio.sleep(1, "done"), math.inf)

    assert engine.run(main()) == "done"


def test_time_that_is_no_number_is_refused(engine: Engine) -> None:
    """A timer cannot be due at NaN."""
    with pytest.raises(ValueError, match="NaN"):
        engine.loop.call_later(math.nan, print)


# Busy waits


def test_wide_fan_out_is_no_busy_wait(engine: Engine) -> None:
    """Ten thousand tasks at once, and a long computation that gives way now and then, are no busy wait."""

    async def main() -> int:
        for _ in range(20_000):
            await asyncio.sleep(0)
        return sum(await asyncio.gather(*(asyncio.sleep(0, 1) for _ in range(10_000))))

    assert engine.run(main()) == 10_000


class Odd(BaseException):
    """What libraries raise to pass by every `except Exception`."""


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Odd("odd")])
def test_exit_ends_its_task_only(engine: Engine, error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """What would end the process ends the task that raised it: who awaits the task gets it, and others go on."""

    async def leaves() -> None:
        raise error

    async def main() -> str:
        task = asyncio.create_task(leaves())
        await asyncio.sleep(1)
        try:
            await task
        except type(error):
            return "goes on"
        return "nothing came"

    assert engine.run(main()) == "goes on"
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        assert f"leaves raised {type(error).__name__} in durable code" in caplog.text


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), Odd("odd"), StopIteration(1)])
def test_exit_of_a_condition_reaches_who_waits(engine: Engine, error: BaseException) -> None:
    """A predicate that raises fails the wait for it, whatever it raises."""
    asked: list[int] = []

    def predicate() -> bool:
        asked.append(1)
        if len(asked) > 1:
            raise error
        return False

    async def main() -> str:
        try:
            await condition(predicate)
        except BaseException as exc:  # noqa: BLE001 - the test reads it
            return f"{exc!r}"
        return "came true"

    name = "RuntimeError" if isinstance(error, StopIteration) else type(error).__name__
    assert engine.run(main()).startswith(name)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Odd("3")])
def test_exit_of_main_is_a_terminal_error(error: BaseException) -> None:
    """`sys.exit()` and the like in the main coroutine fail its invocation with a sentence; nothing escapes."""

    async def leaves() -> None:
        raise error

    context = SimpleNamespace(request=lambda: SimpleNamespace(id="inv-exit"), vm=FakeContext().vm)
    with pytest.raises(
        TerminalError, match=rf"leaves raised {type(error).__name__} \(.*\); raise an error of your own"
    ):
        asyncio.run(run_durably(cast(Context, context), leaves()))


# What libraries ask of a loop


def test_there_is_no_task_factory(engine: Engine) -> None:
    """`get_task_factory` answers None, and None may be set."""
    assert engine.loop.get_task_factory() is None
    engine.loop.set_task_factory(None)


def test_other_task_factory_is_refused(engine: Engine) -> None:
    """A task factory whose tasks would have no order is refused with the way out."""
    with pytest.raises(DeterminismError, match=r"set_task_factory\(\) takes None or asyncio\.eager_task_factory"):
        engine.loop.set_task_factory(lambda loop, coro: asyncio.Task(coro, loop=loop))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks(engine: Engine) -> None:
    """With asyncio's eager task factory tasks begin at once, have an order and names, and end as others do."""
    eager = getattr(asyncio, "eager_task_factory", None)
    seen: list[str] = []

    async def one(delay_s: float) -> str:
        task = asyncio.current_task()
        assert task is not None
        seen.append(task.get_name())
        if delay_s:
            await asyncio.sleep(delay_s)
        return task.get_name()

    async def main() -> None:
        current_loop().set_task_factory(eager)
        done, waits = asyncio.create_task(one(0)), asyncio.create_task(one(1))
        seen.append(f"{done.done()} {waits.done()}")
        seen.append(",".join(task.get_name() for task in asyncio.all_tasks()))
        async with asyncio.TaskGroup() as group:
            group.create_task(one(1))
        await waits

    engine.run(main())
    assert seen == ["Task-2", "Task-3", "True False", "Task-1,Task-3", "Task-4"]
    assert engine.loop.unfinished_tasks == []


def test_call_soon_threadsafe_from_this_thread(engine: Engine) -> None:
    """Within durable code `call_soon_threadsafe` is `call_soon`, as for libraries that never use anything else."""
    seen: list[str] = []

    async def main() -> None:
        current_loop().call_soon_threadsafe(seen.append, "called")
        await asyncio.sleep(0)

    engine.run(main())
    assert seen == ["called"]


def test_call_soon_threadsafe_from_another_thread(engine: Engine) -> None:
    """Another thread is refused, and told by what durable code can be woken."""
    errors: list[str] = []

    coro = asyncio.sleep(0)

    def elsewhere() -> None:
        try:
            asyncio.run_coroutine_threadsafe(coro, engine.loop)
        except DeterminismError as exc:
            errors.append(exc.message)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(20)
    coro.close()

    assert "inside a step" in errors[0]
    assert "awakeable" in errors[0]


def test_debug_mode_may_be_asked_for(engine: Engine) -> None:
    """`set_debug` is remembered, and makes no difference."""
    engine.loop.set_debug(True)
    assert engine.loop.get_debug()
    engine.run(asyncio.sleep(1))

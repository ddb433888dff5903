"""The deterministic event loop on its own: order, time, conditions, and what it refuses."""

import asyncio

import pytest

from app.durable import condition, current_loop
from app.errors import DeterminismError
from tests.support.fake_engine import Engine, FakeDurable

# Order


def test_callbacks_run_in_order(engine: Engine) -> None:
    """Callbacks run first in, first out; those that are added meanwhile run in the same drain."""
    ran: list[str] = []

    def run(name: str) -> None:
        ran.append(name)
        engine.loop.call_soon(ran.append, name.upper())

    for name in ("a", "b"):
        engine.loop.call_soon(run, name)
    engine.loop.drain()

    assert ran == ["a", "b", "A", "B"]


def test_cancelled_callback_does_not_run(engine: Engine) -> None:
    """A handle that was cancelled is passed over."""
    ran: list[str] = []
    engine.loop.call_soon(ran.append, "a").cancel()
    engine.loop.call_soon(ran.append, "b")
    engine.loop.drain()

    assert ran == ["b"]


def test_completions_decide_the_order(engine: Engine) -> None:
    """What waits is resumed in the order in which durable futures complete, not in which it began to wait."""
    order: list[str] = []
    durables = [FakeDurable(name) for name in ("a", "b", "c")]

    async def one(durable: FakeDurable) -> None:
        order.append(f"{durable.name} {await durable.wait()}")

    async def main() -> None:
        await asyncio.gather(*(one(durable) for durable in durables))

    task = engine.start(main())
    assert engine.pending == ["a", "b", "c"]
    for index in (2, 0, 1):
        engine.complete(durables[index], index)

    assert order == ["c 2", "a 0", "b 1"]
    assert task.done()


def test_sets_of_tasks_have_an_order() -> None:
    """Tasks and futures hash by the order in which they were made, so that sets of them iterate alike in a replay."""

    async def main() -> list[list[str]]:
        async def nothing() -> None:
            await asyncio.sleep(0)

        tasks = [asyncio.create_task(nothing(), name=f"task {n}") for n in range(20)]
        done, _ = await asyncio.wait(tasks)
        return [[task.get_name() for task in done], sorted(str(hash(task)) for task in tasks)]

    assert Engine().run(main()) == Engine().run(main())


def test_hashes_are_serial(engine: Engine) -> None:
    """The hash of a future and of a task is its number in the loop, and equality stays identity."""
    one, two = engine.loop.create_future(), engine.loop.create_future()

    assert hash(two) == hash(one) + 1
    assert one != two


def test_error_of_the_engine_is_raised(engine: Engine) -> None:
    """A durable future that fails raises where it is awaited."""
    durable = FakeDurable("a")

    async def main() -> str:
        try:
            await durable.wait()
        except ValueError as exc:
            return str(exc)
        return "no error"

    task = engine.start(main())
    engine.complete(durable, error=ValueError("odd"))

    assert task.result() == "odd"


def test_cancelled_wait_is_waited_for_no_more(engine: Engine) -> None:
    """A wait that was cancelled is no longer pending; a completion that comes later changes nothing."""
    durable = FakeDurable("a")
    task = engine.start(durable.wait())
    task.cancel()
    engine.loop.drain()

    assert task.cancelled()
    assert engine.pending == []
    engine.complete(durable, "late")


# Time


def test_time_moves_with_timers_only(engine: Engine) -> None:
    """Time starts at 0, stands still while code runs, and is the timer's when one fires."""

    async def main() -> list[float]:
        loop = current_loop()
        times = [loop.time()]
        await asyncio.sleep(0)
        times.append(loop.time())
        await asyncio.sleep(1.5)
        times.append(loop.time())
        await asyncio.gather(asyncio.sleep(2), asyncio.sleep(1))
        return [*times, loop.time()]

    assert engine.run(main()) == [0, 0, 1.5, 3.5]
    assert [timer.delay_s for timer in engine.ctx.timers] == [1.5, 2, 1]


def test_time_never_goes_back(engine: Engine) -> None:
    """When the engine fires a later timer first, time does not go back with the earlier one."""

    async def main() -> None:
        await asyncio.gather(asyncio.sleep(1), asyncio.sleep(2))

    task = engine.start(main())
    engine.complete(engine.ctx.timers[1])
    assert engine.loop.time() == 2
    engine.complete(engine.ctx.timers[0])

    assert engine.loop.time() == 2
    assert task.done()


def test_sleep_zero_is_no_timer(engine: Engine) -> None:
    """`sleep(0)` gives way to others without a journal entry."""
    engine.run(asyncio.sleep(0))

    assert engine.ctx.timers == []


def test_cancelled_timer_is_waited_for_no_more(engine: Engine) -> None:
    """A timer that was cancelled does not fire and is no longer pending."""
    ran: list[str] = []
    engine.loop.call_later(1, ran.append, "x").cancel()
    engine.loop.drain()

    assert engine.pending == []
    assert ran == []


def test_timeout_cancels(engine: Engine) -> None:
    """`asyncio.timeout` is a durable timer; when it fires, what is in it is cancelled."""

    async def main() -> str:
        try:
            async with asyncio.timeout(3):
                await asyncio.Event().wait()
        except TimeoutError:
            return f"at {current_loop().time()}"
        return "no timeout"

    assert engine.run(main()) == "at 3.0"


# Conditions


def test_condition_wakes_after_the_callback_that_made_it_true(engine: Engine) -> None:
    """A condition is asked after every callback, and who waits for it runs before anything else changes it back."""
    state = {"n": 0}
    seen: list[int] = []

    async def watch() -> None:
        await condition(lambda: state["n"] == 2)
        seen.append(state["n"])

    async def count() -> None:
        for _ in range(3):
            state["n"] += 1
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(watch(), count())

    engine.run(main())
    assert seen == [2]


def test_condition_that_holds_does_not_wait(engine: Engine) -> None:
    """A condition that is true already costs no journal entry."""
    engine.run(condition(lambda: True))
    assert engine.ctx.timers == []


def test_condition_times_out(engine: Engine) -> None:
    """A condition with a timeout raises TimeoutError once its timer fires."""
    with pytest.raises(TimeoutError):
        engine.run(condition(lambda: False, timeout_s=2))
    assert [timer.delay_s for timer in engine.ctx.timers] == [2]


def test_error_of_a_predicate_goes_to_who_waits(engine: Engine) -> None:
    """What a predicate raises is raised by its condition, and by no other task."""
    state = {"broken": False}

    def predicate() -> bool:
        if state["broken"]:
            raise ValueError("broken predicate")
        return False

    async def breaks() -> str:
        await asyncio.sleep(1)
        state["broken"] = True
        return "fine"

    async def main() -> list[object]:
        return list(await asyncio.gather(condition(predicate), breaks(), return_exceptions=True))

    failed, fine = engine.run(main())
    assert str(failed) == "broken predicate"
    assert fine == "fine"


def test_cancelled_condition_is_asked_no_more(engine: Engine) -> None:
    """The predicate of a condition that was cancelled is not asked again."""
    asked: list[int] = []
    task = engine.start(condition(lambda: asked.append(1)))
    task.cancel()
    engine.loop.drain()
    count = len(asked)
    engine.run(asyncio.sleep(0))

    assert len(asked) == count


# What is not possible


@pytest.mark.parametrize(
    "name",
    [
        "run_in_executor",
        "create_connection",
        "create_server",
        "subprocess_exec",
        "add_reader",
        "add_signal_handler",
        "sock_recv",
        "getaddrinfo",
    ],
)
def test_refused_method_names_the_way_out(engine: Engine, name: str) -> None:
    """What needs sockets, threads, processes or signals raises an error that says where to do it."""
    with pytest.raises(DeterminismError, match=rf"loop\.{name}\(\) is not available .* inside a step"):
        getattr(engine.loop, name)()


@pytest.mark.parametrize("name", ["run_forever", "run_until_complete", "stop", "close"])
def test_loop_is_not_durable_codes_to_drive(engine: Engine, name: str) -> None:
    """Who would run or stop the loop is told that its driver does, and to await."""
    with pytest.raises(DeterminismError, match=rf"loop\.{name}\(\) is not available .* Await what you wait for"):
        getattr(engine.loop, name)()


def test_thread_is_refused(engine: Engine) -> None:
    """`asyncio.to_thread` in durable code is refused."""
    with pytest.raises(DeterminismError, match="run_in_executor"):
        engine.run(asyncio.to_thread(print))


def test_outside_there_is_no_loop() -> None:
    """Outside of durable code the durable functions say so."""
    with pytest.raises(DeterminismError, match="run_durably"):
        current_loop()


async def test_real_loop_is_there_again(engine: Engine) -> None:
    """While durable code runs it sees its own loop and task; afterwards the real ones are current again."""
    real, task = asyncio.get_running_loop(), asyncio.current_task()

    async def main() -> bool:
        return asyncio.get_running_loop() is engine.loop and asyncio.current_task() is not task

    assert engine.run(main())
    assert asyncio.get_running_loop() is real
    assert asyncio.current_task() is task
    await asyncio.sleep(0)

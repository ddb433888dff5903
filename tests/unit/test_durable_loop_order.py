"""What asyncio iterates on the durable loop has an order that every replay shares; other loops see nothing of it."""

import asyncio
import gc
import random
import threading
from asyncio import all_tasks, as_completed  # the names as a library has them that was imported before the loop
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from app.durable import condition, current_loop
from app.errors import DeterminismError
from tests.support.fake_engine import Engine


async def note(n: int, seen: list[int], delay_s: float = 0.0) -> int:
    """Note the start and come back with the number."""
    seen.append(n)
    await asyncio.sleep(delay_s)
    return n


def scattered(make: Callable[[], Any], count: int) -> list[Any]:
    """Return things whose addresses have nothing to do with their order."""
    made = [make() for _ in range(count)]
    random.shuffle(made)
    return made


async def test_as_completed_starts_coroutines_in_order() -> None:
    """`as_completed` starts coroutines in the order in which they are given, whatever their addresses."""

    async def main() -> tuple[list[int], list[int]]:
        seen: list[int] = []
        coros: list[Coroutine[Any, Any, int]] = scattered(lambda: note(0, []), 30)
        for coro in coros:
            coro.close()
        del coros
        results = [await each for each in as_completed([note(n, seen, n % 3) for n in range(30)])]
        return seen, results

    first = Engine().run(main())
    assert first[0] == list(range(30))
    assert first[1] == [n for rest in range(3) for n in range(rest, 30, 3)]
    assert all(Engine().run(main()) == first for _ in range(5))


def test_as_completed_of_an_iterator() -> None:
    """`as_completed` takes what an iterator gives in its order."""

    async def main() -> list[int]:
        seen: list[int] = []
        for each in asyncio.as_completed(iter([note(n, seen) for n in range(20)])):
            await each
        return seen

    assert Engine().run(main()) == list(range(20))


def test_set_of_coroutines_is_refused() -> None:
    """A set of coroutines is in the order of addresses before asyncio sees it; the error says what to give instead."""

    async def main() -> None:
        coros = {note(n, []) for n in range(3)}
        try:
            for each in asyncio.as_completed(coros):
                await each
        finally:
            for coro in coros:
                coro.close()

    with pytest.raises(DeterminismError, match=r"A set of coroutine objects has no order .* Give asyncio a list"):
        Engine().run(main())


def test_set_of_tasks_has_an_order() -> None:
    """A set of tasks may be given: its order is that of a replay."""

    async def main() -> list[str]:
        tasks = {asyncio.create_task(note(n, []), name=f"task {n}") for n in range(50)}
        done, _ = await asyncio.wait(tasks)
        late = [each.get_name() for each in done] + [each.get_name() for each in tasks]
        for completed in asyncio.as_completed(tasks):
            await completed
        return late

    first = Engine().run(main())
    assert all(Engine().run(main()) == first for _ in range(5))


def test_wait_keeps_the_order_of_futures() -> None:
    """`wait` answers in the order of what it was given, also for futures that asyncio makes itself, as `gather`."""

    async def main() -> tuple[list[int], list[int], int]:
        futures = [asyncio.gather(note(n, [], n // 20)) for n in range(40)]
        place = {future: n for n, future in enumerate(futures)}
        done, pending = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        late = [place[future] for future in pending]
        popped = place[pending.pop()]
        await asyncio.wait(pending)
        return [place[future] for future in done], late, popped

    assert Engine().run(main()) == (list(range(20)), list(range(20, 40)), 20)


def test_set_of_other_futures_is_refused() -> None:
    """A set of futures without an order is refused."""

    async def main() -> None:
        await asyncio.wait({asyncio.gather(note(n, [])) for n in range(3)})

    engine = Engine()
    with pytest.raises(DeterminismError, match="A set of _GatheringFuture objects has no order"):
        engine.run(main())
    engine.loop.close_abandoned()


async def test_all_tasks_have_an_order() -> None:
    """`all_tasks` iterates alike in every attempt, whatever other tasks the process has."""

    async def main() -> list[str]:
        for n in range(200):
            await asyncio.create_task(note(n, []))  # so that the numbers of tasks are far apart
            if n % 50 == 0:
                asyncio.create_task(note(n, [], 5), name=f"kept {n}")  # noqa: RUF006 - all_tasks finds it
        await asyncio.sleep(1)
        return [task.get_name() for task in all_tasks()]

    others: list[asyncio.Task[None]] = []
    orders = []
    for n in range(20):
        others += [asyncio.create_task(asyncio.sleep(100)) for _ in range(n)]
        engine = Engine()
        orders.append(engine.run(main()))
        engine.loop.close_abandoned()
    for other in others:
        other.cancel()

    assert orders == [orders[0]] * 20
    assert sorted(orders[0]) == ["Task-1", "kept 0", "kept 100", "kept 150", "kept 50"]


async def test_names_of_tasks_count_in_the_loop() -> None:
    """Tasks without a name are called the same in every attempt, whatever the process did before."""

    async def main() -> list[str]:
        named = asyncio.create_task(note(0, []), name="mine")
        auto = asyncio.create_task(note(1, []))
        await asyncio.gather(named, auto)
        return [task.get_name() for task in (asyncio.current_task(), named, auto) if task is not None]

    first = Engine().run(main())
    await asyncio.create_task(asyncio.sleep(0))
    assert first == ["Task-1", "mine", "Task-3"]
    assert Engine().run(main()) == first


async def test_other_loops_see_builtins() -> None:
    """Before, during and after durable code, asyncio on the real loop works with the builtins, in other threads too."""
    kinds: list[type] = []
    errors: list[BaseException] = []

    async def real() -> None:
        task = asyncio.create_task(asyncio.sleep(0))
        done, pending = await asyncio.wait([task])
        kinds.extend((type(done), type(pending), type(all_tasks())))
        coros = {asyncio.sleep(0, result=n) for n in range(3)}
        assert sorted([await each for each in as_completed(coros)]) == [0, 1, 2]

    def elsewhere() -> None:
        try:
            asyncio.run(real())
        except BaseException as exc:  # noqa: BLE001 - a thread cannot fail a test
            errors.append(exc)

    async def main() -> None:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(20)

    await real()
    Engine().run(main())
    await real()

    assert errors == []
    assert kinds == [set] * 9


def test_predicate_has_the_context_of_who_waits() -> None:
    """A condition's predicate sees the context variables of the task that waits for it."""
    name: ContextVar[str] = ContextVar("name", default="nobody")
    turn: list[str] = []
    met: list[str] = []

    async def wait_as(who: str) -> None:
        name.set(who)
        await condition(lambda: turn == [name.get()])
        met.append(who)

    async def main() -> None:
        waiting = asyncio.gather(wait_as("a"), wait_as("b"))
        for who in ("b", "a"):
            await asyncio.sleep(1)
            turn[:] = [who]
        await waiting

    Engine().run(main())
    assert met == ["b", "a"]


def test_garbage_collector_changes_nothing() -> None:
    """An async generator in a reference cycle is closed at the same moment whether the collector runs or not."""

    async def main(collect: bool) -> list[str]:
        seen: list[str] = []

        async def numbers() -> Any:
            try:
                yield 1
                yield 2
            finally:
                seen.append("closed")
                await asyncio.sleep(1)

        cycle: dict[str, Any] = {}
        cycle["self"] = cycle
        cycle["numbers"] = numbers()
        await anext(cycle["numbers"])
        del cycle
        if collect:
            gc.collect()
        await asyncio.sleep(2)
        seen.append("main ends")
        current_loop()
        return seen

    def run(collect: bool) -> list[str]:
        engine = Engine()
        seen = engine.run(main(collect))
        engine.run(engine.loop.shutdown_asyncgens())
        return [*seen, *(str(timer.delay_s) for timer in engine.ctx.timers)]

    assert run(collect=True) == run(collect=False) == ["main ends", "closed", "2.0", "1.0"]

"""asyncio's own loop with virtual time, as the reference for random programs."""

import asyncio
import contextlib
import contextvars
import sys
from asyncio.base_events import BaseEventLoop
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, cast

from app.durable.loop.futures import AttemptOver, Ordered
from tests.support.random_programs import Node, Program, describe

DEADLOCK = "deadlock"

_kept: list[object] = []  # generators that were left in the middle; the garbage collector would run them on


class _Future(Ordered, asyncio.Future[Any]):
    def __init__(self, *, loop: "VirtualLoop") -> None:
        self.serial = loop.next_serial()
        super().__init__(loop=loop)


class _Task(Ordered, asyncio.Task[Any]):
    def __init__(self, coro: Coroutine[Any, Any, Any], *, loop: "VirtualLoop", **options: Any) -> None:
        self.serial = loop.next_serial()
        super().__init__(coro, loop=loop, **options)


class VirtualLoop(BaseEventLoop):
    """asyncio's loop, whose time passes when nothing is ready, and whose tasks and futures have an order in sets.

    Timers of the same time fire in the order of their making, which asyncio's heap does not promise. Async generators
    are kept, so that the garbage collector closes none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[AsyncGenerator[Any, Any]] = []
        self._virtual_s = 0.0
        self._serial = 0
        self._timers = 0
        self._clock_resolution = 1e-9
        self._awaited: asyncio.Future[Any] | None = None
        self._selector = self
        self.set_task_factory(cast(Any, lambda _loop, coro, **options: _Task(coro, loop=self, **options)))

    def next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def time(self) -> float:
        return self._virtual_s

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(loop=self)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, **options: Any
    ) -> asyncio.TimerHandle:
        self._timers += 1
        return super().call_at(when + self._timers * 1e-13, callback, *args, **options)

    def select(self, timeout: float | None) -> list[object]:
        """Be the selector: when nothing is ready, go on to the next timer, or stop."""
        if timeout is None or (timeout > 0 and self._awaited is not None and self._awaited.done()):
            self.stop()
        else:
            self._virtual_s += timeout
        return []

    def _process_events(self, _events: object) -> None:
        pass

    def _asyncgen_firstiter_hook(self, generator: AsyncGenerator[Any, Any]) -> None:
        self.begun.append(generator)

    def drive(self, awaited: asyncio.Future[Any]) -> None:
        """Run until nothing is ready and `awaited` is done, or nothing can ever happen."""
        self._awaited = awaited
        self.run_forever()

    async def close_generators(self) -> None:
        closed = 0
        while generators := self.begun[closed:]:
            closed = len(self.begun)
            generators = [each for each in generators if getattr(each, "ag_frame", None) is not None]
            await asyncio.gather(*(each.aclose() for each in generators), return_exceptions=True)

    def unfinished(self) -> list[asyncio.Task[Any]]:
        return sorted(asyncio.all_tasks(self), key=lambda task: cast(_Task, task).serial)

    def abandon(self) -> None:
        """Close what was left, without a word; the generators that begin meanwhile too."""
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self.begun.append)
        for task in self.unfinished():
            cast(Any, task)._log_destroy_pending = False
            with contextlib.suppress(BaseException):
                for _ in range(100):
                    contextvars.copy_context().run(cast(Any, task.get_coro()).throw, AttemptOver())
        sys.set_asyncgen_hooks(*hooks)
        _kept.extend(self.begun)
        self.set_exception_handler(lambda _loop, _context: None)
        self.close()


class _World:
    """What a program needs beside asyncio."""

    durable = False

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def step(self, name: str, duration_s: float) -> Awaitable[str]:
        future = self._loop.create_future()
        self._loop.call_later(duration_s, _set_result, future, name)
        return future


def _set_result(future: asyncio.Future[Any], result: str) -> None:
    if not future.done():
        future.set_result(result)


def on_asyncio(node: Node) -> list[str]:
    """Return the trace of a program on asyncio, its end included."""
    loop = VirtualLoop()
    loop.set_exception_handler(lambda _loop, _context: None)
    program = Program(_World(loop))
    main = loop.create_task(program.run(node))
    try:
        for awaited in driven(main, loop.unfinished, lambda: loop.create_task(loop.close_generators()), program.trace):
            loop.drive(awaited)
            if not awaited.done():
                return [*program.trace, DEADLOCK]
        return list(program.trace)
    finally:
        loop.abandon()


def driven(
    main: asyncio.Task[str],
    unfinished: Callable[[], Sequence[asyncio.Task[Any]]],
    close_generators: Callable[[], asyncio.Task[None]],
    trace: list[str],
) -> Iterator[asyncio.Task[Any]]:
    """Yield the tasks that a loop is driven for, as `run_durably` does it: main, what it leaves behind, generators."""
    yield main
    trace.append(f"main: {'cancelled' if main.cancelled() else describe(main.exception() or main.result())}")
    leftovers = unfinished()
    for leftover in leftovers:
        leftover.cancel()
    yield from leftovers
    yield close_generators()
    trace.append("over")

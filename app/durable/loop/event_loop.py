"""The deterministic event loop: an `asyncio.AbstractEventLoop` whose only source of events is the Restate journal.

Owns no sockets, no threads and no clock. It never blocks: `driver.py` waits for durable futures on the real loop, hands
their results in with `complete`, and lets the loop `drain`. A replay completes the same futures in the same order, so
it takes exactly the same path.
"""

import asyncio
import collections
import contextvars
import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar, TypeVarTuple, cast

from restate import Context, RestateDurableFuture, TerminalError
from restate.server_context import ServerInvocationContext

from app.durable.loop.conditions import Conditions
from app.durable.loop.futures import AttemptOver, DurableFuture, DurableTask, DurableTimer
from app.durable.loop.generators import Generators
from app.durable.loop.order import give_order
from app.durable.loop.refusals import ReplayedLoop, refuse_other_thread, refuse_task_factory
from app.durable.loop.running import name_of, running
from app.durable.loop.timers import Timers
from app.durable.loop.unwinding import Nowhere, unwind_generator, unwind_task

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

logger = logging.getLogger("durable")

_MOST_REFUSALS = 1000  # of the engine at the end of an attempt
_MOST_CALLBACKS = 1_000_000  # between two completions, about two seconds of a process; then it is a busy wait


class DurableLoop(ReplayedLoop):
    """The loop of one attempt of one invocation.

    `place` is the number of futures that have completed. `seen` is the place that an earlier attempt has reached, -1 if
    there was none.

    Durable: `time()` starts at 0 in every attempt and moves only when a timer fires, so it is the same in a replay. It
    measures delays and does not tell the time of day. Timers of one instant fire together, as in asyncio: those that
    were made between the same two completions for the same time.
    Errors: what needs sockets, threads or processes raises DeterminismError, which names the way out.
    """

    def __init__(self, ctx: Context, *, seen: int = -1) -> None:
        give_order()
        self._ctx = ctx
        self._seen = seen
        self.place = 0
        self._ready: collections.deque[asyncio.Handle] = collections.deque()
        self._pending: dict[RestateDurableFuture[Any], DurableFuture[Any] | DurableTimer] = {}
        self._conditions = Conditions()
        self._timers = Timers()
        self._tasks: dict[DurableTask[Any], None] = {}  # a dict, as sets have no order of their own
        self._task_factory: Callable[..., asyncio.Future[Any]] | None = None
        self._generators = Generators()
        self._entries = 0
        self._refused = 0
        self._dead = False
        self._debug = False
        self._exception_handler: ExceptionHandler | None = None

    # What durable code builds on

    @property
    def ctx(self) -> Context:
        """The Restate context. Errors: AttemptOver once the attempt has ended."""
        return self._refuse_engine() if self._dead else self._ctx

    @property
    def replaying(self) -> bool:
        """Whether what runs has run before, in an earlier attempt."""
        return self.place <= self._seen or cast(ServerInvocationContext, self._ctx).vm.is_replaying()

    @property
    def entries(self) -> int:
        """About how many journal entries this invocation has: its durable futures, made and completed.

        Durable: the same in a replay, at the same place.
        """
        return self._entries

    def wait_for(self, durable: RestateDurableFuture[T]) -> asyncio.Future[T]:
        """Return the asyncio future of a durable future of the engine."""
        future: DurableFuture[T] = DurableFuture(loop=self)
        if self._dead:
            self._refuse_engine()
            return future
        self._entries += 1
        self._pending[durable] = future
        future.add_done_callback(lambda done: self._pending.pop(durable, None) if done.cancelled() else None)
        return future

    def wait_until(self, predicate: Callable[[], object]) -> asyncio.Future[None]:
        """Return a future that is done once `predicate()` is true. It is asked after every callback."""
        future: DurableFuture[None] = DurableFuture(loop=self)
        if predicate():
            future.set_result(None)
        else:
            self._conditions.add(predicate, future)
        return future

    # What the driver calls

    @property
    def pending(self) -> list[RestateDurableFuture[Any]]:
        """The durable futures that something waits for, oldest first."""
        return list(self._pending)

    @property
    def unfinished_tasks(self) -> list[DurableTask[Any]]:
        """The tasks that are not done, oldest first."""
        return [task for task in self._tasks if not task.done()]

    def complete(self, durable: RestateDurableFuture[T], value: T | None, error: Exception | None) -> None:
        """Hand in the outcome of a durable future. Whoever waits for it runs at the next `drain`."""
        waiter = self._pending.pop(durable, None)
        if waiter is None:  # a timer that has fired together with another, or what is waited for no more
            return
        self._entries += 1
        self.place += 1
        if isinstance(waiter, DurableTimer):
            together = self._timers.fire(waiter)
            self._entries += len(together) - 1
            for timer in together:
                self._pending.pop(cast("RestateDurableFuture[None]", timer.sleep), None)
                if timer.when() > timer.wakes_at:
                    self._begin(timer)  # the next part of a long wait
                else:
                    self._ready.append(timer)
        elif not waiter.done():
            if error is not None:
                waiter.set_exception(error)
            else:
                waiter.set_result(value)

    def drain(self) -> None:
        """Run callbacks until none is ready and no condition has become true.

        sys.exit() and KeyboardInterrupt end the task that raised them, not the process with all its other invocations.
        Errors: TerminalError if that has no end, because something waits without giving the engine a chance.
        """
        handle: asyncio.Handle | None = None
        with self._running():
            for _ in range(_MOST_CALLBACKS):
                if not self._ready:
                    return
                handle = self._ready.popleft()
                try:
                    if not handle.cancelled():
                        handle._run()
                except (SystemExit, KeyboardInterrupt) as exc:  # a task has ended with it, and who awaits that gets it
                    message = f"{name_of(handle)} raised {type(exc).__name__}"
                    self.call_exception_handler({"message": message, "exception": exc})
                self._conditions.wake()
        raise TerminalError(
            f"{name_of(handle)} runs again and again without waiting for anything durable, while nothing else can "
            "happen: a busy wait. Await what is to happen: the task, an asyncio.Event, or condition(…)"
        )

    def close_abandoned(self) -> None:
        """End what the attempt leaves in the middle, newest first, without letting it reach the engine.

        A `finally` block runs with AttemptOver. All that it starts on this loop raises that again, or does nothing.
        Raises nothing, whatever durable code does.
        """
        self._dead = True
        self._ready.clear()
        with self._running():
            for task in reversed(self.unfinished_tasks):
                unwind_task(task)
            for generator in reversed(self._generators.take()):
                unwind_generator(generator)
            self._tasks.clear()
            self._pending.clear()
            self._conditions.clear()

    def _running(self) -> AbstractContextManager[None]:
        return running(self, adopt_generator=self._generators.adopt)

    def _refuse_engine(self) -> Any:
        """Raise AttemptOver. Who asks on and on gets Nowhere, and so comes to a wait, where a coroutine can be left."""
        self._refused += 1
        if self._refused < _MOST_REFUSALS:
            raise AttemptOver
        return Nowhere()

    def _begin(self, timer: DurableTimer) -> None:
        self._entries += 1
        self._pending[self._timers.begin(timer, self._ctx.sleep, place=self.place)] = timer

    # asyncio.AbstractEventLoop

    def time(self) -> float:
        return self._timers.now

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self

    def is_closed(self) -> bool:
        return self._dead

    def get_debug(self) -> bool:
        return self._debug

    def set_debug(self, enabled: bool) -> None:
        self._debug = enabled

    def create_future(self) -> asyncio.Future[Any]:
        return DurableFuture(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        if self._dead:  # who makes many, as gather does, need not close the rest; who waits for this one is unwound
            task: DurableTask[Any] = DurableTask(coro, loop=self, **options)
            task.begins_never()
            return task
        if self._task_factory is not None:
            options.setdefault("eager_start", True)
        task = DurableTask(coro, loop=self, **options)
        if not task.done():  # an eager one may be
            self._tasks[task] = None
            task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    def get_task_factory(self) -> Any:
        return self._task_factory

    def set_task_factory(self, factory: Any) -> None:
        if factory is not None and factory is not getattr(asyncio, "eager_task_factory", None):
            refuse_task_factory()
        self._task_factory = factory

    async def shutdown_asyncgens(self) -> None:
        """Close the async generators that are still open, oldest first, and those that begin meanwhile."""
        while generators := self._generators.take():
            closed = await asyncio.gather(*(each.aclose() for each in generators), return_exceptions=True)
            for generator, error in zip(generators, closed, strict=True):
                if isinstance(error, Exception):
                    message = f"{generator!r} failed while it was closed"
                    self.call_exception_handler({"message": message, "exception": error, "asyncgen": generator})

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self._dead:
            self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        if not self._dead and not self.is_running():
            refuse_other_thread()
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._timers.now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        if math.isnan(when):
            raise ValueError("A timer cannot be due at NaN (not a number)")
        timer = DurableTimer(when, callback, args, self, context)
        if not self._dead:
            self._begin(timer)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if isinstance(handle, DurableTimer) and handle.sleep is not None:
            self._pending.pop(handle.sleep, None)
            self._timers.forget(handle)

    def set_exception_handler(self, handler: ExceptionHandler | None) -> None:
        self._exception_handler = handler

    def get_exception_handler(self) -> ExceptionHandler | None:
        return self._exception_handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._dead or self.replaying:
            return
        (self._exception_handler or type(self).default_exception_handler)(self, context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        logger.error("%s in durable code", context.get("message", "Error"), exc_info=context.get("exception"))

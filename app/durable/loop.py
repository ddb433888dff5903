"""The deterministic event loop: an `asyncio.AbstractEventLoop` whose only source of events is the Restate journal.

Owns no sockets, no threads and no clock. It never blocks: `run.py` waits for durable futures on the real loop, hands
their results in with `complete`, and lets the loop `drain`. A replay completes the same futures in the same order, so
it takes exactly the same path.
"""

import asyncio
import collections
import contextvars
import inspect
import logging
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn, TypeVar, TypeVarTuple, cast

from restate import Context, RestateDurableFuture
from restate.server_context import ServerInvocationContext

from app.durable.futures import AttemptOver, DurableFuture, DurableTask, DurableTimer
from app.errors import DeterminismError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

logger = logging.getLogger("durable")

_MAX_UNWINDING = 100  # waits of a coroutine that is being closed, before it is left to the garbage collector


class DurableLoop(asyncio.AbstractEventLoop):
    """The loop of one attempt of one invocation.

    `place` is how far it is: the number of futures completed; `seen` is where an earlier attempt has been, -1 nowhere.

    Durable: `time()` starts at 0 in every attempt and moves only when a timer fires, so it is the same in a replay; it
    measures delays, it does not tell the time of day.
    Errors: what needs sockets, threads or processes raises DeterminismError, which names the way out.
    """

    def __init__(self, ctx: Context, *, seen: int = -1) -> None:
        self._ctx = ctx
        self._seen = seen
        self.place = 0
        self._ready: collections.deque[asyncio.Handle] = collections.deque()
        self._pending: dict[RestateDurableFuture[Any], DurableFuture[Any] | DurableTimer] = {}
        self._conditions: list[tuple[Callable[[], object], DurableFuture[None]]] = []
        self._tasks: dict[asyncio.Task[Any], None] = {}  # a dict, as sets have no order of their own
        self._serial = 0
        self._entries = 0
        self._now = 0.0
        self._dead = False
        self._exception_handler: ExceptionHandler | None = None

    # What durable code builds on

    @property
    def ctx(self) -> Context:
        """The Restate context. Errors: AttemptOver once the attempt has ended."""
        if self._dead:
            raise AttemptOver
        return self._ctx

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
        if self._dead:
            raise AttemptOver
        self._entries += 1
        future: DurableFuture[T] = DurableFuture(loop=self)
        self._pending[durable] = future
        future.add_done_callback(lambda done: self._pending.pop(durable, None) if done.cancelled() else None)
        return future

    def wait_until(self, predicate: Callable[[], object]) -> asyncio.Future[None]:
        """Return a future that is done once `predicate()` is true; it is asked after every callback."""
        future: DurableFuture[None] = DurableFuture(loop=self)
        if predicate():
            future.set_result(None)
        else:
            self._conditions.append((predicate, future))
        return future

    # What the driver calls

    @property
    def pending(self) -> list[RestateDurableFuture[Any]]:
        """The durable futures that something waits for, oldest first."""
        return list(self._pending)

    @property
    def unfinished_tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks that are not done, oldest first."""
        return [task for task in self._tasks if not task.done()]

    def complete(self, durable: RestateDurableFuture[T], value: T | None, error: Exception | None) -> None:
        """Hand in the outcome of a durable future; whoever waits runs at the next `drain`."""
        self._entries += 1
        self.place += 1
        waiter = self._pending.pop(durable, None)
        if isinstance(waiter, DurableTimer):
            self._now = max(self._now, waiter.when())
            self._ready.append(waiter)
        elif waiter is not None and not waiter.done():
            if error is not None:
                waiter.set_exception(error)
            else:
                waiter.set_result(value)

    def drain(self) -> None:
        """Run callbacks until none is ready and no condition has become true."""
        with self._running():
            while self._ready:
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
                if self._conditions:
                    self._wake_conditions()

    def close_abandoned(self) -> None:
        """End what the attempt leaves in the middle, newest first, without letting it reach the engine.

        A `finally` block runs with GeneratorExit; all it starts on this loop raises AttemptOver or does nothing.
        """
        self._dead = True
        self._ready.clear()
        with self._running():
            for task in reversed(self.unfinished_tasks):
                task._log_destroy_pending = False  # the end is meant
                _close(task)
        self._tasks.clear()
        self._pending.clear()
        self._conditions.clear()

    def next_serial(self) -> int:
        self._serial += 1
        return self._serial

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Be the running loop of this thread, in place of the real one."""
        outer = asyncio._get_running_loop()
        outer_task = _swap_current_task(outer, None)
        outer_hooks = sys.get_asyncgen_hooks()
        asyncio._set_running_loop(None)
        asyncio._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=self._adopt_generator, finalizer=self._finalize_generator)
        try:
            yield
        finally:
            sys.set_asyncgen_hooks(*outer_hooks)
            asyncio._set_running_loop(outer)
            _swap_current_task(outer, outer_task)

    def _wake_conditions(self) -> None:
        waiting = []
        for predicate, future in self._conditions:
            if future.done():
                continue
            try:
                holds = predicate()
            except Exception as exc:  # noqa: BLE001 - the predicate's error belongs to whoever waits for it
                future.set_exception(exc)
                continue
            if holds:
                future.set_result(None)
            else:
                waiting.append((predicate, future))
        self._conditions = waiting

    def _adopt_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Nothing to do at the first iteration; the hook keeps the real loop from adopting the generator."""

    def _finalize_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        if not self._dead:
            self.create_task(generator.aclose())

    # asyncio.AbstractEventLoop

    def time(self) -> float:
        return self._now

    def is_running(self) -> bool:
        return not self._dead

    def is_closed(self) -> bool:
        return self._dead

    def get_debug(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return DurableFuture(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        if self._dead:
            coro.close()
            raise AttemptOver
        task: DurableTask[Any] = DurableTask(coro, loop=self, **options)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

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

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = DurableTimer(when, callback, args, self, context)
        if not self._dead:
            self._entries += 1
            timer.sleep = self._ctx.sleep(timedelta(seconds=max(0.0, when - self._now)))
            self._pending[timer.sleep] = timer
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if isinstance(handle, DurableTimer):
            self._pending.pop(handle.sleep, None)

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


def _close(task: asyncio.Task[Any]) -> None:
    """Unwind a task that nobody will resume: every `finally` block gets its turn, also one that waits for something."""
    coro = task.get_coro()
    for _ in range(_MAX_UNWINDING):
        if not inspect.iscoroutine(coro) or inspect.getcoroutinestate(coro) == inspect.CORO_CLOSED:
            return
        try:
            coro.close()
        except (AttemptOver, Exception) as exc:  # noqa: BLE001 - nobody is left to tell
            logger.debug("Durable task %s said %r while its attempt was closed", task.get_name(), exc)


def _swap_current_task(
    loop: asyncio.AbstractEventLoop | None, task: asyncio.Task[Any] | None
) -> asyncio.Task[Any] | None:
    """Make `task` the current one of `loop`, return the one it replaces.

    From Python 3.14 on the current task belongs to the thread, so the real one must step aside while ours run.
    """
    swap = getattr(asyncio.tasks, "_swap_current_task", None)
    return swap(loop, task) if swap is not None and loop is not None else None


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(_self: DurableLoop, *_args: object, **_options: object) -> NoReturn:
        raise DeterminismError(
            f"loop.{name}() is not available in durable code: a replay could not repeat it. Do this inside a step."
        )

    refuse.__name__ = name
    return refuse


for _name, _member in vars(asyncio.AbstractEventLoop).items():
    if callable(_member) and not _name.startswith("_") and _name not in vars(DurableLoop):
        setattr(DurableLoop, _name, _refusing(_name))

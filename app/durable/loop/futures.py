"""Futures, tasks and timers of the durable loop: those of asyncio, with an order and names that every replay shares.

They do not run callbacks, which is the loop's work.
"""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from restate import RestateDurableFuture

T = TypeVar("T")


class AttemptOver(BaseException):
    """This attempt of the invocation has ended. Durable code that runs on must unwind without touching the engine."""


class NumberingLoop(asyncio.AbstractEventLoop):
    """A loop that numbers its futures and tasks, from 1 in every attempt."""

    _serial = 0
    _tasks_made = 0

    def next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def next_task_name(self) -> str:
        self._tasks_made += 1
        return f"Task-{self._tasks_made}"


class Ordered:
    """What hashes by its creation order, so that sets of it (TaskGroup, wait) iterate alike in every replay."""

    serial: int

    def __hash__(self) -> int:
        return self.serial


class DurableFuture(Ordered, asyncio.Future[T]):
    """An asyncio future with an order."""

    def __init__(self, *, loop: NumberingLoop) -> None:
        self.serial = loop.next_serial()
        super().__init__(loop=loop)


class DurableTask(Ordered, asyncio.Task[T]):
    """An asyncio task with an order, and the context it runs in (Task.get_context() came with Python 3.12).

    Without a name it is `Task-<n>`, counted in its loop and not in the process.
    """

    def __init__(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        loop: NumberingLoop,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **options: Any,
    ) -> None:
        self.serial = loop.next_serial()  # before Task.__init__, which puts the task into a set
        auto_name = loop.next_task_name()  # counts every task: up to Python 3.12 names are given afterwards
        self.context = contextvars.copy_context() if context is None else context
        name = auto_name if name is None else name
        super().__init__(coro, loop=loop, name=name, context=self.context, **options)

    def begins_never(self) -> None:
        """Close the coroutine of a task that was made too late, without a word."""
        self._log_destroy_pending = False
        cast("Coroutine[Any, Any, T]", self.get_coro()).close()


class DurableTimer(asyncio.TimerHandle):
    """A timer that a durable sleep fires.

    `sleep` is None if the attempt was over before it began. `place` is how far the loop was when it began, and
    `wakes_at` the loop's time at which the sleep ends: the timer's own time, or that of the first part of a long wait.
    """

    sleep: RestateDurableFuture[None] | None = None
    place: int = 0
    wakes_at: float = 0.0

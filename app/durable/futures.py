"""Futures, tasks and timers of the durable loop: those of asyncio, with an order that every replay shares.

They hold no logic of the loop.
"""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from restate import RestateDurableFuture

if TYPE_CHECKING:
    from app.durable.loop import DurableLoop

T = TypeVar("T")


class AttemptOver(BaseException):
    """This attempt of the invocation has ended; durable code that runs on must unwind without touching the engine."""


class _Ordered:
    """Hash by creation order, so that sets of tasks and futures (TaskGroup, wait) iterate alike in every replay."""

    _serial: int

    def __hash__(self) -> int:
        return self._serial


class DurableFuture(_Ordered, asyncio.Future[T]):
    """An asyncio future with an order."""

    def __init__(self, *, loop: "DurableLoop") -> None:
        self._serial = loop.next_serial()
        super().__init__(loop=loop)


class DurableTask(_Ordered, asyncio.Task[T]):
    """An asyncio task with an order."""

    def __init__(self, coro: Coroutine[Any, Any, T], *, loop: "DurableLoop", **options: Any) -> None:
        self._serial = loop.next_serial()  # before Task.__init__, which puts the task into a set
        super().__init__(coro, loop=loop, **options)


class DurableTimer(asyncio.TimerHandle):
    """A timer that a durable sleep fires."""

    sleep: RestateDurableFuture[None]

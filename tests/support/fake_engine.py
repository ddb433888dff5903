"""A Restate context for the durable loop without an engine: the test decides what completes, and when."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from restate import Context, RestateDurableFuture

from app.durable import DurableLoop, wait_for

T = TypeVar("T")


@dataclass(eq=False)
class FakeDurable:
    """A durable future; `delay_s` if it is a timer."""

    name: str
    delay_s: float | None = None

    @property
    def as_durable(self) -> RestateDurableFuture[Any]:
        return cast("RestateDurableFuture[Any]", self)

    async def wait(self) -> Any:
        """Wait for it as durable code does."""
        return await wait_for(self.as_durable)


@dataclass
class FakeContext:
    """What the loop uses of a context; `timers` are all that were ever asked for."""

    replaying: bool = False
    timers: list[FakeDurable] = field(default_factory=list)

    @property
    def vm(self) -> object:
        return SimpleNamespace(is_replaying=lambda: self.replaying)

    def sleep(self, delta: timedelta) -> FakeDurable:
        self.timers.append(FakeDurable(f"timer {len(self.timers)}", delta.total_seconds()))
        return self.timers[-1]


class Engine:
    """Drives a DurableLoop as `driver.py` does, but completes what the test says."""

    def __init__(self) -> None:
        self.ctx = FakeContext()
        self.loop = DurableLoop(cast(Context, self.ctx))  # type: ignore[abstract]  # as in driver.py

    def start(self, main: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Make a task of `main` and run it as far as it comes."""
        task = self.loop.create_task(main)
        self.loop.drain()
        return task

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` to its end, firing timers in the order of their time."""
        task = self.start(main)
        while not task.done():
            self.fire_next()
        return task.result()

    def fire_next(self) -> None:
        """Complete the timer that is due first."""
        pending = [cast(FakeDurable, durable) for durable in self.loop.pending]
        timers = [durable for durable in pending if durable.delay_s is not None]
        assert timers, "nothing to wait for: a deadlock"
        first = min(timers, key=self._due)
        self.complete(first)

    def _due(self, timer: FakeDurable) -> float:
        handle: Any = self.loop._pending[timer.as_durable]
        return float(handle.when())

    def complete(self, durable: FakeDurable, value: object = None, error: Exception | None = None) -> None:
        """Hand in an outcome and run what it wakes."""
        self.loop.complete(durable.as_durable, value, error)
        self.loop.drain()

    @property
    def pending(self) -> list[str]:
        return [cast(FakeDurable, durable).name for durable in self.loop.pending]

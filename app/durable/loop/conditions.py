"""The conditions that durable code waits for: predicates that are asked after every callback.

They do not run callbacks: the loop does, and calls `wake`.
"""

import contextvars
import functools
from collections.abc import Callable

from app.durable.loop.futures import DurableFuture

Predicate = Callable[[], object]


class Conditions:
    """The predicates that have not come true, oldest first."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Predicate, DurableFuture[None]]] = []

    def add(self, predicate: Predicate, future: DurableFuture[None]) -> None:
        """Complete `future` once `predicate()` is true. It is asked in the context of this moment."""
        self._waiting.append((functools.partial(contextvars.copy_context().run, predicate), future))

    def wake(self) -> None:
        """Ask each predicate, and complete the futures of those that are true."""
        if self._waiting:
            self._waiting = [(predicate, future) for predicate, future in self._waiting if _waits(predicate, future)]

    def clear(self) -> None:
        self._waiting.clear()


def _waits(predicate: Predicate, future: DurableFuture[None]) -> bool:
    """Ask a predicate and return whether its future still waits."""
    if future.done():
        return False
    try:
        if not predicate():
            return True
    except StopIteration as exc:  # no future can have it
        future.set_exception(RuntimeError(f"The condition raised {exc!r}"))
    except BaseException as exc:  # noqa: BLE001 - the predicate's error belongs to whoever waits for it
        future.set_exception(exc)
    else:
        future.set_result(None)
    return False

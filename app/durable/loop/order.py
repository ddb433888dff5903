"""Order where asyncio iterates sets: `wait`, `as_completed` and `all_tasks` take their items as a replay does.

asyncio.tasks puts what it is given through `set(…)`, and coroutines hash by their address. While a durable loop runs,
the names `set` and `list` in that module keep the order in which items came. On other loops they must be the builtins.
The module is changed, not its functions, so that `from asyncio import as_completed` has it too.
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from app.durable.loop.futures import DurableTask, Ordered
from app.durable.loop.refusals import ReplayedLoop
from app.errors import DeterminismError

T = TypeVar("T")


class OrderedSet(set[T]):
    """A set that iterates in the order in which its items came. What operators make of it is a plain set."""

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._order = dict.fromkeys(items)
        super().__init__(self._order)

    def __iter__(self) -> Iterator[T]:
        yield from [item for item in self._order if item in self]
        yield from [item for item in set.__iter__(self) if item not in self._order]  # from update() and |=

    def add(self, item: T) -> None:
        self._order[item] = None
        super().add(item)

    def pop(self) -> T:
        for item in self:
            self.remove(item)
            return item
        raise KeyError("pop from an empty set")


def give_order() -> None:
    """Make asyncio.tasks use sets with an order on durable loops. Once is enough, and again does no harm."""
    vars(asyncio.tasks).update(set=_set, list=_list)


def _set(items: Iterable[T] = ()) -> set[T]:
    """Return what `set` is to asyncio.tasks: a set with an order while a durable loop runs."""
    if not isinstance(asyncio._get_running_loop(), ReplayedLoop):
        return set(items)
    if isinstance(items, (set, frozenset)) and not isinstance(items, OrderedSet):
        _require_order(items)
    return OrderedSet(items)


def _require_order(items: set[T] | frozenset[T]) -> None:
    strangers = [item for item in items if not isinstance(item, Ordered)]
    if len(items) > 1 and strangers:
        raise DeterminismError(
            f"A set of {type(strangers[0]).__name__} objects has no order that a replay shares. "
            "Give asyncio a list of them, or make tasks of them first (asyncio.create_task)."
        )


def _list(items: Iterable[T]) -> list[T]:
    """Return what `list` is to asyncio.tasks, which reads its sets of all tasks of the process with it."""
    loop = asyncio._get_running_loop()
    if not isinstance(loop, ReplayedLoop):
        return list(items)
    ours: list[Any] = []
    others: list[Any] = []
    for item in items:
        (ours if isinstance(item, DurableTask) and item.get_loop() is loop else others).append(item)
    return [*sorted(ours, key=lambda task: task.serial), *others]

"""Aborts that are foreseen: a step that runs in this process ends before the engine has brought the word that ends it.

A cancellation or a signal goes through the log of the engine, which takes about 4 ms (measured), and reaches no handler
whose stream is half-closed. Who sends one to a run in the same process lets its step end at once. The engine's word
still decides what becomes of the run; if it never comes, the step has merely ended early.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_running: dict[str, list[Callable[[], None]]] = {}  # by invocation


@contextmanager
def abortable(invocation_id: str, abort: Callable[[], None]) -> Iterator[None]:
    """Let `abort_now` end what runs inside of this block."""
    aborts = _running.setdefault(invocation_id, [])
    aborts.append(abort)
    try:
        yield
    finally:
        aborts.remove(abort)
        if not aborts:
            _running.pop(invocation_id, None)


def abort_now(invocation_id: str) -> None:
    """End the steps of an invocation that let themselves be ended so, if this process runs them."""
    for abort in tuple(_running.get(invocation_id, ())):
        abort()

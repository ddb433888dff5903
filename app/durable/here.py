"""Which invocations run in this process right now.

An attempt that ends, by a kill too, leaves within milliseconds: the engine closes its stream. What is decided by this
may differ in a replay, so it may only lead to the last command of a handler.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

_here: Counter[str] = Counter()  # attempts by invocation; the next may begin before the last has ended


@contextmanager
def attempt_here(invocation_id: str) -> Iterator[None]:
    """Count an attempt as one of this process, inside of this block."""
    _here[invocation_id] += 1
    try:
        yield
    finally:
        _here[invocation_id] -= 1
        if not _here[invocation_id]:
            del _here[invocation_id]


def is_here(invocation_id: str) -> bool:
    """Return whether an attempt of the invocation runs in this process: it is alive."""
    return invocation_id in _here

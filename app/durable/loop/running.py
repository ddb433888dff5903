"""A loop in the place of the real one: while it runs its callbacks, asyncio takes it for the loop of this thread.

Runs no callback itself.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def running(
    loop: asyncio.AbstractEventLoop, *, adopt_generator: Callable[[AsyncGenerator[Any, Any]], None]
) -> Iterator[None]:
    """Make `loop` the running one. Async generators that begin meanwhile go to `adopt_generator`, which keeps them."""
    outer = asyncio._get_running_loop()
    outer_task = _swap_current_task(outer, None)
    outer_hooks = sys.get_asyncgen_hooks()
    asyncio._set_running_loop(None)
    asyncio._set_running_loop(loop)
    sys.set_asyncgen_hooks(firstiter=adopt_generator, finalizer=_leave_generator)
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(*outer_hooks)
        asyncio._set_running_loop(outer)
        _swap_current_task(outer, outer_task)


def name_of(handle: asyncio.Handle | None) -> str:
    """Return the name of the coroutine that a callback resumes, or of the callback."""
    callback = getattr(handle, "_callback", None)
    task = getattr(callback, "__self__", None)
    what = task.get_coro() if isinstance(task, asyncio.Task) else callback
    return getattr(what, "__qualname__", None) or "durable code"


def _leave_generator(_generator: AsyncGenerator[Any, Any]) -> None:
    """Do nothing: a generator that is kept until its loop closes it is only collected when the attempt is over."""


def _swap_current_task(
    loop: asyncio.AbstractEventLoop | None, task: asyncio.Task[Any] | None
) -> asyncio.Task[Any] | None:
    """Make `task` the current one of `loop`, return the one it replaces.

    From Python 3.14 on the current task belongs to the thread, so the real one must step aside while ours run.
    """
    swap = getattr(asyncio.tasks, "_swap_current_task", None)
    return swap(loop, task) if swap is not None and loop is not None else None

"""The end of what an attempt leaves in the middle: coroutines and async generators unwind, whatever they do meanwhile.

Nothing that happens here is an event of the invocation, so nothing may leave: an exception would take the place of the
suspension that ends the attempt. AttemptOver is thrown, as close() does not reach what waits again in its `finally`.
"""

import asyncio
import contextvars
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

from app.durable.loop.futures import AttemptOver, DurableTask

logger = logging.getLogger("durable")

_MOST_WAITS = 100  # of one coroutine on its way out

# What refuses to end. The garbage collector would resume it in the middle of another invocation, so it is kept.
_endless: list[object] = []


def unwind_task(task: DurableTask[Any]) -> None:
    """Unwind the coroutine of a task, as the current one and in its context.

    Every `finally` block has its turn, also one that waits for something.
    """
    coro = task.get_coro()
    if coro is None:
        return
    task._log_destroy_pending = False  # the end is meant
    loop = task.get_loop()
    asyncio.tasks._enter_task(loop, task)
    try:
        if not _ends(coro.throw, task.context):
            _keep(coro, task.get_name())
    finally:
        asyncio.tasks._leave_task(loop, task)


def unwind_generator(generator: AsyncGenerator[Any, Any]) -> None:
    """Unwind an async generator that has given a value and was not asked for the next."""
    context = contextvars.copy_context()
    for _ in range(_MOST_WAITS):
        if getattr(generator, "ag_frame", None) is None or getattr(generator, "ag_running", False):
            return  # has ended, or was left in the middle of a wait by who drove it by hand: nobody can reach that
        closing = generator.aclose()
        try:
            context.run(closing.__await__().__next__)
        except BaseException as exc:  # noqa: BLE001 - as in _ends
            _note(exc)
        else:
            _ends(closing.throw, context)
    _keep(generator, getattr(generator, "__qualname__", "An async generator"))


class Nowhere:
    """What stands for the engine when durable code asks for it on and on: whatever it is asked for is itself.

    It lets code like `while True: try: await step(…) except: pass` come to a wait, where it can be left.
    """

    def __getattr__(self, _name: str) -> "Nowhere":
        return self

    def __call__(self, *_args: object, **_options: object) -> "Nowhere":
        return self


def _ends(throw: Callable[[BaseException], object], context: contextvars.Context) -> bool:
    """Throw AttemptOver until it or another exception comes out. Return whether one did.

    Another exception is durable code's own, and nobody is left to tell. So are KeyboardInterrupt and SystemExit. The
    service has handlers for its signals (hosting/serving.py), so one of these was raised here by durable code, and must
    not end the process with all its other invocations.
    """
    for _ in range(_MOST_WAITS):
        try:
            context.run(throw, AttemptOver())
        except BaseException as exc:  # noqa: BLE001 - see above
            _note(exc)
            return True
    return False


def _note(exc: BaseException) -> None:
    if not isinstance(exc, (AttemptOver, StopIteration)):
        logger.debug("Durable code raised %r while its attempt was closed", exc)


def _keep(what: object, name: str) -> None:
    _endless.append(what)
    logger.error("%s does not end: it catches every BaseException and waits again. It stays in memory", name)

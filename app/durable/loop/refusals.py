"""What asyncio's loops offer and a replay cannot repeat: each refuses with the way out.

Owns the refusals only. What the loop does offer is in event_loop.py.
"""

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

from app.durable.loop.futures import AttemptOver, NumberingLoop
from app.errors import DeterminismError

_STEP = "a replay could not repeat it. Do this inside a step."
_DRIVEN = "run_durably() drives the loop, and its main coroutine ends it. Await what you wait for."
_PROCESS = "signals reach the process, not one invocation. Do this where the process starts, or inside a step."

_REASONS = {
    "run_forever": _DRIVEN,
    "run_until_complete": _DRIVEN,
    "stop": _DRIVEN,
    "close": _DRIVEN,
    "shutdown_default_executor": _DRIVEN,
    "add_signal_handler": _PROCESS,
    "remove_signal_handler": _PROCESS,
}


class ReplayedLoop(NumberingLoop):
    """A loop whose only source of events is a journal.

    Errors: what it does not offer raises DeterminismError. At the end of an attempt it raises AttemptOver, which no
    `except Exception` of a `finally` block takes for its own.
    """


def refuse_other_thread() -> NoReturn:
    """Refuse a call of `call_soon_threadsafe` that comes from another thread."""
    raise DeterminismError(
        "loop.call_soon_threadsafe() from another thread is not available in durable code: a replay could not repeat "
        "when it came. Do the thread's work inside a step and await that, or wait for an awakeable or a signal "
        "(wait_for(ctx.awakeable()…)), which any process can resolve."
    )


def refuse_task_factory() -> NoReturn:
    """Refuse a task factory whose tasks have no order."""
    raise DeterminismError(
        "loop.set_task_factory() takes None or asyncio.eager_task_factory in durable code: the tasks of others have no "
        "order that a replay shares. Wrap coroutines where you make their tasks."
    )


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(self: ReplayedLoop, *_args: object, **_options: object) -> NoReturn:
        if self.is_closed():
            raise AttemptOver
        raise DeterminismError(f"loop.{name}() is not available in durable code: {_REASONS.get(name, _STEP)}")

    refuse.__name__ = name
    return refuse


_members: dict[str, Any] = dict(vars(asyncio.AbstractEventLoop))
for _name, _member in _members.items():
    if callable(_member) and not _name.startswith("_"):
        setattr(ReplayedLoop, _name, _refusing(_name))

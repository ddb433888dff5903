"""Functions: what an agent's steps run, outside of the agent. Also the namespace `function` of the public surface.

A function may do what it likes: it runs on the real event loop, or in a thread. Nothing is registered here.
"""

import inspect
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from app.background.log import log
from app.background.operation import Operation
from app.errors import DefinitionError, NonRetryableError, RetryableError

__all__ = ["FunctionInfo", "NonRetryableError", "RetryableError", "defn", "function_info", "heartbeat", "log"]

F = TypeVar("F", bound=Callable[..., Any])

_NAME = "__background_function__"


@dataclass
class FunctionInfo:
    """The function that runs; `heartbeat_details` are those of its last heartbeat, also of an earlier attempt."""

    name: str
    task_queue: str
    agent_id: str
    heartbeat_details: tuple[Any, ...] = ()
    heard_at: float = field(default_factory=time.monotonic)


_current: ContextVar[FunctionInfo] = ContextVar("background_function")


def defn(name: str | None = None, *, description: str | None = None) -> Callable[[F], F]:
    """Mark a function that steps may run; a plain function works too. `name` is what Restate knows it by.

    Errors: DefinitionError if it needs more than one input.
    """
    del description  # the docstring is the description

    def mark(function: F) -> F:
        setattr(function, _NAME, name or function.__name__)
        definition_of_function(function)
        return function

    return mark


def heartbeat(*details: Any) -> None:
    """Say that this function is alive; a step with a `heartbeat_timeout` is aborted and tried again without it.

    Errors: DefinitionError outside of a function that a step runs.
    """
    info = function_info()
    info.heard_at = time.monotonic()
    info.heartbeat_details = details


def function_info() -> FunctionInfo:
    """Return what runs. Errors: DefinitionError outside of a function that a step runs."""
    try:
        return _current.get()
    except LookupError:
        raise DefinitionError("No function runs here; call this in a function that agent.step() was given") from None


def enter(info: FunctionInfo) -> None:
    """Make `info` the current one for this task and the threads it starts."""
    _current.set(info)


def definition_of_function(function: Callable[..., Any]) -> Operation:
    """Return a function as the runtime sees it. Errors: DefinitionError."""
    if not (inspect.isfunction(function) or inspect.ismethod(function) or inspect.isbuiltin(function)):
        raise DefinitionError(f"{function!r} is not a function: pass the function itself, not its name or its result")
    name = getattr(function, _NAME, function.__name__)
    return Operation.of(function, name=name, title=f"function {name!r}")

"""Functions: what an agent's steps run, outside of the agent. Also the namespace `function` of the public surface.

A function may do what it likes: it runs on the real event loop, or in a thread. Nothing is registered here.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

from app.background import function  # itself: the published library spells it `from …function import function`
from app.background.declare.operation import Operation
from app.background.functions.info import FunctionInfo, function_info, heartbeat, in_function, mcp_progress
from app.background.functions.info import function_info as info
from app.background.functions.info import in_function as in_activity
from app.background.functions.streaming import stream_to_websocket
from app.background.run.log import log
from app.background.run.log import log as logger
from app.errors import DefinitionError, FunctionError, NonRetryableError, RetryableError

__all__ = [
    "FunctionFailure",
    "FunctionInfo",
    "NonRetryableError",
    "RetryableError",
    "defn",
    "function",
    "function_info",
    "heartbeat",
    "in_activity",
    "in_function",
    "info",
    "log",
    "logger",
    "mcp_progress",
    "stream_to_websocket",
]

F = TypeVar("F", bound=Callable[..., Any])

_NAME = "__background_function__"


@overload
def defn(fn: F) -> F: ...
@overload
def defn(
    fn: str | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    no_thread_cancel_exception: bool = False,
    dynamic: bool = False,
) -> Callable[[F], F]: ...
def defn(
    fn: Any = None,
    *,
    name: str | None = None,
    description: str | None = None,
    no_thread_cancel_exception: bool = False,
    dynamic: bool = False,
) -> Any:
    """Mark a function that steps may run; a plain function works too. `name` is what Restate knows it by.

    Errors: DefinitionError if it needs more than one input.
    """
    del description, no_thread_cancel_exception  # the docstring is the description; threads are never interrupted
    if dynamic:
        raise DefinitionError("@function.defn(dynamic=True): a function is called by its name; give it one")
    if callable(fn):
        return _mark(fn, name)
    return lambda function: _mark(function, name or fn)


def _mark(function: F, name: str | None) -> F:
    setattr(function, _NAME, name or function.__name__)
    definition_of_function(function)
    return function


class FunctionFailure(FunctionError):
    """The function failed; the spelling of earlier versions of the published library."""

    def __init__(self, message: str, *, non_retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = not non_retryable


def definition_of_function(function: Callable[..., Any]) -> Operation:
    """Return a function as the runtime sees it. Errors: DefinitionError."""
    if not (inspect.isfunction(function) or inspect.ismethod(function) or inspect.isbuiltin(function)):
        raise DefinitionError(f"{function!r} is not a function: pass the function itself, not its name or its result")
    name = getattr(function, _NAME, function.__name__)
    return Operation.of(function, name=name, title=f"function {name!r}")
